"""No room, damaged inputs and kills: a clear message, and what was there before is still there."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import anndata
import numpy as np
import pytest
from typer.testing import CliRunner

from countae import errors
from countae.cli import app
from countae.errors import CountaeError, StorageError
from countae.files import read_json

SIZE = ["--n-cells", 60, "--n-genes", 20, "--depth", 100, "--genes", "all"]
SMALL = ["--hidden", "8", "--latent", "2", "--max-epochs", "2", "--device", "cpu"]
LOSSES = ["poisson", "nb"]
VERDICT = ["--likelihoods", "poisson,nb", "--seeds", "0,1", "--control", "nb"]


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "200", "NO_COLOR": "1"})


def verbs(folder: Path) -> dict[str, tuple[list, list[Path], list[Path]]]:
    """Words of each verb, what it writes, and what it reads."""
    counts, fit, verdict = folder / "counts.h5ad", folder / "nb/seed0", folder / "verdict.json"
    genes, triage = folder / "verdict_genes.parquet", folder / "triage.json"
    model, record = fit / "model.safetensors", fit / "fit.json"
    scores = [fit / name for name in ("scores.parquet", "cells.parquet", "entries.npz")]
    source, hidden = folder / "source.h5ad", folder / "thinning/counts.h5ad"
    exported, page = folder / f"{folder.name}.h5ad", folder / "report.html"
    return {
        "simulate": (["simulate", "nb", source, *SIZE[:-2]], [source], []),
        "prepare": (
            ["prepare", source, counts, "--triage", triage, "--genes", "all"],
            [counts, triage], [source],
        ),
        "hide": (["hide", counts, hidden, "--protocol", "thinning"], [hidden], [counts]),
        "fit": (
            ["fit", counts, model, "--record", record, "--likelihood", "nb", *SMALL],
            [model, record], [counts],
        ),
        "score": (
            ["score", counts, scores[0], "--model", model, "--cells", scores[1], "--entries",
             scores[2]],
            scores, [counts, model],
        ),
        "verdict": (
            ["verdict", folder, verdict, "--genes", genes, *VERDICT], [verdict, genes],
            [counts, *scores, record],
        ),
        "export": (
            ["export", folder, exported, "--likelihoods", "nb"], [exported],
            [counts, model, verdict, genes, triage],
        ),
        "report": (
            ["report", folder, "--output", page], [page],
            [triage, verdict, genes, scores[0], record, exported],
        ),
    }  # fmt: skip


def made(folder: Path) -> None:
    """Everything of a small data set, as the workflow makes it."""
    words = {name: given for name, (given, _, _) in verbs(folder).items()}
    done = [run(*words[name]) for name in ("simulate", "prepare", "hide")]
    counts = folder / "counts.h5ad"
    for loss in LOSSES:
        for seed in (0, 1):
            place = folder / loss / f"seed{seed}"
            done.append(
                run(
                    "fit",
                    counts,
                    place / "model.safetensors",
                    "--record",
                    place / "fit.json",
                    "--likelihood",
                    loss,
                    "--seed",
                    seed,
                    *SMALL,
                )
            )
            done.append(scored(counts, place, "--model", place / "model.safetensors"))
    for null in ("gene_mean",):
        done.append(scored(counts, folder / null / "seed0", "--baseline", null))
    done += [run(*words[name]) for name in ("verdict", "export", "report")]
    for each in done:
        assert each.exit_code == 0, (each.output, each.exception)


def scored(counts, place, *what):
    return run(
        "score",
        counts,
        place / "scores.parquet",
        "--cells",
        place / "cells.parquet",
        "--entries",
        place / "entries.npz",
        *what,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "small"
    made(folder)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def room_for(size: int):
    """Files of at most ``size`` bytes: writing more fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


HDF5 = ["simulate", "prepare", "hide", "export"]  # cannot go on in a process where they failed
OTHERS = [verb for verb in verbs(Path()) if verb not in HDF5]


def assert_told(message: str, outputs: list[Path]) -> None:
    assert any(
        f"{path}: could not be written, because the system's" in message for path in outputs
    )
    assert "limit to the size of a file" in message
    assert "is as it was" in message
    assert "Fix: make room" in message


@pytest.mark.parametrize("verb", OTHERS)
@pytest.mark.parametrize("part", [0.0, 0.6])
def test_without_room_the_old_files_stay(whole, verb, part):
    words, outputs, _ = verbs(whole)[verb]
    before = content(whole)
    with room_for(int(part * min(path.stat().st_size for path in outputs))):
        done = run(*words)
    assert isinstance(done.exception, StorageError), (done.output, done.exception)
    assert_told(str(done.exception), outputs)
    assert content(whole) == before


@pytest.mark.parametrize("verb", HDF5)
def test_without_room_for_hdf5_the_old_files_stay(whole, verb):
    """In a process of its own: HDF5 prints, and crashes at exit, when it cannot write."""
    words, outputs, _ = verbs(whole)[verb]
    before = content(whole)
    room = int(0.6 * outputs[0].stat().st_size)
    code = (
        "import resource, sys; from countae.cli import main;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "\nerror: " in f"\n{done.stderr}"
    assert "Traceback" not in done.stderr
    assert_told(done.stderr, outputs)
    assert content(whole) == before


@pytest.mark.parametrize("verb", ["fit", "score"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_place_that_cannot_be_is_told_before_the_work(whole, tmp_path, verb, number):
    words, outputs, _ = verbs(whole)[verb]
    outputs = outputs[:2]
    places = {path: tmp_path / path.name for path in outputs}
    (places[outputs[number]] / "precious").mkdir(parents=True)
    done = run(*(places.get(word, word) if isinstance(word, Path) else word for word in words))
    assert isinstance(done.exception, IsADirectoryError)
    assert errors.told(done.exception).startswith(
        f"{places[outputs[number]]}: a file is needed there"
    )
    assert not {"training", "scoring"} & set(done.output.split())
    assert [p.name for p in tmp_path.rglob("*")] == [outputs[number].name, "precious"]


INPUTS = [(verb, k) for verb, (_, _, read) in verbs(Path()).items() for k in range(len(read))]


@pytest.mark.parametrize(("verb", "number"), INPUTS)
def test_damaged_inputs_are_told(whole, tmp_path, verb, number):
    """Each input of each verb cut short, emptied, and with bytes overwritten in its middle."""
    folder = tmp_path / "small"
    shutil.copytree(whole, folder)
    words, outputs, inputs = verbs(folder)[verb]
    path = inputs[number]
    before, rng = path.read_bytes(), np.random.default_rng(number)
    middle = len(before) // 2
    damaged = [b"", before[:middle], before[:-7], before[7:]]
    for start in rng.integers(len(before) - 64, size=3):
        damaged.append(before[:start] + rng.bytes(64) + before[start + 64 :])
    kept = content(folder)
    for some in damaged:
        path.write_bytes(some)
        done = run(*words)
        if done.exit_code:  # bytes that nobody reads may be damaged
            assert isinstance(done.exception, CountaeError | OSError), repr(done.exception)
            assert content(folder) == kept | {str(path.relative_to(folder)): some}
        for output in outputs:
            output.write_bytes(kept[str(output.relative_to(folder))])


def test_a_source_that_changed_between_the_steps_is_found_out(whole, tmp_path):
    """Prepared again from other counts with the same genes: model, scores and a hand's change."""
    folder = tmp_path / "small"
    shutil.copytree(whole, folder)
    words = {name: given for name, (given, _, _) in verbs(folder).items()}
    source = anndata.read_h5ad(folder / "source.h5ad")
    source.X[0, 0] += 1
    source.write_h5ad(folder / "source.h5ad")
    was = list(read_json(folder / "triage.json")["source_files"].values())[0]
    assert run(*words["prepare"]).exit_code == 0
    now = list(read_json(folder / "triage.json")["source_files"].values())[0]
    assert now["checksum"] != was["checksum"]
    kept = content(folder)
    for verb, told in {
        "score": f"{folder}/nb/seed0/model.safetensors: was trained on other counts",
        "export": f"{folder}/nb/seed0/model.safetensors: was trained on other counts",
        "verdict": f"{folder}/poisson/seed0/cells.parquet: holds scores of other counts",
    }.items():
        done = run(*words[verb])
        assert isinstance(done.exception, CountaeError), done.exception
        assert told in str(done.exception)
        assert f"{folder}/counts.h5ad" in str(done.exception)
        assert content(folder) == kept


def test_counts_that_a_hand_changed_are_found_out(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "small")
    path = tmp_path / "small/counts.h5ad"
    adata = anndata.read_h5ad(path)
    adata.obs["note"] = "a column that nobody asked for changes nothing"
    adata.write_h5ad(path)
    words = ["hide", path, tmp_path / "hidden.h5ad", "--protocol", "thinning"]
    assert run(*words).exit_code == 0
    adata.X.data[3] += 1
    adata.write_h5ad(path)
    done = run(*words)
    assert isinstance(done.exception, CountaeError)
    assert f"{path}: must hold the counts that countae saved" in str(done.exception)

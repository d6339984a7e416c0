"""A fit that was killed ends as it would have without the kill, to the last bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SETTINGS, prepared

from countae import checkpoint as module
from countae.checkpoint import LARGEST_SHARE, Checkpoint
from countae.counts._checksum import checksum
from countae.errors import CountMatrixError, StorageError
from countae.fit import FitRecord, fit, load, save

HERE = Path(__file__).parent
NETWORK = {"hidden": [16], "latent": 4, "dropout": 0.1}
TRAINING = SETTINGS["training"] | {"max_epochs": 12, "batch_size": 32, "patience": 4}
OTHER_NETWORKS = {
    "variational": {"bottleneck": "variational", "kl_warm_up": 3},
    "batch norm": {"norm": "batch"},
    "tied": {"weights": "tied"},
    "predicted library": {"library": "predicted"},
}


class KilledError(Exception):
    """Stands for a kill between two epochs."""


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def fitted(matrix, likelihood="nb", *, keep=None, stop=None, network=None, seed=3, **training):
    def progress(epoch, loss):
        if epoch == stop:
            raise KilledError

    return fit(
        matrix, likelihood, seed=seed, network=NETWORK | (network or {}),
        training=TRAINING | training, device="cpu", progress=progress, checkpoint=keep,
    )  # fmt: skip


def kept(tmp_path, said=None, seconds=0.0):
    tell = (lambda sentence: None) if said is None else said.append
    return Checkpoint(tmp_path / "model.safetensors", seconds=seconds, tell=tell)


def assert_same(found, expected):
    (model, record), (other, of_other) = found, expected
    for name, value in other.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    costs = {"seconds": 0, "peak_memory_mb": 0}
    assert vars(record) | costs == vars(of_other) | costs


@pytest.mark.parametrize("implementation", ["auto", "reference"])
@pytest.mark.parametrize("likelihood", ["nb", "mse_log1p", "zinb"])
def test_a_fit_that_is_broken_off_and_goes_on_is_the_same(
    small_nb, tmp_path, likelihood, implementation
):
    """Oracle: the fit without a break. Breaks after 0, 1, 5 and 9 epochs, one after the other."""
    given = {"implementation": implementation, "patience": 12}
    expected = fitted(small_nb, likelihood, **given)
    said = []
    for stop in (0, 1, 5, 9):
        with pytest.raises(KilledError):
            fitted(small_nb, likelihood, keep=kept(tmp_path, said), stop=stop, **given)
    assert_same(fitted(small_nb, likelihood, keep=kept(tmp_path, said), **given), expected)
    assert [sentence.split()[-1] for sentence in said] == ["1", "5", "9"]


@pytest.mark.parametrize("network", OTHER_NETWORKS.values(), ids=OTHER_NETWORKS.keys())
def test_so_it_is_for_every_kind_of_network(small_nb, tmp_path, network):
    expected = fitted(small_nb, network=network)
    with pytest.raises(KilledError):
        fitted(small_nb, keep=kept(tmp_path), stop=6, network=network)
    assert_same(fitted(small_nb, keep=kept(tmp_path), network=network), expected)


def test_a_fit_that_had_stopped_by_itself_stops_there_again(small_nb, tmp_path):
    """The best epoch and the patience are kept, also where the last epochs were worse."""
    given = {"max_epochs": 60, "learning_rate": 0.03, "patience": 3}
    expected = fitted(small_nb, **given)
    last = len(expected[1].train_loss) - 1
    assert expected[1].stop_reason == "converged"
    with pytest.raises(KilledError):
        fitted(small_nb, keep=kept(tmp_path), stop=last, **given)
    assert_same(fitted(small_nb, keep=kept(tmp_path), **given), expected)


def changed(matrix):
    return prepared("simulate:nb", cells=151)[0]


OTHER_FITS = {
    "'seed' was '3', is '4'": lambda matrix: (matrix, {"seed": 4}),
    "'likelihood' was 'nb', is 'zinb'": lambda matrix: (matrix, {"likelihood": "zinb"}),
    "'training.learning_rate' was '0.004', is '0.0001'": lambda matrix: (
        matrix,
        {"learning_rate": 1e-4},
    ),
    "'network.latent' was '4', is '5'": lambda matrix: (matrix, {"network": {"latent": 5}}),
    "'counts' was '": lambda matrix: (changed(matrix), {}),
}


@pytest.mark.parametrize("what", OTHER_FITS)
def test_the_checkpoint_of_another_fit_is_left_alone_and_named(small_nb, tmp_path, what):
    with pytest.raises(KilledError):
        fitted(small_nb, keep=kept(tmp_path), stop=3)
    matrix, given = OTHER_FITS[what](small_nb)
    said = []
    found = fitted(matrix, keep=kept(tmp_path, said), **given)
    assert len(said) == 1
    assert f"is of another fit ({what}" in said[0]
    assert said[0].endswith("); training begins anew")
    assert said[0].count(" was ") == 1  # nothing else differs
    assert_same(found, fitted(matrix, **given))


@pytest.mark.parametrize("what", ["code", "threads"])
def test_other_code_and_threads_begin_anew(small_nb, tmp_path, what, monkeypatch):
    with pytest.raises(KilledError):
        fitted(small_nb, keep=kept(tmp_path), stop=3)
    if what == "code":
        monkeypatch.setattr(module, "fingerprint", lambda verb: "another")
    else:
        torch.set_num_threads(2)
    said = []
    fitted(small_nb, keep=kept(tmp_path, said))
    assert f"is of another fit ('{what}' was '" in said[0]


def test_a_checkpoint_from_another_gpu_begins_anew(tmp_path, monkeypatch):
    """The name is part of what a fit is on CUDA; on a CPU it is not asked for."""
    record = FitRecord("nb", "NB", 2, "", 0, {}, {}, ["g"], "cuda", 1, 10)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A100-SXM4-40GB")
    on_a100, said = module._identity(record), []
    keep = kept(tmp_path)
    assert keep.read(on_a100) is None
    keep.write({"x": torch.zeros(1)}, {}, epochs=3)
    assert kept(tmp_path).read(module._identity(record)) is not None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    assert kept(tmp_path, said).read(module._identity(record)) is None
    (sentence,) = said
    assert "('gpu' was 'NVIDIA A100-SXM4-40GB', is 'Tesla T4'); training begins" in sentence
    monkeypatch.undo()
    record.device = "cpu"
    assert set(module._identity(record)) == set(on_a100) - {"gpu"}


def test_a_damaged_checkpoint_is_found_out_whatever_is_damaged(small_nb, tmp_path):
    """Cut at many lengths, and one bit turned at many places: never taken for a whole one."""
    with pytest.raises(KilledError):
        fitted(small_nb, keep=kept(tmp_path), stop=3)
    path, rng = kept(tmp_path).path, np.random.default_rng(5)
    whole = path.read_bytes()
    identity = json.loads(_header(whole)["told"])["identity"]
    assert kept(tmp_path).read(identity) is not None
    places = [0, 3, 8, 9, *rng.integers(len(whole), size=60)]
    said = []
    for place in places:
        path.write_bytes(whole[:place])
        assert kept(tmp_path, said).read(identity) is None
        turned = bytearray(whole)
        turned[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(turned)
        found = kept(tmp_path, said).read(identity)
        assert found is None
    assert len(said) == 2 * len(places)
    assert all("training begins anew" in sentence for sentence in said)


def _header(content):
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]


def test_without_room_training_goes_on(small_nb, tmp_path, monkeypatch):
    def full(path, content):
        raise StorageError("no room", path, "full", 0)

    monkeypatch.setattr(module, "write_bytes", full)
    said = []
    found = fitted(small_nb, keep=kept(tmp_path, said))
    assert said[0] == "training goes on without a checkpoint: no room"
    assert_same(found, fitted(small_nb))


def test_writing_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    """A clock that says that writing takes 1 s: the next one waits for 1 s / share."""
    clock = iter([0.0, 0.0, 0.0, 1.0, 1.0 + 0.9 / LARGEST_SHARE, 1.0 + 1.1 / LARGEST_SHARE])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    keep = kept(tmp_path, seconds=1.0)
    keep.write({"a": torch.ones(2)}, {}, 1)
    assert not keep.due()
    assert keep.due()


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["auto", "reference"])
@pytest.mark.parametrize("likelihood", ["nb", "mse_log1p"])
def test_killed_at_random_places(small_nb, tmp_path, likelihood, implementation):
    """Eight kills, also in the middle of a write and before a rename; then compared by bytes."""
    counts = tmp_path / "counts.h5ad"
    small_nb.save(counts)
    options = [
        "--likelihood", likelihood, "--implementation", implementation, "--hidden", "16",
        "--latent", "4", "--max-epochs", "40", "--batch-size", "32",
    ]  # fmt: skip

    def made(folder, kills):
        (tmp_path / folder).mkdir()
        done = subprocess.run(
            [sys.executable, str(HERE / "kill_fit.py"), str(counts), str(tmp_path / folder),
             str(len(likelihood)), str(kills), *options],
            capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        files = sorted(path.name for path in (tmp_path / folder).iterdir())
        assert files == ["fit.json", "model.safetensors"]
        record = json.loads((tmp_path / folder / "fit.json").read_text())
        del record["seconds"], record["peak_memory_mb"]
        model = (tmp_path / folder / "model.safetensors").read_bytes()
        return int(done.stdout.split()[-1]), record, model

    _, *expected = made("whole", 0)
    died, *found = made("killed", 8)
    assert died >= 5
    assert found == expected


def test_a_model_is_not_taken_for_one_of_other_counts(small_nb, tmp_path):
    """The genes have the same names: only the checksum tells."""
    model, record = fitted(small_nb)
    path = tmp_path / "model.safetensors"
    save(model, record, path)
    load(path, small_nb)
    other = prepared("simulate:zinb")[0]
    assert other.gene_id.tolist() == small_nb.gene_id.tolist()
    with pytest.raises(CountMatrixError, match="model.safetensors: was trained on other") as info:
        load(path, other)
    for part in (record.counts, checksum(other), "simulate:zinb", "Fix: fit it again"):
        assert part in str(info.value)

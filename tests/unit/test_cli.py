"""The command line as a person meets it: help, wrong input, every verb once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest

from countae import config

VERBS = [
    "list", "new-likelihood", "check", "fetch", "simulate", "prepare", "hide", "fit",
    "tune-trial", "tune", "score", "bootstrap", "verdict", "rehearse", "referee", "rank",
    "export", "report", "explain", "run",
]  # fmt: skip


def countae(*words, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "countae", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"COLUMNS": "200", "NO_COLOR": "1", "PATH": str(Path(sys.executable).parent)},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def counts(folder):
    """Prepared small counts, made by the command line."""
    size = ["--n-cells", 120, "--n-genes", 30, "--depth", 120]
    done = countae(
        "prepare", "simulate:nb", folder / "counts.h5ad", "--triage", folder / "triage.json",
        "--genes", "all", *size,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "counts.h5ad"


def test_help_lists_every_verb_and_each_has_help_with_an_example():
    page = countae("--help").stdout
    for verb in VERBS:
        assert f" {verb} " in page
        own = countae(verb, "-h").stdout
        assert "Example: countae" in own, verb


def test_a_new_loss_is_written_once_and_listed(tmp_path):
    done = countae("new-likelihood", "my_loss", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "plugins/likelihoods/my_loss.py"
    before = path.read_text()
    assert '@register("my_loss")' in before
    assert "class MyLoss(" in before
    assert "A new loss (my_loss)" in countae("--plugins", "plugins", "list", "likelihoods",
                                             cwd=tmp_path).stdout  # fmt: skip
    for name, words in {
        "my_loss": "is there already", "nb": "likelihood called 'nb' already",
        "../x": "cannot name a loss", "Loss": "cannot name a loss",
        "class": "cannot name a loss",
    }.items():  # fmt: skip
        wrong = countae("new-likelihood", name, cwd=tmp_path)
        assert wrong.returncode == 2
        assert words in wrong.stderr
    assert path.read_text() == before
    nowhere = countae("--plugins", "nowhere", "list", "likelihoods", cwd=tmp_path)
    assert nowhere.returncode == 2
    assert "`plugins` must be a folder" in nowhere.stderr


def test_options_show_the_defaults_of_the_schema():
    page = countae("fit", "--help").stdout
    for key, rule in (config.section("training") | config.section("network")).items():
        default = rule["default"]
        shown = ",".join(map(str, default)) if isinstance(default, list) else str(default)
        assert f"--{key.replace('_', '-')}" in page
        assert f"[default: {shown}]" in page or not shown


def test_no_verb_has_an_option_twice():
    """Two options of one name: the later one silently takes the earlier one's value."""
    from typer.main import get_command

    from countae.cli import app

    for verb, command in get_command(app).commands.items():
        options = [option for param in command.params for option in param.opts]
        assert len(options) == len(set(options)), verb


def test_the_row_of_a_data_set_reaches_the_triage(counts, folder):
    row = json.loads((folder / "triage.json").read_text())["row"]
    assert row == {
        "source": "simulate:nb", "layer": "", "label_key": "", "batch_key": "",
        "library_size_key": "", "protocol": "auto", "genes": "all", "donor_key": "",
        "orientation": "auto", "protein_key": "",
    }  # fmt: skip


def test_the_version_is_told():
    assert countae("--version").stdout.startswith("countae 0.")


@pytest.mark.parametrize("kind", ["likelihoods", "metrics", "baselines", "peers", "simulators"])
def test_members_are_listed_with_their_meaning(kind):
    done = countae("list", kind)
    assert done.returncode == 0
    named = {
        "likelihoods": "nb", "metrics": "log_score", "baselines": "gene_mean", "peers": "scvi_nb",
        "simulators": "nb",
    }  # fmt: skip
    assert f" {named[kind]} " in done.stdout
    assert len(done.stdout.splitlines()) > 4


def fails(done, *words):
    """Exit 2, a message with all words, and no traceback."""
    assert done.returncode == 2, done.stderr
    flat = " ".join(done.stderr.split())
    for word in words:
        assert word in flat
    assert "Traceback" not in done.stderr


def test_wrong_words_are_told_without_a_traceback(counts, folder):
    out = folder / "m.safetensors"
    fit = ["fit", counts, out, "--record", folder / "f.json"]
    fails(countae(*fit, "--likelihood", "znb"), "no likelihood called 'znb'", "Did you mean")
    fails(countae(*fit, "--likelihood", "nb", "--latent", 0), "latent: 0 is less than the minimum")
    fails(countae(*fit, "--likelihood", "nb", "--hidden", "a"), "whole numbers with commas")
    fails(countae("fit", folder / "no.h5ad", *fit[2:], "--likelihood", "nb"), "nothing there")
    fails(countae("explode"), "No such command 'explode'")
    made = [folder / name for name in ("wrong.parquet", "wrong_cells.parquet", "wrong.npz")]
    score = ["score", counts, made[0], "--cells", made[1], "--entries", made[2]]
    fails(countae(*score), "exactly one of --model, --baseline and --predictions")
    fails(countae(*score, "--baseline", "nul"), "no baseline called 'nul'")
    fails(countae(*score, "--baseline", "gene_mean", "--metrics", "x"), "no metric called 'x'")
    assert not any(path.exists() for path in (out, *made))


def test_bad_counts_leave_nothing_behind(tmp_path):
    adata = anndata.AnnData(np.random.default_rng(0).random((50, 20)).astype(np.float32))
    adata.write_h5ad(tmp_path / "normalised.h5ad")
    done = countae(
        "prepare", tmp_path / "normalised.h5ad", tmp_path / "out" / "counts.h5ad",
        "--triage", tmp_path / "out" / "triage.json",
    )  # fmt: skip
    fails(done, "must hold raw counts", "log-normalised", "Fix:")
    assert not (tmp_path / "out").exists()
    fails(countae("run", tmp_path / "normalised.h5ad", "--out", tmp_path / "o"), "raw counts")
    assert not (tmp_path / "o").exists()


def test_a_matrix_is_described_without_writing(tmp_path):
    done = countae("check", "simulate:nb", "--n-cells", 120, "--n-genes", 30, cwd=tmp_path)
    assert done.returncode == 0
    assert "note: X: raw counts, 120 cells × 30 genes" in done.stdout
    assert not list(tmp_path.iterdir())


def test_simulated_counts_are_written_with_their_truth(tmp_path):
    path = tmp_path / "zinb.h5ad"
    assert countae("simulate", "zinb", path, "--n-cells", 60, "--n-genes", 20).returncode == 0
    adata = anndata.read_h5ad(path)
    assert adata.shape == (60, 20)
    assert {"true_inverse_dispersion", "true_zero_probability"} <= set(adata.var)
    fails(countae("simulate", "znb", path), "no simulator called 'znb'")


def test_a_fit_and_its_scores(counts, folder):
    model, record = folder / "model.safetensors", folder / "fit.json"
    done = countae(
        "fit", counts, model, "--record", record, "--likelihood", "nb", "--max-epochs", 2,
        "--hidden", "8,4", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(record.read_text())["network"]["hidden"] == [8, 4]
    assert "max_epochs after 2 epochs" in done.stderr
    outputs = [folder / name for name in ("scores.parquet", "cells.parquet", "entries.npz")]
    done = countae(
        "score", counts, outputs[0], "--model", model, "--cells", outputs[1],
        "--entries", outputs[2], "--metrics", "log_score,brier_zero",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(path.is_file() for path in outputs)


def test_a_verdict_without_results_is_told(counts, folder):
    done = countae(
        "verdict", folder, folder / "verdict.json", "--genes", folder / "g.parquet",
        "--likelihoods", "nb,zinb", "--seeds", "0,1,2",
    )  # fmt: skip
    fails(done, "cells.parquet", "Fix:")
    fails(countae("explain", folder / "verdict.json"), "expected a verdict.json, found nothing")


def test_data_sets_are_ranked(folder):
    for name, scores in {"one": {"nb": 1.0, "zinb": 1.1}, "two": {"nb": 2.0, "zinb": 1.9}}.items():
        (folder / name).mkdir()
        overall = {"outcome": "tie", "scores": scores}
        content = {"dataset": name, "axes": {"overall": overall}}
        (folder / name / "verdict.json").write_text(json.dumps(content))
    output = folder / "ranking.json"
    fails(countae("rank", folder / "one", folder / "3", "--output", output), "3/verdict.json")
    assert not output.exists()
    done = countae("rank", folder / "one", folder / "two", "--output", output)
    assert done.returncode == 0, done.stderr
    assert "2 data sets: too few" in done.stderr
    assert json.loads(output.read_text())["mean_ranks"] == {"nb": 1.5, "zinb": 1.5}


def test_damaged_files_and_places_that_cannot_be_written_are_told(counts, folder, tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"no model")
    score = [
        "score",
        counts,
        tmp_path / "s.parquet",
        "--cells",
        tmp_path / "c.parquet",
        "--entries",
        tmp_path / "e.npz",
    ]
    fails(countae(*score, "--model", tmp_path / "m.safetensors"), "no model that `countae fit`")
    (tmp_path / "v.json").write_text("{")
    fails(countae("explain", tmp_path / "v.json"), "no JSON that countae wrote")
    size = ["--n-cells", 60, "--n-genes", 20, "--genes", "all"]
    out = ["prepare", "simulate:nb", tmp_path / "counts.h5ad"]
    fails(countae(*out, "--triage", tmp_path / "v.json" / "triage.json", *size), "error")
    assert not (tmp_path / "counts.h5ad").exists()


@pytest.fixture(scope="module")
def searched(counts, folder):
    """Two trials of one loss, of which the second diverges, and the choice."""
    trials = [folder / "trial0.json", folder / "trial1.json"]
    common = ["--likelihood", "poisson", "--patience", 1, "--hidden", "8", "--device", "cpu"]
    for path, step in zip(trials, (0.004, 1e4), strict=True):
        done = countae("tune-trial", counts, path, *common, "--learning-rate", step)
        assert done.returncode == 0, done.stderr
    assert "diverged in epoch 1" in done.stderr
    done = countae("tune", *trials, "--output", folder / "tuning.json")
    assert done.returncode == 0, done.stderr
    return trials, folder / "tuning.json"


def test_a_search_chooses_what_is_trained(searched, counts, folder):
    trials, path = searched
    found = json.loads(path.read_text())
    assert [row["stop_reason"] for row in found["trials"]] == ["converged", "diverged"]
    assert found["trials"][1]["validation_loss"] is None
    assert not list(folder.glob("trial*.safetensors"))
    # the choice replaces options, given or not
    record = folder / "tuned.json"
    done = countae(
        "fit", counts, folder / "tuned.safetensors", "--record", record, "--likelihood",
        "poisson", "--tuned", path, "--learning-rate", 1e4, "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = json.loads(record.read_text())
    assert {"network": made["network"], "training": made["training"]} == found["chosen"]
    assert made["network"]["hidden"] == [8]
    assert made["tuning_trials"] == 2
    # trial and fit are the same training, and the last epoch was no better
    assert len(made["validation_loss"]) == made["best_epoch"] + 2
    assert made["validation_loss"][made["best_epoch"]] == found["trials"][0]["validation_loss"]


def test_a_wrong_search_is_told_without_a_traceback(searched, counts, folder, tmp_path):
    trials, path = searched
    out = tmp_path / "out.json"
    own = ["tune-trial", counts, out, "--likelihood"]
    fails(countae(*own, "znb"), "no likelihood called 'znb'", "Did you mean")
    fails(countae(*own, "nb", "--learning-rate", 0), "learning_rate: 0.0 is less than")
    choice = ["--output", out]
    fails(countae("tune", folder / "trial7.json", *choice), "expected a trial.json, found nothing")
    fails(countae("tune", path, *choice), "no trial that `countae tune-trial` wrote", "Fix:")
    fails(countae("tune", trials[0], trials[0], *choice), "two trials have the same settings")
    fails(countae("tune", trials[1], *choice), "All 1 trials of poisson diverged", "Fix:")
    fit = ["fit", counts, tmp_path / "m.safetensors", "--record", out, "--likelihood"]
    fails(countae(*fit, "nb", "--tuned", path), "chosen for 'poisson', but the loss is 'nb'")
    fails(countae(*fit, "poisson", "--tuned", trials[0]), "no file that `countae tune` wrote")
    fails(countae(*fit, "poisson", "--tuned", tmp_path / "no.json"), "expected a tuning.json")
    broken = json.loads(path.read_text())
    broken["chosen"]["network"]["latent"] = 0
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    fails(countae(*fit, "poisson", "--tuned", tmp_path / "broken.json"), "latent: 0 is less than")
    assert not out.exists()

"""The Snakemake workflow: both entry points, one real run, resuming, and wrong configuration."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import SETTINGS
from count_files import example, tenx_h5_v3
from scipy.sparse import csr_matrix

from countae import fingerprint as fingerprints
from countae import resources
from countae.new_likelihood import write

ROOT = Path(__file__).parents[2]
TINY = {
    "datasets": "config/datasets.tsv",
    "likelihoods": ["mse_log1p", "nb"],
    "seeds": [0],
    "simulate": {"n_cells": 200, "n_genes": 50, "n_types": 3, "depth": 200},
    "training": {"max_epochs": 20, "patience": 2},
    "network": {"hidden": [16], "latent": 3},
}
ROW = "id\tsource\tlabel_key\tgenes\ntiny\tsimulate:nb\tcell_type\tall\n"


def configured(folder: Path, config=TINY, rows: str = ROW) -> Path:
    (folder / "config").mkdir(parents=True, exist_ok=True)
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "config" / "datasets.tsv").write_text(rows)
    return folder


def snakemake(folder: Path, *words, snakefile: str = "Snakefile") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / snakefile]
    command += ["--directory", folder, "--cores", "2", "--workflow-profile", "none", *words]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path, "COLUMNS": "200"},
    )


def planned(done: subprocess.CompletedProcess) -> dict[str, int]:
    """Number of jobs per rule that a dry run announces, the entry points' own rules aside."""
    lines = (done.stdout + done.stderr).split("Job stats:")[1].split("\n\n")[0].splitlines()
    pairs = [line.split() for line in lines if len(line.split()) == 2 and line[-1].isdigit()]
    return {rule: int(n) for rule, n in pairs if rule not in {"all", "default", "total"}}


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_both_entry_points_plan_the_same_jobs(tmp_path, snakefile):
    done = snakemake(configured(tmp_path), "--dry-run", snakefile=snakefile)
    assert done.returncode == 0, done.stderr
    assert planned(done) == {
        "prepare": 1,
        "fit": 3,  # two losses, and one more seed of nb for the A/A arm
        "score": 3,
        "score_baseline": 4,  # gene mean, clusters, PCA, oracle
        "bootstrap": 1,
        "verdict": 1,
        "export": 1,
        "report": 1,
    }


def test_a_family_that_is_no_likelihood_has_no_oracle(tmp_path):
    rows = ROW.replace("simulate:nb", "simulate:heavy_tailed")
    assert planned(snakemake(configured(tmp_path, rows=rows), "--dry-run"))["score_baseline"] == 3


def test_the_shipped_configuration_is_planned(tmp_path):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    jobs = planned(snakemake(tmp_path, "--dry-run"))
    assert jobs["fit"] == jobs["score"] == 2 * (5 * 3 + 3)


def test_two_data_sets_are_ranked(tmp_path):
    rows = ROW + "other\tsimulate:zinb\tcell_type\tall\n"
    done = snakemake(configured(tmp_path, rows=rows), "--dry-run", "--printshellcmds")
    jobs = planned(done)
    assert (jobs["rank"], jobs["verdict"], jobs["report"]) == (1, 2, 1)
    command = "countae rank results/tiny results/other --output results/ranking.json"
    assert command in done.stdout + done.stderr


MORE = TINY | {
    "protocols": ["thinning", "nb_splitting"],
    "referee": {"replicates": 2, "families": ["nb", "poisson"]},
    "verdict": {"bootstrap": 3},
}


def test_other_protocols_and_the_referee_are_planned(tmp_path):
    """Each protocol fits every loss anew, without an A/A arm; NB splitting waits for a network."""
    done = snakemake(configured(tmp_path, MORE), "--dry-run", "--printshellcmds")
    assert done.returncode == 0, done.stderr
    assert planned(done) == {
        "prepare": 1, "hide": 2, "fit": 3 + 2 * 2, "score": 3 + 2 * 2,
        "score_baseline": 4 + 2, "bootstrap": 1, "verdict": 3, "rehearse": 4, "referee": 1,
        "export": 1, "report": 1,
    }  # fmt: skip
    text = done.stdout + done.stderr
    split = next(line for line in text.splitlines() if "--protocol nb_splitting" in line)
    assert "--model results/tiny/nb/seed0/model.safetensors" in split
    verdict = next(
        line for line in text.splitlines() if "countae verdict results/tiny results" in line
    )
    assert "--protocols thinning,nb_splitting --drawn results/tiny/bootstrap.json" in verdict


WITH_PEERS = TINY | {"peers": ["scvi_zinb", "scvi_nb"], "seeds": [3, 4], "baselines": ["magic"]}


@pytest.mark.skipif(find_spec("scvi") is not None, reason="scvi-tools is installed")
def test_peers_without_their_program_are_left_out_and_told(tmp_path):
    done = snakemake(configured(tmp_path, WITH_PEERS), "--dry-run", "--printshellcmds")
    assert done.returncode == 0, done.stderr
    assert "The peers scvi_zinb, scvi_nb are left out" in done.stdout + done.stderr
    assert "--absent-peers scvi_zinb,scvi_nb >" in done.stdout + done.stderr
    assert not {"fit_peer", "score_peer"} & set(planned(done))
    assert planned(done)["score_baseline"] == 3  # the null is always there


def test_peers_are_planned_where_their_program_is(tmp_path, monkeypatch):
    """Each is trained and scored with every seed, before the report. A folder stands for scvi."""
    (tmp_path / "there" / "scvi").mkdir(parents=True)
    (tmp_path / "there" / "scvi" / "__init__.py").touch()
    path = f"{tmp_path / 'there'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    monkeypatch.setenv("PYTHONPATH", path)
    done = snakemake(configured(tmp_path, WITH_PEERS), "--dry-run", "--printshellcmds")
    assert done.returncode == 0, done.stderr
    assert (planned(done)["fit_peer"], planned(done)["score_peer"]) == (4, 4)
    text = done.stdout + done.stderr
    assert "--peer scvi_nb --seed 4" in text
    assert "--absent-peers" not in text
    assert "--predictions results/tiny/scvi_zinb/seed3/predictions.npz" in text


def test_the_architecture_of_dca_is_a_configuration(tmp_path):
    """A file that goes on top of another one."""
    folder = configured(tmp_path, {"datasets": "config/datasets.tsv"})
    files = ("config/config.yaml", ROOT / "config" / "dca.yaml")
    done = snakemake(folder, "--dry-run", "--printshellcmds", "--configfile", *files)
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    assert "--hidden 64 --latent 32 --dropout 0.0 --norm batch" in text
    assert planned(done)["fit"] == 2 * 3 + 3


@pytest.mark.slow
def test_other_protocols_and_the_referee_run(tmp_path):
    """A real run: the verdict says whether it survives, the referee what can be told apart."""
    folder = configured(tmp_path, MORE)
    done = snakemake(folder, "--quiet")
    assert done.returncode == 0, done.stderr[-3000:]
    results = folder / "results" / "tiny"
    verdict = json.loads((results / "verdict.json").read_text())
    assert set(verdict["protocols"]) == {"thinning", "nb_splitting"}
    assert all(found["reason"] for found in verdict["protocols"].values())
    assert (
        json.loads((results / "thinning" / "verdict.json").read_text())["protocol"] == "thinning"
    )
    referee = json.loads((results / "referee.json").read_text())
    assert [row["n"] for row in referee["rows"].values()] == [2, 2]
    page = (folder / "results" / "report.html").read_text()
    assert "Binomial thinning" in page
    assert referee["sentence"].split(".")[0] in page


HARD = TINY | {"stress": {"tests": ["depth", "outliers=0.01", "outliers=0.1", "batch_shift"]}}


def test_stress_tests_are_planned_where_a_data_set_has_their_column(tmp_path):
    """One job per test, loss and seed with all its levels; a shift of batches needs batches."""
    done = snakemake(configured(tmp_path, HARD), "--dry-run", "--printshellcmds")
    assert done.returncode == 0, done.stderr
    jobs, text = planned(done), done.stdout + done.stderr
    assert (jobs["stress"], jobs["stress_table"]) == (2 * 2, 1)
    commands = [line for line in text.splitlines() if "countae stress " in line]
    outliers = next(line for line in commands if "/outliers/nb-seed0.parquet" in line)
    assert "--tests outliers=0.01,outliers=0.1" in outliers
    assert "--model results/tiny/nb/seed0/model.safetensors" in outliers

    table = next(line for line in text.splitlines() if "countae stress-table" in line)
    assert "--tests depth,outliers,batch_shift" in table

    config = HARD | {"simulate": TINY["simulate"] | {"n_batches": 2}}
    rows = ROW.replace("genes", "genes\tbatch_key").replace("\tall", "\tall\tbatch")
    done = snakemake(configured(tmp_path, config, rows), "--dry-run")
    assert planned(done)["stress"] == 3 * 2


def test_stress_tests_end_in_a_file_for_the_report(tmp_path):
    """A real run; a second one has nothing to do."""
    config = HARD | {"stress": {"tests": ["depth=0.5", "cell_type_shift"], "most_groups": 1}}
    wanted = "results/tiny/stress.json"
    done = snakemake(configured(tmp_path, config), wanted, "--show-failed-logs")
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads((tmp_path / wanted).read_text())
    assert set(found["tests"]) == {"depth", "cell_type_shift"}
    rows = found["tests"]["depth"]["rows"]
    assert [row["level"] for row in rows if row["noise"] == "own"] == [1.0, 0.5] * 2
    again = snakemake(tmp_path, wanted, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_data_set_that_can_have_no_test_is_told_why_and_costs_no_job(tmp_path):
    """Its stress.json holds the reason; what is planned besides does not change."""
    config = TINY | {"stress": {"tests": ["donor_shift"]}}
    wanted = "results/tiny/stress.json"
    done = snakemake(configured(tmp_path, config), wanted, "--show-failed-logs")
    assert done.returncode == 0, done.stderr[-4000:]
    assert "stress" not in planned(done)
    found = json.loads((tmp_path / wanted).read_text())
    assert found["tests"] == {}
    assert "`donor_key`" in found["left_out"][0]["reason"]


def test_a_stress_test_that_one_data_set_cannot_have_costs_no_report(tmp_path):
    """Counts of one batch and of two: both have their verdict, their stress.json and the page."""
    source = tmp_path / "one.h5ad"
    write_one_batch(source)
    rows = "id\tsource\tgenes\tbatch_key\n"
    rows += f"tiny\tsimulate:nb\tall\tbatch\none\t{source}\tall\tbatch\n"
    config = TINY | {
        "simulate": TINY["simulate"] | {"n_batches": 2},
        "stress": {"tests": ["depth=0.5", "batch_shift"], "most_groups": 1},
    }
    done = snakemake(configured(tmp_path, config, rows), "--show-failed-logs")
    assert done.returncode == 0, done.stderr[-4000:]
    found = {
        name: json.loads((tmp_path / f"results/{name}/stress.json").read_text())
        for name in ("tiny", "one")
    }
    assert set(found["tiny"]["tests"]) == {"depth", "batch_shift"}
    assert set(found["one"]["tests"]) == {"depth"}
    (entry,) = found["one"]["left_out"]
    assert "there is 1 group" in entry["reason"]
    page = (tmp_path / "results" / "report.html").read_text()
    assert "<strong>Batch shift at 1:</strong> leaving a group out needs two groups" in page


def write_one_batch(path):
    """Poisson counts of one batch, 120 × 30."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(2, 2, size=30), size=(120, 30)).astype(np.float32)
    obs = pd.DataFrame({"batch": "a"}, index=[f"c{k}" for k in range(120)])
    var = pd.DataFrame(index=[f"g{k}" for k in range(30)])
    anndata.AnnData(csr_matrix(counts), obs=obs, var=var).write_h5ad(path)


def test_later_use_reads_the_proteins_of_the_source(tmp_path):
    """And `prepare` looks at them first, so that a wrong key is told before any fit."""
    source = tmp_path / "cite.h5ad"
    source.touch()
    rows = "id\tsource\tlabel_key\tprotein_key\tgenes\n"
    rows += f"cite\t{source}\ttype\tprotein_expression\tall\nplain\t{source}\ttype\t\tall\n"
    folder = configured(tmp_path, TINY | {"downstream": True}, rows=rows)
    done = snakemake(folder, "--dry-run", "--printshellcmds")
    lines = (done.stdout + done.stderr).splitlines()
    commands = [line for line in lines if " countae " in line or "countae downstream" in line]
    (cite,) = [line for line in commands if "downstream results/cite " in line]
    assert f"--protein-source {source} --protein-key protein_expression" in cite
    (looked,) = [line for line in commands if "countae prepare " in line and "protein" in line]
    assert "results/cite/counts.h5ad" in looked
    assert "--protein-key protein_expression" in looked
    assert len([line for line in commands if "protein" in line]) == 2


def test_a_printed_command_is_one_verb(tmp_path):
    done = snakemake(configured(tmp_path), "--dry-run", "--printshellcmds")
    text = done.stdout + done.stderr
    assert "countae fit results/tiny/counts.h5ad" in text
    assert "--max-epochs 20" in text


SEARCH = TINY | {"seeds": [4, 5, 6], "tuning": {"trials": 3}}


def test_every_loss_has_the_same_trials(tmp_path):
    """Trials, then one choice per loss, then fits; per hold-out protocol as well."""
    done = snakemake(configured(tmp_path, SEARCH), "--dry-run", "--printshellcmds")
    jobs, text = planned(done), done.stdout + done.stderr
    assert (jobs["tune_trial"], jobs["tune"], jobs["fit"]) == (2 * 3, 2, 2 * 3 + 3)
    asked = [line for line in text.splitlines() if "countae tune-trial" in line]
    settings = {
        loss: [line.split(" --seed ")[1].split(" > ")[0] for line in sorted(asked) if loss in line]
        for loss in ("mse_log1p", "nb")
    }
    assert settings["nb"] == settings["mse_log1p"]
    assert len(set(settings["nb"])) == 3
    assert all(line.startswith("4 --hidden ") for line in settings["nb"])  # the first seed
    fits = [line for line in text.splitlines() if "countae fit" in line]
    assert len(fits) == 9
    for loss in ("mse_log1p", "nb"):
        own = [line for line in fits if f"--likelihood {loss} " in line]
        assert own
        assert all(f"--tuned results/tiny/{loss}/tuning.json" in line for line in own)

    done = snakemake(configured(tmp_path, SEARCH | {"protocols": ["thinning"]}), "--dry-run")
    assert planned(done)["tune_trial"] == 2 * 2 * 3
    assert planned(done)["tune"] == 2 * 2


def test_no_trial_runs_when_the_search_is_off(tmp_path):
    config = TINY | {"tuning": {"trials": 0, "widths": [8]}}
    done = snakemake(configured(tmp_path, config), "--dry-run", "--printshellcmds")
    assert not {"tune_trial", "tune"} & set(planned(done))
    assert "--tuned" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("config", "rows", "words"),
    [
        ({"likelihoods": ["nb", "zimb"]}, ROW, "Did you mean 'zinb'?"),
        ({"seed": [0]}, ROW, "unknown key 'seed'. Did you mean 'seeds'?"),
        ({}, "id\tsorce\nx\ty\n", "Did you mean 'source'?"),
        ({"tuning": {"trials": 99}}, ROW, "only 27 different settings"),
        ({"stress": {"tests": ["dept"]}}, ROW, "Did you mean 'depth'?"),
    ],
)
def test_a_wrong_configuration_is_told_in_one_message(tmp_path, config, rows, words):
    done = snakemake(configured(tmp_path, config, rows), "--dry-run")
    assert done.returncode != 0
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A real run of the tiny configuration."""
    folder = configured(tmp_path_factory.mktemp("workflow"))
    done = snakemake(folder, "--show-failed-logs")
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_a_real_run_gives_every_result(finished):
    verdict = json.loads((finished / "results/tiny/verdict.json").read_text())
    assert set(verdict["axes"]) == {"overall", "mean", "zeros", "dispersion"}
    assert verdict["axes"]["overall"]["outcome"] == "abstain"  # one seed
    assert verdict["zero_inflation"]["asserted"] is False
    assert sum(verdict["genes"].values()) == verdict["n_genes"]
    adata = anndata.read_h5ad(finished / "results/tiny/tiny.h5ad")
    assert {"denoised_nb", "denoised_mse_log1p"} <= set(adata.layers)
    page = (finished / "results/report.html").read_text()
    assert "tiny" in page
    assert str(finished) not in page
    for kind in ("logs", "benchmarks"):
        assert list((finished / kind / "tiny" / "nb" / "seed0").iterdir())


def test_a_second_run_does_nothing(finished):
    done = snakemake(finished, "--dry-run")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_only_what_depends_on_a_change_runs_again(finished):
    config = TINY | {"verdict": {"equivalence": 0.01}}
    jobs = planned(snakemake(configured(finished, config), "--dry-run"))
    configured(finished)
    assert jobs == {"bootstrap": 1, "verdict": 1, "export": 1, "report": 1}


def test_the_device_is_no_reason_to_run_again(finished):
    done = snakemake(configured(finished, TINY | {"device": "cpu"}), "--dry-run")
    configured(finished)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_fit_on_several_devices_is_a_matter_of_resources(finished):
    several = ["--dry-run", "--set-resources", "fit:devices=2"]
    done = snakemake(finished, *several)
    assert "Nothing to be done" in done.stdout + done.stderr
    done = snakemake(finished, *several, "--printshellcmds", "--forcerun", "fit")
    assert " --devices 2 " in done.stdout + done.stderr


def asked(folder: Path, target: str, *words: str) -> dict[str, int]:
    """Numbers that the job which makes ``target`` would ask a scheduler for."""
    # without messages, in place of which Snakemake then prints what a job asks for
    (folder / "plain.smk").write_text(
        f'include: "{ROOT}/Snakefile"\nfor one in workflow.rules:\n    one.message = None\n'
    )
    command = [sys.executable, "-m", "snakemake", "--snakefile", "plain.smk", "--dry-run"]
    command += [target, "--rerun-triggers", "mtime", "--workflow-profile", "none"]
    done = subprocess.run(
        [*command, "--cores", "8", *words], capture_output=True, text=True, cwd=folder,
        env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    (line,) = [line for line in text.splitlines() if line.startswith("    resources: ")]
    threads = [int(n) for n in re.findall(r"^    threads: (\d+)$", text, re.M)] or [1]
    return {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)\b", line)} | {
        "threads": threads[0]
    }


@pytest.fixture
def prepared_only(tmp_path):
    """A folder in which a data set is prepared; of its first network Snakemake sees a file."""
    folder = configured(tmp_path)
    (folder / "results/tiny/nb/seed0").mkdir(parents=True)
    triage = {"modelled": {"cells": 200, "genes": 50}}
    (folder / "results/tiny/triage.json").write_text(json.dumps(triage))
    for name in ("results/tiny/counts.h5ad", "results/tiny/nb/seed0/model.safetensors"):
        (folder / name).touch()
    return folder


FIT = "results/tiny/nb/seed1/model.safetensors"
SCORES = "results/tiny/nb/seed0/scores.parquet"


def test_what_a_fit_asks_for_follows_its_devices(prepared_only):
    """Main memory for CUDA where there is a GPU, whoever asks for that; all once per process."""
    plain = asked(prepared_only, FIT)
    assert "gpu" not in plain
    assert (plain["devices"], plain["threads"]) == (1, 1)
    with_gpu = asked(prepared_only, FIT, "--set-resources", "fit:gpu=1")
    assert with_gpu["mem_mb"] == plain["mem_mb"] + SETTINGS["gpu_main_memory"]
    own = plain["mem_mb"] - resources.WORKFLOW_MB
    two = asked(prepared_only, FIT, "--set-resources", "fit:devices=2")
    assert two["threads"] == 2
    assert two["mem_mb"] == pytest.approx(resources.WORKFLOW_MB + 2 * own, abs=2)  # rounded up
    four = asked(prepared_only, FIT, "--set-resources", "fit:devices=4", "fit:gpu=4")
    assert (four["threads"], four["gpu"]) == (4, 4)
    beside = own + SETTINGS["gpu_main_memory"]
    assert four["mem_mb"] == pytest.approx(resources.WORKFLOW_MB + 4 * beside, abs=4)


def test_a_configuration_says_what_main_memory_a_gpu_needs(prepared_only):
    configured(prepared_only, TINY | {"device": "cuda", "gpu_main_memory": 700})
    with_gpu = asked(prepared_only, FIT)
    without = asked(prepared_only, FIT, "--set-resources", "fit:gpu=0")
    assert with_gpu["gpu"] == 1
    assert with_gpu["mem_mb"] == without["mem_mb"] + 700


def test_the_profiles_for_slurm_differ_in_main_memory_where_they_differ_in_gpus(prepared_only):
    def at(target, profile):
        lines = yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text())
        words = [
            f"{rule}:{name}={value}"
            for rule, some in lines["set-resources"].items()
            for name, value in some.items()
        ]
        return asked(prepared_only, target, "--set-resources", *words)["mem_mb"]

    gap = {target: at(target, "slurm-gpu") - at(target, "slurm") for target in (FIT, SCORES)}
    assert gap == {FIT: SETTINGS["gpu_main_memory"], SCORES: 0}


def test_devices_share_the_threads_of_a_fit(small_nb, tmp_path, monkeypatch):
    """Each process has its part; what `--threads` says is for all of a machine."""
    import torch
    from typer.testing import CliRunner

    from countae import fit as training_loop
    from countae.cli import app

    small_nb.save(tmp_path / "counts.h5ad")
    before, given = torch.get_num_threads(), []

    def stop(*args, **kwargs):
        given.append(torch.get_num_threads())
        raise KeyboardInterrupt

    monkeypatch.setattr(training_loop, "fit", stop)
    for threads, devices in ((4, 2), (1, 2), (3, 1)):
        words = ["fit", tmp_path / "counts.h5ad", tmp_path / "m.safetensors"]
        words += [
            "--record",
            tmp_path / "r.json",
            "--likelihood",
            "nb",
            "--threads",
            threads,
            "--devices",
            devices,
        ]
        CliRunner().invoke(app, [*map(str, words)])
    torch.set_num_threads(before)
    assert given == [2, 1, 3]


@pytest.fixture
def no_network(monkeypatch):
    """Nothing answers outside this machine."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def test_snakemakes_own_report_carries_ours(finished, no_network):
    """In one file, with our categories, labels and captions."""
    done = snakemake(finished, "--report", finished / "snakemake.html")
    assert done.returncode == 0, done.stderr
    page = (finished / "snakemake.html").read_text()
    for words in ("Which loss tells the story", "Verdict, for machines", "Data sets", "tiny",
                  "genes with the counts of each", "the classes of genes in numbers"):  # fmt: skip
        assert words in page


def test_snakemakes_archive_holds_our_page_unchanged(finished, no_network):
    done = snakemake(finished, "--report", finished / "snakemake.zip")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(finished / "snakemake.zip") as archive:
        pages = [name for name in archive.namelist() if name.endswith("/report.html")]
        ours = (finished / "results" / "report.html").read_bytes()
        assert ours in [archive.read(name) for name in pages]


def test_an_edit_of_the_source_changes_the_steps_that_use_it(tmp_path, monkeypatch):
    copy = tmp_path / "countae"
    shutil.copytree(fingerprints.ROOT, copy)
    monkeypatch.setattr(fingerprints, "ROOT", copy)

    def now():
        fingerprints.fingerprint.cache_clear()
        return {verb: fingerprints.fingerprint(verb) for verb in fingerprints.STARTS}

    before = now()
    for file, verbs in {
        "likelihoods/zinb.py": {"fit", "score", "export"},
        "metrics/brier_zero.py": {"score", "verdict", "report"},
        "wording.py": {"verdict", "report"},
        "ranking.py": {"rank"},
        "counts/_quality.py": {"prepare"},
        "report/page.css": {"report"},
        "tuning.py": {"tune"},
    }.items():
        path = copy / file
        path.write_text(path.read_text() + "\n# edited\n")
        after = now()
        changed = {verb for verb in before if after[verb] != before[verb]}
        assert verbs <= changed, file
        # a new choice would train everything again
        assert ("tune" in changed) == (file == "tuning.py"), file
        before = after
    monkeypatch.undo()
    fingerprints.fingerprint.cache_clear()


def test_a_loss_in_a_folder_of_plugins_is_trained_and_scored(tmp_path):
    """One file, one line of configuration; an edit of the file trains again."""
    path = write("geometric", tmp_path / "plugins" / "likelihoods")
    config = TINY | {"plugins": "plugins", "likelihoods": ["nb", "geometric"]}
    wanted = "results/tiny/geometric/seed0/scores.parquet"
    done = snakemake(configured(tmp_path, config), wanted, "--show-failed-logs")
    assert done.returncode == 0, done.stderr[-4000:]
    table = pd.read_parquet(tmp_path / wanted)
    found = table.query("metric == 'log_score' and noise == 'native' and level == 'dataset'")
    assert 0 < found["value"].item() < 3
    again = snakemake(tmp_path, wanted, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
    path.write_text(path.read_text() + "\n# edited\n")
    assert planned(snakemake(tmp_path, wanted, "--dry-run"))["fit"] == 1


@pytest.mark.slow
def test_a_real_search_ends_in_the_fits(tmp_path):
    """The configuration's step is far too large, so the other trial wins and is trained."""
    size = {"n_cells": 60, "n_genes": 20, "n_types": 2, "depth": 80}
    tuning = {"trials": 2, "widths": [8], "learning_rates": [0.01], "weight_decays": [0.1]}
    training = {"max_epochs": 3, "learning_rate": 1e4}
    config = TINY | {"simulate": size, "tuning": tuning, "training": training}
    fits = [f"results/tiny/{loss}/seed0/fit.json" for loss in ("mse_log1p", "nb")]
    done = snakemake(configured(tmp_path, config), *fits, "--show-failed-logs")
    assert done.returncode == 0, done.stderr[-4000:]
    for path in fits:
        record = json.loads((tmp_path / path).read_text())
        search = json.loads((tmp_path / path).parents[1].joinpath("tuning.json").read_text())
        assert {name: record[name] for name in ("network", "training")} == search["chosen"]
        widths = [trial["settings"]["network"]["hidden"] for trial in search["trials"]]
        assert widths == [[16], [8]]
        assert record["network"]["hidden"] == [8]
        assert len(record["validation_loss"]) == 3
        assert record["tuning_trials"] == search["budget"] == 2
    assert search["trials"][0]["stop_reason"] == "diverged"  # of nb
    again = snakemake(tmp_path, *fits, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_one_matrix_runs_from_the_command_line(tmp_path):
    """`countae run` on a file: the whole workflow, then the sentence and the page's path."""
    from conftest import prepared

    matrix = prepared("simulate:nb", cells=160, genes=30)[0]
    adata = anndata.AnnData(matrix.counts, obs=matrix.obs[["cell_type"]])
    adata.write_h5ad(tmp_path / "my counts.h5ad")
    command = [sys.executable, "-m", "countae", "run", "my counts.h5ad", "--out", "mine"]
    command += ["--label-key", "cell_type", "--likelihoods", "poisson,nb", "--seeds", "0"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-2000:]
    sentence, page = done.stdout.strip().splitlines()[-2:]
    assert sentence.startswith("my_counts: no verdict: only 1 of the 3 seeds")
    assert (tmp_path / page).is_file()


@pytest.fixture
def server(tmp_path):
    """Address of a web server for the folder ``web``."""
    (tmp_path / "web").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()


def test_sources_on_the_web_are_fetched_and_joined(tmp_path, server):
    for seed, name in enumerate(["a", "b"]):
        (tmp_path / name).mkdir()
        made = tenx_h5_v3(example(120, 20, seed=seed), tmp_path / name)
        shutil.move(made, tmp_path / "web" / f"{name} 1.h5")
    digest = hashlib.sha256((tmp_path / "web" / "a 1.h5").read_bytes()).hexdigest()
    address = f"{server}/a%201.h5#sha256={digest};{server}/b%201.h5"
    rows = f"id\tsource\tbatch_key\tgenes\nweb\t{address}\tfile\tall\n"
    folder = configured(tmp_path / "run", rows=rows)
    done = snakemake(folder, "results/web/counts.h5ad")
    assert done.returncode == 0, done.stderr
    adata = anndata.read_h5ad(folder / "results/web/counts.h5ad")
    number = adata.obs["file"].value_counts()
    assert set(number.index) == {"a 1", "b 1"}
    assert number.min() > 100  # the quality filter removes a few of 120
    again = snakemake(folder, "--dry-run", "results/web/counts.h5ad")
    assert "Nothing to be done" in again.stdout + again.stderr

    rows = rows.replace(digest, "0" * 64)
    done = snakemake(configured(tmp_path / "other", rows=rows), "results/web/counts.h5ad")
    assert done.returncode != 0
    assert (
        "must have the SHA-256 checksum"
        in (tmp_path / "other/logs/web/source/0/a 1.h5.log").read_text()
    )
    assert not (tmp_path / "other/results/web/counts.h5ad").exists()


def test_a_storage_location_without_its_plugin_is_told(tmp_path):
    rows = "id\tsource\nx\tgopher://bucket/x.h5ad\n"
    done = snakemake(configured(tmp_path, rows=rows), "--dry-run")
    assert done.returncode != 0
    assert "needs a Snakemake storage plugin for gopher://" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr

"""Profiles of engines that are not here: they are planned, where their plugins are installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# a folder in place of a bucket, for which credentials would be needed
STORAGE = ["--default-storage-provider", "fs", "--default-storage-prefix", "bucket"]


def configured(folder: Path) -> Path:
    (folder / "config").mkdir()
    (folder / "config" / "config.yaml").write_text("likelihoods: [mse_log1p, nb]\nseeds: [0]\n")
    (folder / "config" / "datasets.tsv").write_text("id\tsource\tgenes\ntiny\tsimulate:nb\tall\n")
    return folder


ENGINES = {
    "default": [], "slurm": [], "slurm-gpu": [], "lsf": [], "htcondor": [],
    "kubernetes": STORAGE, "aws-batch": STORAGE,
}  # fmt: skip


def test_every_profile_is_planned():
    assert set(ENGINES) == {path.name for path in (ROOT / "profiles").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("asked", [["--dry-run", "--quiet", "rules"], ["--lint"]])
@pytest.mark.parametrize(("engine", "words"), ENGINES.items())
def test_a_profile_is_planned_and_linted(tmp_path, engine, words, asked):
    plugin = engine.removesuffix("-gpu").replace("-", "_")
    if engine != "default" and find_spec(f"snakemake_executor_plugin_{plugin}") is None:
        assert os.environ.get("COUNTAE_ENGINES") != "1", f"the plugin for {engine} is missing"
        pytest.skip(f"the plugin for {engine} is not installed (make test-engines)")
    command = [sys.executable, "-m", "snakemake", *asked]
    command += ["--snakefile", ROOT / "Snakefile", "--directory", configured(tmp_path)]
    command += ["--workflow-profile", ROOT / "profiles" / engine, *words]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=os.environ | {"COLUMNS": "99"}
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert ("total" if "--dry-run" in asked else "Congratulations") in text

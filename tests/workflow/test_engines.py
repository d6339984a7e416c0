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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "words"),
    [("slurm", []), ("slurm-gpu", []), ("lsf", []), ("htcondor", [])]
    + [("kubernetes", STORAGE), ("aws-batch", STORAGE)],
)
def test_a_profile_is_planned(tmp_path, engine, words):
    plugin = engine.removesuffix("-gpu").replace("-", "_")
    if find_spec(f"snakemake_executor_plugin_{plugin}") is None:
        pytest.skip(f"the plugin for {engine} is not installed (pip install 'countae[engines]')")
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules"]
    command += ["--snakefile", ROOT / "Snakefile", "--directory", configured(tmp_path)]
    command += ["--workflow-profile", ROOT / "profiles" / engine, *words]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=os.environ | {"COLUMNS": "99"}
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "total" in text

"""The direction of imports and other promises of docs/architecture.md."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "countae"
FILES = sorted(SOURCE.rglob("*.py"))

# a room may import rooms below it in this list, and always the common ones
COMMON = {
    "config", "counts", "errors", "files", "progress", "registry", "sources", "split", "",
}  # fmt: skip
ALLOWED = {
    "kernels": set(),
    "likelihoods": {"kernels"},
    "devices": set(),
    "protocols": {"kernels", "devices"},
    "memory": {"devices", "model", "protocols"},
    "stepping": {"devices", "model", "protocols"},
    "layers": {"devices"},
    "fused": {"likelihoods", "kernels", "protocols"},
    "model": {"likelihoods", "protocols", "layers"},
    "placing": {"model", "protocols"},
    "new_likelihood": {"likelihoods", "baselines", "peers", "protocols"},
    "noise_heads": {"likelihoods", "kernels"},
    "start": {"likelihoods", "noise_heads"},
    "training": {"model", "likelihoods", "protocols", "fused", "kernels", "devices", "stepping"},
    "checkpoint": {"training", "fingerprint", "devices"},
    "triage": {"metrics"},
    "fit": {
        "training",
        "checkpoint",
        "devices",
        "memory",
        "model",
        "likelihoods",
        "protocols",
        "start",
        "layers",
        "noise_heads",
        "placing",
    },  # fmt: skip
    "predict": {"fit", "placing", "model", "likelihoods", "protocols", "devices", "memory"},
    "noise": {"predict", "likelihoods", "noise_heads"},
    "baselines": {"predict", "noise", "noise_heads", "likelihoods", "protocols"},
    "peers": {"baselines", "fit", "likelihoods", "noise"},
    "metrics": {"kernels"},
    "score_block": {"predict", "metrics", "kernels"},
    "score": {
        "predict",
        "noise",
        "noise_heads",
        "baselines",
        "metrics",
        "model",
        "protocols",
        "score_block",
    },
    "hold_out": {"predict", "noise", "noise_heads", "model", "protocols"},
    "protocol_verdict": {"wording"},
    "simulate": {"kernels"},
    "prepare": {"proteins", "simulate"},
    "comparison": set(),
    "results": set(),
    "wording": {"verdict"},
    "prose": {"wording"},
    "gene_verdict": {"comparison", "results"},
    "story": {"comparison", "results", "wording"},
    "verdict": {
        "gene_verdict",
        "comparison",
        "results",
        "wording",
        "metrics",
        "story",
    },
    "stress": {"prepare", "simulate"},
    "stress_run": {
        "baselines",
        "fit",
        "model",
        "noise",
        "predict",
        "protocols",
        "results",
        "score",
        "stress",
    },
    "stress_table": {"comparison", "stress", "stress_words"},
    "stress_words": {"wording"},
    "downstream": {
        "comparison",
        "metrics",
        "model",
        "predict",
        "proteins",
        "score",
        "stress",
        "wording",
    },
    "proteins": set(),
    "rehearsal": {
        "simulate",
        "fit",
        "gene_verdict",
        "model",
        "noise",
        "predict",
        "prepare",
        "protocols",
        "results",
        "score",
        "story",
        "verdict",
    },
    "referee": {"wording"},
    "report": {"verdict", "wording", "metrics"},
    "export": {"fit", "predict", "model", "metrics"},
    "fingerprint": set(),
    "launch": {"prepare"},
    "ranking": set(),
    "resources": set(),
    "status": set(),
    "options": {"paths"},
    "paths": set(),
    "tuning": set(),
}
TORCH_ROOMS = {
    "likelihoods", "kernels", "protocols", "layers", "model", "start", "fit", "predict", "noise",
    "noise_heads", "baselines", "peers", "options", "fused", "training", "checkpoint", "devices",
    "memory", "placing", "stepping",
}  # fmt: skip


def room(file: Path) -> str:
    return file.relative_to(SOURCE).with_suffix("").parts[0]


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "countae":
            names |= {f"countae.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_imports_point_in_one_direction(file):
    own = room(file)
    if own in {"__init__", "__main__"} or own.split("_")[0] == "cli":
        return
    parts = {name.split(".")[1] for name in imported(file) if name.startswith("countae.")}
    if own == "config":  # checks names against the registries, which are light
        parts -= {
            "baselines", "likelihoods", "metrics", "peers", "protocols", "simulate", "stress",
            "tuning",
        }  # fmt: skip
    if own == "prepare":
        parts -= {"simulate"}
    forbidden = parts - COMMON - {own, "__version__"} - ALLOWED.get(own, set())
    assert not forbidden, f"{own} must not import {sorted(forbidden)}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_heavy_libraries_stay_in_their_rooms(file):
    names = {name.split(".")[0] for name in imported(file)}
    assert "snakemake" not in names
    assert "torch" not in names or room(file) in TORCH_ROOMS
    assert "scanpy" not in names or room(file) in {"counts", "baselines"}
    assert "altair" not in names or room(file) == "report"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_no_likelihood_is_compared_by_name(file):
    """`if likelihood == "zinb"` belongs in no file: the object is asked instead."""
    if room(file) == "likelihoods":
        return
    compared = [
        node
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Compare)
        for part in [node.left, *node.comparators]
        if isinstance(part, ast.Constant) and part.value in {"zinb", "mse_log1p", "mse_counts"}
    ]
    assert not compared


def test_files_stay_readable():
    for file in FILES:
        assert len(file.read_text().splitlines()) <= 400, file


def test_help_loads_no_heavy_library():
    code = (
        "import sys; sys.argv = ['countae', '--help']\n"
        "from countae.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'scanpy', 'anndata', 'pandas', 'scipy', 'snakemake', 'numba'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def locked() -> dict[str, str]:
    lines = (ROOT / "envs" / "requirements.lock").read_text().splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in pairs}


@pytest.mark.parametrize("env", ["counts", "torch", "report", "peers"])
def test_conda_environments_agree_with_the_lock(env):
    other_name = {"pytorch": "torch", "python-igraph": "igraph"}
    content = yaml.safe_load((ROOT / "envs" / f"{env}.yaml").read_text())
    pins = [line.split("=") for line in content["dependencies"] if "=" in line]
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    peers = dict(line.split("==") for line in extra["optional-dependencies"]["peers"])
    versions = locked() | peers
    for name, version in pins:
        if name != "python":
            assert versions[other_name.get(name, name)] == version, name
    assert (ROOT / "envs" / f"{env}.post-deploy.sh").is_file()


def test_the_lock_has_the_torch_that_every_machine_can_install():
    assert locked()["torch"] == "2.13.0"

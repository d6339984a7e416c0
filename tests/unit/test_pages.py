"""Every command of README, CONTRIBUTING and docs/ is run, on made-up files of the names there."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from countae import likelihoods, metrics

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = {
    "countae", ".venv/bin/countae", "snakemake", "python", "make", "pip", "conda", "mamba",
    "sbatch", "export", "git", "cd", "pre-commit",
}  # fmt: skip
# what no test of this file runs, and why; a page's name before the words limits it to that page
NOT_HERE = {
    "make": "makes an environment of its own; continuous integration calls the same recipes",
    "python benchmarks/": "takes an hour or more",
    "python tests/fuzz_readers.py": "takes an hour or more",
    "python docs/pictures.py": "needs a browser",
    "export PATH=": "this file finds the program by itself",
    "countae fetch": "needs the network",
    "sbatch": "needs SLURM",
    "conda": "needs conda",
    "pip install": "needs a package index",
    "pre-commit install": "changes the clone",
    "scale.md: countae": "a million cells",
    "snakemake": "needs a clone and its configuration; tests/workflow runs the workflow",
    "README.md: countae run": "takes minutes; the tutorial and tests/workflow run it",
    "countae status": "needs the logs of a run; tests/unit/test_status.py has some",
    "howto-gpu.md: countae": "needs GPUs",
    "howto-gpu.md: srun": "needs SLURM",
    "howto-gpu.md: torchrun": "needs GPUs",
    "howto-peers.md: countae": "needs scvi-tools, or a program of yours",
    "stress.md: countae": "needs results; tests/workflow/test_workflow.py runs them",
}
SLOW = ("countae run",)
ELSEWHERE = {
    "howto-read-your-data.md": "tests/unit/test_howto_read.py",
    "howto-likelihoods-as-a-library.md": "tests/unit/likelihoods",
}


def commands(page: Path) -> list[str]:
    """Command lines of fenced blocks of the shell and of indented blocks, in order."""
    text = page.read_text()
    fenced = re.findall(r"^```(?:bash|sh|shell)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    if not fenced or re.search(r"^    \S", text, flags=re.MULTILINE):
        text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        fenced += re.findall(r"(?:^    .*\n)+", text, flags=re.MULTILINE)
    lines = [line.strip() for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    found = [line for line in lines if line and line.split()[0] in PROGRAMS]
    return [line.removeprefix(".venv/bin/") for line in found]


def not_here(page: Path, command: str) -> str:
    """Why a command is not run here; empty when it is."""
    for words, reason in NOT_HERE.items():
        name, _, start = words.rpartition(": ")
        if command.startswith(start) and name in ("", page.name):
            return reason
    return ""


def to_run(page: Path) -> list[str]:
    return [line for line in commands(page) if not not_here(page, line)]


def run(page: Path, lines: list[str], folder: Path, files: Path) -> None:
    """Run commands of a page, one after the other, as a reader would."""
    shutil.copytree(files, folder / "place")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in lines:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=folder / "place",
            env=os.environ | {"PATH": path, "COLUMNS": "80"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{page.name}: {line}\n{done.stdout}{done.stderr}"


def until_slow(lines: list[str]) -> list[str]:
    """Commands before the first slow one: those after it may need what it makes."""
    slow = [k for k, line in enumerate(lines) if line.startswith(SLOW)]
    return lines[: slow[0]] if slow else lines


QUICK = [page for page in PAGES if page.name not in ELSEWHERE and until_slow(to_run(page))]
LONG = [page for page in PAGES if any(line.startswith(SLOW) for line in to_run(page))]


@pytest.mark.parametrize("page", QUICK, ids=lambda page: page.name)
def test_the_quick_commands_of_a_page_run(page, tmp_path, named_files):
    run(page, until_slow(to_run(page)), tmp_path, named_files)


@pytest.mark.slow
@pytest.mark.parametrize("page", LONG, ids=lambda page: page.name)
def test_all_commands_of_a_page_run(page, tmp_path, named_files):
    run(page, to_run(page), tmp_path, named_files)


def test_pages_that_must_have_commands_have_them():
    """The search for commands finds fenced and indented blocks."""
    assert any(line.startswith("countae run builtin:") for line in
               commands(ROOT / "docs" / "tutorial.md"))  # fmt: skip
    assert "countae check counts.h5ad --json triage.json" in commands(
        ROOT / "docs" / "howto-check-your-data.md"
    )
    assert {"make demo", "make test"} == {
        line.split("  ")[0] for line in commands(ROOT / "README.md") if line.startswith("make")
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_place_of_one_machine(page):
    found = re.findall(r"(?:/home/|/root/|/work/|/tmp/|/Users/)\S*", page.read_text())
    assert not found


def module(name: str):
    """A script of docs/ as a module."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        return made
    finally:
        sys.path.pop(0)


def test_the_reference_has_every_member_and_every_verb(tmp_path):
    module("reference").write(tmp_path)
    text = {path.stem: path.read_text() for path in tmp_path.iterdir()}
    for name in likelihoods.names():
        assert f"| `{name}` |" in text["losses"], name
    for name in metrics.names():
        assert f"| `{name}` |" in text["metrics"], name
    for verb in ("run", "prepare", "explain", "tune-trial"):
        assert f"`countae {verb}`" in text["command-line"], verb
    assert "| `seeds` | list of integer |" in text["configuration"]


def test_the_table_of_keys_in_config_is_the_one_of_the_schemas():
    assert module("config_table").table() == (ROOT / "config" / "README.md").read_text()

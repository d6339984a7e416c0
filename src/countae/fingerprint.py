"""Content of the code that a step runs, as a short hash: Snakemake does not see edits in src/."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

from countae.registry import plugin_files

ROOT = Path(__file__).parent
STARTS = {
    "prepare": ["prepare"],
    "hide": ["hold_out"],
    "fit": ["fit"],
    "tune": ["tuning"],
    "score": ["score"],
    "peer": ["peers"],
    "bootstrap": ["rehearsal"],
    "rehearse": ["rehearsal"],
    "referee": ["referee"],
    "stress": ["stress_run"],
    "stress_table": ["stress_table"],
    "downstream": ["downstream"],
    "verdict": ["verdict", "gene_verdict", "protocol_verdict"],
    "export": ["export"],
    "rank": ["ranking"],
    "report": ["report"],
}


@cache
def fingerprint(verb: str) -> str:
    """Hash of every file of countae that the step ``verb`` can import.

    Imports are followed in the text, so nothing is loaded. A package that is imported counts
    whole, because registries import their members by name, and so do its plugins.
    """
    found: set[Path] = set()
    waiting = [path for name in STARTS[verb] if (path := _path([name])) is not None]
    while waiting:
        path = waiting.pop()
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in (file for file in files if file not in found):
            found.add(file)
            waiting += _imports(file)
    found |= {file for file in ROOT.joinpath("report").iterdir() if verb == "report"}
    digest = hashlib.sha256()
    for file in sorted(file for file in found if file.is_file()):
        digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    for package in sorted({file.parent.name for file in found}):
        for file in plugin_files(package):
            digest.update(f"{package}/{file.name}".encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _imports(file: Path) -> list[Path]:
    """Files and packages of countae that a file imports."""
    paths = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("countae"):
            parts = node.module.split(".")[1:]
            paths += [_path([*parts, alias.name]) or _path(parts) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            paths += [_path(name[1:]) for name in names if name[0] == "countae"]
    return [path for path in paths if path is not None]


def _path(parts: list[str]) -> Path | None:
    """File or package of a module's name below countae; None for a name inside one."""
    if not parts:
        return None
    path = ROOT.joinpath(*parts)
    return path if path.is_dir() else file if (file := path.with_suffix(".py")).is_file() else None

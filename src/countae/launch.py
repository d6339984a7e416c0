"""`countae run`: one matrix in, the whole Snakemake workflow, one report out."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from countae import config, sources
from countae.config import Source
from countae.errors import ConfigError, ScoreError
from countae.files import read_json, written_aside
from countae.prepare import prepare


def launch(row: Source, chosen: dict[str, Any], out: Path, *, cores: int) -> tuple[Path, str]:
    """Write a configuration into ``out`` and run the workflow there.

    The matrix is checked first, so that bad input is told before anything is written; not so one
    that has to be fetched.

    Parameters
    ----------
    row : Source
    chosen : dict
        Keys of the configuration that differ from the defaults.
    out : Path
        Working directory of the workflow.
    cores : int

    Returns
    -------
    path of report.html, and the verdict in one sentence

    Raises
    ------
    ConfigError, CountMatrixError
        See :func:`countae.prepare.prepare`.
    ScoreError
        When a step of the workflow failed; its log was printed above.
    """
    settings = config.validated(chosen, where="options of `countae run`")
    row = _absolute(row)
    if not any(map(sources.is_remote, sources.parts(row.source))):
        prepare(
            row,
            simulate=settings["simulate"],
            quality=settings["quality"],
            genes=settings["genes"],
            held_out=settings["split"],
        )
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: --out must be a folder, but it is a file. Fix: choose another.")
    name = _write_configuration(row, chosen, out)
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile"),
        str(config.workflow_folder() / "Snakefile"),
        *("--directory", str(out), "--cores", str(cores), "--workflow-profile", "none"),
        *("--rerun-incomplete", "--show-failed-logs", "--logger", "rich"),
    ]
    if subprocess.run(command, check=False).returncode != 0:
        raise ScoreError(
            f"{out}: a step of the workflow failed; its log is printed above and stands in "
            f"{out / 'logs'}. Fix its cause and run the same command again: finished steps are "
            "kept."
        )
    verdict = read_json(out / "results" / name / "verdict.json")
    return out / "results" / "report.html", verdict["sentence"]


def _absolute(row: Source) -> Source:
    """The same row with paths that hold from any working directory."""
    fields = asdict(row)
    if not row.source.startswith(sources.MADE):
        fields["source"] = ";".join(
            part if sources.is_remote(part) else str(Path(part).resolve())
            for part in sources.parts(row.source)
        )
    if row.genes != "all" and not row.genes.isdigit():
        fields["genes"] = str(Path(row.genes).resolve())
    return Source(**fields)


def _short_name(source: str) -> str:
    """Id of a data set by its file's name; ``counts`` is that of a file of every data set."""
    stem = Path(sources.file_name(source.split(":", 1)[-1])).stem
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip("._-")
    return "data" if name in {"", "counts"} else name


def _write_configuration(row: Source, chosen: dict[str, Any], out: Path) -> str:
    """Write config.yaml and datasets.tsv below ``out``; return the data set's id."""
    import yaml

    name = _short_name(row.source)
    with written_aside(out / "config" / "datasets.tsv") as aside, aside.open("w") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(["id", *asdict(row)])
        table.writerow([name, *asdict(row).values()])
    with written_aside(out / "config" / "config.yaml") as aside:
        aside.write_text(yaml.safe_dump({"datasets": "config/datasets.tsv"} | chosen))
    return name

"""The verbs that tell what was decided: referee, rank, explain."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from countae import config
from countae.options import Folders, escaped, log
from countae.paths import Input, Output


def referee(
    rehearsals: Annotated[
        list[Path], typer.Argument(help="Files of `countae rehearse`."), Input()
    ],
    output: Annotated[Path, typer.Option(help="referee.json to write."), Output("referee.json")],
) -> None:
    """Tell what can be told apart at this depth: true family against verdict.

    Example: countae referee results/pbmc/referee/*.json --output referee.json
    """
    from rich.table import Table

    from countae.files import write_json
    from countae.referee import confusion

    keys = ("family", "story", "recommended", "asserted", "observed", "n_genes")
    found = confusion([_known(path, "rehearsal", *keys) for path in rehearsals])
    table = Table("true family", "stories told", "right", "zero inflation asserted")
    for family, row in found["rows"].items():
        told = ", ".join(f"{n} × {story}" for story, n in row["stories"].items())
        right = "–" if row["right"] is None else f"{row['right']}/{row['n']}"
        table.add_row(family, told, right, f"{row['zero_inflation']}/{row['n']}")
    log.print(table)
    log.print(escaped(found["sentence"]))
    write_json(output, found)


def rank(
    folders: Folders,
    output: Annotated[Path, typer.Option(help="ranking.json to write."), Output("ranking.json")],
) -> None:
    """Rank the losses over data sets, with Friedman's test when there are enough.

    Example: countae rank results/pbmc results/simulated_nb --output ranking.json
    """
    from countae import ranking
    from countae.files import write_json

    found = ranking.rank(ranking.read_verdicts(folders))
    write_json(output, found)
    log.print(escaped(found["reason"]))


def explain(
    verdicts: Annotated[
        list[Path], typer.Argument(help="verdict.json files, or folders of results."), Input()
    ],
    short: Annotated[
        bool, typer.Option("--short/--long", help="One sentence, or the reasons as well.")
    ] = False,
) -> None:
    """Tell verdicts as prose.

    Example: countae explain results/pbmc68k/verdict.json
    """
    from countae.prose import TOLD, explained

    files = [path / "verdict.json" if path.is_dir() else path for path in verdicts]
    read = [_known(path, "verdict.json", *TOLD) for path in files]
    for number, found in enumerate(read):
        if short:
            typer.echo(found["sentence"])
            continue
        typer.echo("\n" * bool(number) + found["dataset"])
        for heading, paragraphs in explained(found).items():
            if paragraphs:
                typer.echo(f"\n  {heading}")
            for paragraph in paragraphs:
                typer.echo(_wrapped(paragraph, "- " * (len(paragraphs) > 1)))


def _wrapped(paragraph: str, mark: str) -> str:
    """A paragraph as wide as the terminal, 100 columns at most; a number keeps its per cent."""
    width, indent = min(shutil.get_terminal_size().columns, 100), "    "
    return textwrap.fill(
        paragraph.replace(" %", "\u00a0%"), width, initial_indent=indent + mark,
        subsequent_indent=indent + " " * len(mark), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _known(path: Path, what: str, *keys: str) -> dict[str, Any]:
    """Content of a JSON file that must be there and have some keys."""
    from countae.files import with_keys

    return with_keys(config.existing_file(path, what), what, *keys)

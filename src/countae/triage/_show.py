"""Findings on a terminal, or as plain lines where there is none."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from countae.triage._run import Triage

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def show(found: Triage, out: Console) -> None:
    """Print the findings of a matrix: a table for a person, lines for a file or a pipe."""
    if not out.is_terminal:
        for _, each in found.findings:
            out.print(Text(f"{each.severity}: {each.sentence}"))
        return
    cells, genes = found.shape
    table = Table(
        "", "what was found", "what follows", "fix", show_lines=True, expand=True,
        title=Text(f"{found.source} — {cells:,} cells × {genes:,} genes"), title_justify="left",
    )  # fmt: skip
    for column, ratio in zip(table.columns[1:], (5, 4, 3), strict=True):
        column.ratio = ratio
    for _, each in found.findings:
        table.add_row(
            Text(each.severity, style=STYLES[each.severity]),
            *(Text(part) for part in (each.what, each.consequence, each.fix)),
        )
    out.print(table)
    verdict = "can be used" if found.usable else "cannot be used: these are no counts"
    out.print(Text(f"This matrix {verdict}.", style="bold green" if found.usable else "bold red"))

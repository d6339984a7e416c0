"""The verb that says how a run of the workflow stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from countae.paths import Input


def status(
    folder: Annotated[
        Path, typer.Argument(help="Folder in which the workflow runs."), Input()
    ] = Path(),
    lines: Annotated[int, typer.Option(min=1, help="Last lines of each failed log to show.")] = 5,
) -> None:
    """Say what is done, running and failed, why, and about how long the rest takes.

    Example: countae status mine
    """
    from countae.status import describe

    typer.echo(describe(folder, lines=lines))

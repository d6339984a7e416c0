"""The verbs around members: what exists, and a loss to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from countae.options import log
from countae.paths import Output


def list_members(
    kind: Annotated[
        Literal[
            "likelihoods", "metrics", "baselines", "peers", "simulators", "protocols", "stress"
        ],
        typer.Argument(help="What to list."),
    ],
) -> None:
    """Show what exists: losses, metrics, baselines, peers, simulators, protocols, stress tests.

    Example: countae list likelihoods
    """
    import importlib

    package = importlib.import_module(f"countae.{'simulate' if kind == 'simulators' else kind}")
    table = Table("name", "what it is")
    for name in package.names():
        member = package.get(name)
        meaning = getattr(member, "title", None) or getattr(member, "meaning", None)
        table.add_row(name, meaning or (member.__doc__ or "").strip().splitlines()[0])
    Console(soft_wrap=True).print(table)


def new_likelihood(
    name: Annotated[str, typer.Argument(help="Name of the loss: lower case, digits, _.")],
    folder: Annotated[
        Path, typer.Argument(help="A folder `likelihoods`, in your folder of plugins."), Output()
    ] = Path("plugins/likelihoods"),
) -> None:
    """Write a loss to start from: a complete one, the geometric distribution, in one file.

    Example: countae new-likelihood my_loss plugins/likelihoods
    """
    from countae.new_likelihood import write

    path = write(name, folder)
    log.print(f"{path} written; change its formulas, then name it in `likelihoods`")

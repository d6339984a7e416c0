"""Write the pages of the reference that follow from the program: `python docs/reference.py`.

Command line, losses, metrics and the other members come from the parser and the registries, the
configuration from the schemas; nothing is typed by hand, so nothing can differ from the program.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer.cli
from config_table import table
from typer.main import get_command

from countae import baselines, likelihoods, metrics, protocols, simulate
from countae.cli import app


def command_line() -> str:
    """Every verb with its arguments, options and defaults."""
    command = get_command(app)
    with typer.Context(command, info_name="countae") as context:
        return typer.cli.get_docs_for_click(obj=command, ctx=context, name="countae")


def losses() -> str:
    """Every loss with its name in a configuration and what it claims."""
    rows = []
    for name in likelihoods.names():
        loss = likelihoods.get(name)
        means = f"`countae.likelihoods.{loss.__name__}`: {first_line(loss)}"
        parameters = ", ".join(f"`{one}`" for one in loss.parameters)
        rows.append([f"`{name}`", loss.title, loss.complexity, parameters, means])
    return (
        "# Losses\n\nComplexity decides which of several equally good losses is recommended, the "
        "least one. What each is trained on and scored as: [the method](../method.md).\n\n"
        + rows_of(["name", "title", "complexity", "parameters", "what it is"], rows)
    )


def measures() -> str:
    """Every metric with its direction, unit and bounds."""
    rows = []
    for name in metrics.names():
        metric = metrics.get(name)
        rows.append([f"`{name}`", metric.better, metric.unit, metric.level, first_line(metric)])
    return (
        "# Metrics\n\nLevel says what a value is given for; *better* says in which direction a "
        "metric is good.\n\n" + rows_of(["name", "better", "unit", "per", "what it is"], rows)
    )


def members() -> str:
    """Simulators, baselines and hold-out protocols."""
    parts = {"Simulators": simulate, "Baselines": baselines, "Hold-out protocols": protocols}
    text = "# Simulators, baselines, protocols\n"
    for title, package in parts.items():
        rows = [[f"`{name}`", first_line(package.get(name))] for name in package.names()]
        text += f"\n## {title}\n\n{rows_of(['name', 'what it is'], rows)}"
    return text


def configuration() -> str:
    """The table of keys."""
    return table()


def first_line(member: Any) -> str:
    """First line of a docstring."""
    told = getattr(member, "meaning", None) or member.__doc__ or ""
    return told.strip().splitlines()[0] if told.strip() else ""


def rows_of(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "command-line": command_line,
    "configuration": configuration,
    "losses": losses,
    "metrics": measures,
    "members": members,
}


def write(folder: Path) -> None:
    """Write every page that is not there in the same words already."""
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / f"{name}.md", html.unescape(page())
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    write(Path(__file__).parent / "reference")

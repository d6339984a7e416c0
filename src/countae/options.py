"""Command-line options made from the configuration's schema: defaults stand in one place."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from countae import config
from countae.errors import ConfigError
from countae.paths import Input
from countae.registry import shown

log = Console(stderr=True, highlight=False, soft_wrap=True)


def choice(values: list[str]) -> Any:
    """Type of an option that takes one of some words."""
    return Literal[tuple(values)]  # type: ignore[valid-type]


Counts = Annotated[Path, typer.Argument(help="counts.h5ad from `countae prepare`."), Input()]
Folder = Annotated[Path, typer.Argument(help="Folder of one data set's results."), Input()]
Folders = Annotated[list[Path], typer.Argument(help="Folders of data sets' results."), Input()]

LARGEST_SEED: int = config.schema()["properties"]["seeds"]["items"]["maximum"]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of weights, order and masks."),
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Processor threads of torch.")]
Devices = Annotated[
    int,
    typer.Option(
        "--devices",
        min=1,
        help="Devices on each machine that share the cells of every step, one process each.",
    ),
]
Nodes = Annotated[
    int,
    typer.Option(
        "--nodes", min=1, help="Machines that do; above 1 the command runs under srun or torchrun."
    ),
]
if TYPE_CHECKING:
    Device = str
else:
    _DEVICE = config.schema()["properties"]["device"]
    Device = Annotated[
        choice(_DEVICE["enum"]), typer.Option("--device", help=_DEVICE["description"])
    ]


def completing(kind: str) -> Callable[[str], list[str]]:
    """What the shell proposes for the name of a member, or the last of several with commas.

    ``kind`` is the package of the members, such as ``likelihoods``.
    """

    def propose(incomplete: str) -> list[str]:
        begun, comma, last = incomplete.rpartition(",")
        known = importlib.import_module(f"countae.{kind}").names()
        return [f"{begun}{comma}{name}" for name in known if name.startswith(last)]

    return propose


def loaded(counts: Path, threads: int) -> Any:
    """Prepared counts, with torch's threads set; torch loads after the file was found good."""
    from countae.counts import CountMatrix

    matrix = CountMatrix.load(counts)
    import torch

    torch.set_num_threads(threads)
    return matrix


def escaped(text: str) -> str:
    """Text whose brackets rich leaves alone."""
    from rich.markup import escape

    return escape(text)


def names(text: str) -> list[str]:
    """Items of a list written with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str, option: str) -> list[int]:
    """Whole numbers of an option's list with commas; ConfigError when one is not."""
    try:
        return [int(part) for part in names(text)]
    except ValueError as error:
        raise ConfigError(
            f"{option} must be whole numbers with commas, but is {shown(text)}. Fix: write them "
            "like 0,1,2."
        ) from error


def settings(*sections: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator that gives a verb an option per key of some sections of the configuration.

    Types, defaults and help come from the schema, so that they stand in one place. The verb gets
    a dict per section, checked like the configuration itself.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        rules = {key: rule for name in sections for key, rule in config.section(name).items()}

        def call(**given: Any) -> None:
            chosen = {key: _listed(given.pop(key), key, rule) for key, rule in rules.items()}
            parts = {name: {key: chosen[key] for key in config.section(name)} for name in sections}
            for name, values in parts.items():
                config.check_section(name, values)
            verb(**given, **parts)

        own = inspect.signature(verb, eval_str=True).parameters.values()
        options = [
            _option(key, rule, panel=name)
            for name in sections
            for key, rule in config.section(name).items()
        ]
        everything = [*(p for p in own if p.name not in sections), *options]
        call.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in everything}
        call.__name__, call.__doc__ = verb.__name__, verb.__doc__
        return call

    return decorate


def _option(key: str, rule: dict[str, Any], *, panel: str) -> inspect.Parameter:
    """Command-line option of a key of the schema, in the part of the help of its section."""
    kinds: dict[str, type] = {"integer": int, "number": float, "string": str, "array": str}
    default = rule["default"]
    if rule["type"] == "array":
        default = ",".join(map(str, default))
    option = typer.Option(
        f"--{key.replace('_', '-')}",
        help=rule["description"],
        rich_help_panel=f"Settings: {panel}",
    )
    kind = choice(rule["enum"]) if "enum" in rule else kinds[rule["type"]]
    annotation = Annotated[kind, option]  # type: ignore[valid-type]
    return inspect.Parameter(
        key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _listed(value: Any, key: str, rule: dict[str, Any]) -> Any:
    """A list from its form on the command line; other values as they are."""
    if rule["type"] != "array":
        return value
    if rule["items"]["type"] == "integer":
        return numbers(value, f"--{key.replace('_', '-')}")
    return names(value)

"""What a verb reads and what it writes: said at its parameters, compared before it runs."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from countae.errors import ConfigError

Verb = Callable[..., None]


@dataclass(frozen=True)
class Input:
    """Marks a parameter that names what is read; ``parts`` finds the paths in one value of it."""

    parts: Callable[[str], Iterable[str]] = lambda value: [value]


class Output:
    """Marks a parameter that names what is written.

    ``names`` are those that the file has in a folder of results, and their endings are the only
    ones that it may have; a name with ``*`` says an ending alone. Without names any path will do.
    """

    def __init__(self, *names: str) -> None:
        self.names = {name for name in names if "*" not in name}
        self.endings = [*dict.fromkeys(Path(name).suffix for name in names)]


def declared(verb: Verb) -> dict[str, tuple[str, Input | Output]]:
    """By name of the parameter: what a user calls it, like ``--record``, and its mark.

    Raises
    ------
    TypeError
        When a parameter is a path, or several, without such a mark.
    """
    found = {}
    for name, parameter in inspect.signature(verb, eval_str=True).parameters.items():
        notes = getattr(parameter.annotation, "__metadata__", ())
        marks = [note for note in notes if isinstance(note, Input | Output)]
        if marks:
            found[name] = _label(name, notes), marks[0]
        elif "Path" in str(parameter.annotation):
            raise TypeError(f"{verb.__name__}: {name} needs the mark Input or Output")
    return found


def _label(name: str, notes: Iterable[Any]) -> str:
    """A parameter as the help shows it."""
    info = next(note for note in notes if isinstance(note, typer.models.ParameterInfo))
    if isinstance(info, typer.models.ArgumentInfo):
        return name.upper()
    return info.default if isinstance(info.default, str) else f"--{name.replace('_', '-')}"


def names_of_results(verbs: Iterable[Verb]) -> set[str]:
    """Names that files have in folders of results, where later steps read them."""
    marks = [mark for verb in verbs for _, mark in declared(verb).values()]
    return set().union(*(mark.names for mark in marks if isinstance(mark, Output)))


def kept_apart(verb: Verb, results: set[str]) -> Verb:
    """The same verb, which refuses to write over what it reads, or two things into one file.

    ``results`` are names of files that steps leave in a folder: in a folder that is read, such a
    file is not replaced by anything but its like.

    Raises
    ------
    ConfigError
        From the verb that is returned: before anything is done, also for a wrong ending.
    """
    marked = declared(verb)

    @functools.wraps(verb)
    def call(**given: Any) -> None:
        read, written = [], []
        for name, (label, mark) in marked.items():
            if isinstance(mark, Input):
                read += [(label, path) for path in _paths(given[name], mark.parts)]
            else:
                written += [(label, path, mark) for path in _paths(given[name], Input().parts)]
        for number, (label, path, mark) in enumerate(written):
            _check_ending(label, path, mark)
            for other, source in read:
                _check_source(label, path, other, source)
                _check_folder(label, path, source, results - mark.names)
            for other, earlier, _ in written[:number]:
                _check_outputs(label, path, other, earlier)
        verb(**given)

    return call


def _paths(value: Any, parts: Callable[[str], Iterable[str]]) -> list[Path]:
    """Paths in the value of a parameter; none where it was not given."""
    values = value if isinstance(value, list) else [value]
    return [Path(part) for one in values if one not in (None, "") for part in parts(str(one))]


def _check_ending(label: str, path: Path, mark: Output) -> None:
    if mark.endings and path.suffix not in mark.endings:
        raise ConfigError(
            f"{path}: {label} must be a {' or '.join(mark.endings)} file, but its name has "
            f"{f'the ending {path.suffix!r}' if path.suffix else 'no ending'}. Fix: name it "
            f"{path.stem}{mark.endings[0]}."
        )


def _check_source(label: str, path: Path, other: str, source: Path) -> None:
    if _are_same(path, source):
        raise ConfigError(
            f"{path}: {label} must be another place than {other}, which is read, but is "
            f"{'the same' if path == source else f'the same as {source}'}, and writing would "
            "replace it. Nothing was done. Fix: name another output."
        )


def _check_folder(label: str, path: Path, folder: Path, taken: set[str]) -> None:
    """Raise ConfigError when an output would replace what another step left in a folder."""
    if not (path.is_file() and folder.is_dir()):
        return
    place = Path(os.path.realpath(path))
    if place.name in taken and place.is_relative_to(os.path.realpath(folder)):
        raise ConfigError(
            f"{path}: {label} must not replace the results of another step in {folder}, which is "
            f"read, but a {place.name} is there. Nothing was done. Fix: name another output."
        )


def _check_outputs(label: str, path: Path, other: str, earlier: Path) -> None:
    if _are_same(path, earlier):
        raise ConfigError(
            f"{path}: {other} and {label} must be two places, but are the same, and one would "
            "replace the other. Nothing was done. Fix: name two."
        )


def _are_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file or folder, through links too, also before it is there."""
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them is not there yet
        return os.path.realpath(one) == os.path.realpath(other)

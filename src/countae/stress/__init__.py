"""Stress tests: prepared counts made harder by a known amount, one kind of hardship per file."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from countae.counts import CountMatrix
from countae.errors import ConfigError, UnsuitableError
from countae.registry import Registry, shown

registry = Registry(__name__, "stress test")
get, names, check = registry.get, registry.names, registry.check

# what a test makes: matrices, and in the place of one that cannot be made the reason
Cases = Sequence[CountMatrix | UnsuitableError]
Change = Callable[[CountMatrix, float, np.random.Generator, dict[str, Any]], Cases]


@dataclass(frozen=True)
class Stress:
    """A kind of hardship, with what a table or a figure must know of it.

    ``level`` says in words what the number is, ``levels`` are those that are tried unless others
    are asked for, ``clean`` is the level at which nothing happens, ``bounds`` are the smallest and
    the largest. A test that ``retrains`` changes what networks are trained on; the others change
    only the test cells, so that networks trained on clean counts are scored. ``key`` is the column
    of the table of data sets without which the test cannot be made.
    """

    name: str
    function: Change
    level: str
    levels: tuple[float, ...]
    clean: float
    bounds: tuple[float, float]
    retrains: bool
    key: str

    @property
    def meaning(self) -> str:
        """First line of the docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    def lacks(self, matrix: CountMatrix) -> str:
        """Why a data set cannot have the test: no column of groups was named. Empty if it can."""
        if not self.key or matrix.info.get(self.key):
            return ""
        return (
            f"the stress test {self.name!r} needs groups of cells, but no `{self.key}` was named. "
            f"Fix: name a column of obs in `{self.key}` of the table of data sets and prepare "
            "again, or leave this test out."
        )

    def check(self, matrix: CountMatrix) -> None:
        """Raise ConfigError where the column that the test needs was not named."""
        if reason := self.lacks(matrix):
            raise ConfigError(f"{matrix.source}: {reason}")

    def __call__(self, matrix: CountMatrix, level: float, *, settings: dict[str, Any]) -> Cases:
        """The counts at a level, most often one matrix; several that score different test cells.

        Levels share their random numbers, so that what an easy level hits a hard one hits too.
        A group that cannot be left out has the reason in the place of its matrix.

        Parameters
        ----------
        matrix : CountMatrix
            From ``countae prepare``; not changed.
        level : float
        settings : dict
            The configuration's section ``stress``.

        Raises
        ------
        ConfigError
            For a level outside the bounds, another hold-out protocol, or a column that is needed
            but was not named.
        UnsuitableError
            When these counts cannot have the test.
        """
        self.check_level(level)
        if matrix.protocol != "masked":
            raise ConfigError(
                f"{matrix.source}: stress tests need the counts.h5ad of `countae prepare`, but "
                f"this one hides molecules ({matrix.protocol}). Fix: name the one in the folder "
                "above."
            )
        self.check(matrix)
        stream = [int(matrix.info["split_seed"]), zlib.crc32(self.name.encode())]
        return self.function(matrix, level, np.random.default_rng(stream), settings)

    def check_level(self, level: float) -> None:
        """Raise ConfigError for a level outside the bounds."""
        low, high = self.bounds
        if not low <= level <= high:
            raise ConfigError(
                f"The level of the stress test {self.name!r} ({self.level}) must lie between "
                f"{low:g} and {high:g}, but is {level:g}. Fix: choose another, such as "
                f"{self.name}={self.levels[0]:g}."
            )


def stress(
    *,
    level: str,
    levels: tuple[float, ...],
    clean: float = 0.0,
    bounds: tuple[float, float] = (0.0, 1.0),
    retrains: bool = True,
    key: str = "",
) -> Callable[[Change], Stress]:
    """Decorator that enters a function as the stress test of its file's name; see Stress."""

    def enter(function: Change) -> Stress:
        name = function.__name__
        member = Stress(name, function, level, levels, clean, bounds, retrains, key)
        registry._members[name] = member
        return member

    return enter


def wanted(tests: list[str]) -> dict[str, list[float]]:
    """Levels by test from words such as ``depth`` (its usual levels) or ``depth=0.5`` (this one).

    A word such as ``depth=`` is none of these.

    Raises
    ------
    ConfigError
        For a test that does not exist, or a level that is no number or outside the bounds.
    """
    found: dict[str, list[float]] = {}
    for word in tests:
        name, equals, text = word.partition("=")
        member = get(name)
        for level in [_number(text, word)] if equals else member.levels:
            member.check_level(level)
            if level not in found.setdefault(name, []):
                found[name].append(level)
    return found


def unfit(matrix: CountMatrix, tests: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Entries, as in stress.json, of the tests that need a column which was not named."""
    found = {name: get(name).lacks(matrix) for name in tests}
    return [
        {"test": name, "level": None, "group": "", "likelihood": None, "seed": None,
         "reason": reason}
        for name, reason in found.items() if reason
    ]  # fmt: skip


def _number(text: str, word: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(
            f"`stress.tests` must hold names, or names with a level such as depth=0.5, but "
            f"{shown(word)} has {shown(text)} where the level should be. Fix: write a number."
        ) from error

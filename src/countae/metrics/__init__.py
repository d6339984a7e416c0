"""Measures of a predictive distribution against held-out counts, one pure function per file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from countae.registry import Registry

registry = Registry(__name__, "metric")
get, names, check = registry.get, registry.names, registry.check

Better = Literal["lower", "higher", "zero", "one", "nominal"]
Level = Literal["entry", "gene", "gene histogram", "dataset"]


@dataclass(frozen=True)
class Metric:
    """A metric with what a table or a figure must know of it.

    ``level`` is what the function returns: a value per ``entry`` (averaged over genes for each
    cell and over cells for each gene), per ``gene``, several per gene (``gene histogram``), or one
    per ``dataset``. ``needs`` are the names of its keyword arguments; :mod:`countae.score`
    supplies them and skips a metric whose needs a data set cannot meet (the truth, on real data).
    A ``secondary`` metric says something of later use, such as clustering, and never decides a
    verdict. A metric names in ``noise`` the one column in which it is computed, if it is one: of
    means the noise says nothing, and of histograms only the own ones are drawn.
    """

    name: str
    function: Callable[..., Any]
    better: Better
    unit: str
    bounds: tuple[float, float]
    level: Level
    summary: Literal["mean", "median", "pooled"]
    secondary: bool = False
    noise: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the keyword arguments."""
        return tuple(inspect.signature(self.function).parameters)

    @property
    def pooled(self) -> bool:
        """Whether the value of a data set is that of all entries together."""
        return self.summary == "pooled"

    def __call__(self, **inputs: Any) -> Any:
        """Value of the metric; see the function's own docstring."""
        return self.function(**inputs)

    @property
    def meaning(self) -> str:
        """First line of the docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]


def metric(
    *,
    better: Better,
    unit: str,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    level: Level = "gene",
    summary: Literal["mean", "median", "pooled"] = "mean",
    secondary: bool = False,
    noise: str = "",
) -> Callable[[Callable[..., Any]], Metric]:
    """Decorator that enters a function as the metric of its file's name.

    Parameters
    ----------
    better : str
        Direction: ``lower``, ``higher``, nearest to ``zero`` or ``one``, or ``nominal``.
    unit : str
        Unit of the value.
    bounds : (float, float)
        Values outside are an error of the metric.
    level : str
        What the function returns (see :class:`Metric`).
    summary : str
        How a value per data set is made: from those of the genes, or ``pooled``, from all entries
        together.
    secondary : bool
        Whether the metric must never decide a verdict.
    noise : str
        The only noise column in which it is computed; empty for all.
    """

    def enter(function: Callable[..., Any]) -> Metric:
        name = function.__name__
        member = Metric(name, function, better, unit, bounds, level, summary, secondary, noise)
        registry._members[name] = member
        return member

    return enter

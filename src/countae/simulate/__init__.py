"""Counts with known truth, one family per file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from countae.registry import Registry
from countae.simulate._design import Design, random_design
from countae.simulate._drawn import Drawn, as_anndata
from countae.simulate._marginals import marginals

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = [
    "Design", "Drawn", "Simulator", "check", "from_design", "get", "has_oracle", "marginals",
    "names", "random_design", "simulator",
]  # fmt: skip

registry = Registry(__name__, "simulator")
get, names, check = registry.get, registry.names, registry.check


@dataclass(frozen=True)
class Simulator:
    """A family of counts: a pure function of a design and a generator.

    ``likelihood`` names the registered likelihood that the counts follow given their truth; empty
    where there is none, so that nobody can say the probability of a count exactly. ``by_cell``
    says that no cell's counts depend on which other cells there are, given θ and π per gene;
    ``thins`` that counts of which each molecule is kept with probability p are of the same family,
    with p times the mean and all else as it was.
    """

    name: str
    function: Callable[[Design, np.random.Generator], Drawn]
    likelihood: str
    by_cell: bool = False
    thins: bool = False

    def __call__(self, plan: Design, rng: np.random.Generator) -> Drawn:
        """Counts and their truth; see the function's own docstring."""
        return self.function(plan, rng)

    @property
    def meaning(self) -> str:
        """First line of the docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]


def simulator(
    *, likelihood: str = "", by_cell: bool = False, thins: bool = False
) -> Callable[[Callable[[Design, np.random.Generator], Drawn]], Simulator]:
    """Decorator that enters a function as the simulator of its file's name.

    Parameters
    ----------
    likelihood : str
        The registered likelihood of the counts given their truth; empty for none.
    by_cell : bool
        Whether cells can be drawn some at a time, so that any number of them can be simulated.
    thins : bool
        Whether binomial thinning scales the mean and changes nothing else.
    """

    def enter(function: Callable[[Design, np.random.Generator], Drawn]) -> Simulator:
        member = Simulator(function.__name__, function, likelihood, by_cell, thins)
        registry._members[function.__name__] = member
        return member

    return enter


def has_oracle(family: str) -> bool:
    """Whether the truth of a family can be scored: a registered likelihood made its counts."""
    return bool(get(family).likelihood)


def from_design(
    family: str, plan: Design, *, seed: int, rng: np.random.Generator | None = None
) -> AnnData:
    """Counts of a family around the means of a design, with their truth.

    Parameters
    ----------
    family : str
        See ``countae list simulators``.
    plan : Design
        Invented by :func:`random_design`, or fitted to a user's matrix.
    seed : int
        Written into the truth; starts the generator unless one is given.
    rng : numpy.random.Generator, optional
        A generator that is under way, because it made the design.

    Returns
    -------
    AnnData
        See :func:`countae.simulate._drawn.as_anndata`.

    Raises
    ------
    ConfigError
        When there is no such family.
    """
    member = get(family)
    drawn = member(plan, np.random.default_rng(seed) if rng is None else rng)
    truth = {"family": family, "likelihood": member.likelihood, "seed": seed}
    return as_anndata(drawn, plan, truth=truth)

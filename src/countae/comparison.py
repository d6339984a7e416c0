"""Paired comparison of losses over cells and seeds: differences and their errors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from scipy import stats

SMALLEST_MULTIPLE = 2.0  # standard errors in an interval, however many degrees of freedom
MOST_SPLITS = 200


@dataclass(frozen=True)
class Difference:
    """Score of b minus score of a, paired: above 0, a is better. One value, or one per gene.

    ``half_width`` is that of the two-sided interval at the level asked for, ``p_better`` the
    one-sided probability of so large a difference if the truth were ``delta`` or less.
    """

    value: np.ndarray
    standard_error: np.ndarray
    half_width: np.ndarray
    p_better: np.ndarray
    delta: np.ndarray

    @property
    def equivalent(self) -> np.ndarray:
        """Whether the whole interval lies within ±delta."""
        return np.abs(self.value) + self.half_width <= self.delta

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end, of a single difference."""
        return float(self.value - self.half_width), float(self.value + self.half_width)


def difference(
    *,
    cell_difference: np.ndarray,
    seed_difference: np.ndarray,
    delta: np.ndarray | float,
    level: float,
    donors: np.ndarray | None = None,
) -> Difference:
    r"""Mean difference with the error that comes from cells, or donors, and from seeds.

    .. math:: SE^2 = \operatorname{var}_i(D_i)/n + \operatorname{var}_s(D_s)/S

    with Satterthwaite's degrees of freedom, because three seeds know little of their own spread.
    Cells of one donor are not independent: with G donors the first term becomes
    :math:`\frac{G}{G-1} \sum_g (\sum_{i \in g} (D_i - \bar D))^2 / n^2` with G − 1 degrees.

    Parameters
    ----------
    cell_difference : ndarray, (cell,) or (cell, gene)
        Score of b minus a for each cell, averaged over seeds.
    seed_difference : ndarray, (seed,) or (seed, gene)
        The same for each seed, averaged over cells; with one seed its variance is taken as 0.
    delta : float or ndarray, (gene,)
        Half-width of the region of practical equivalence.
    level : float
        Two-sided error level of the interval.
    donors : ndarray, (cell,), optional
        Donor of each cell; with fewer than two donors errors are by cell.

    Returns
    -------
    Difference. References: Satterthwaite 1946, doi:10.2307/3002019; errors by cluster: Liang and
    Zeger 1986, doi:10.1093/biomet/73.1.13
    """
    value = cell_difference.mean(axis=0)
    of_cells, n = _error_of_cells(cell_difference, value, donors)
    seeds = len(seed_difference)
    of_seeds = seed_difference.var(axis=0, ddof=1) / seeds if seeds > 1 else 0.0 * of_cells
    square = of_cells + of_seeds
    spread = of_cells**2 / (n - 1) + (of_seeds**2 / (seeds - 1) if seeds > 1 else 0.0)
    freedom = np.divide(square**2, spread, out=np.full_like(square, n - 1.0), where=spread > 0)
    error = np.sqrt(square)
    multiple = np.maximum(stats.t.ppf(1 - level / 2, freedom), SMALLEST_MULTIPLE)
    beyond = np.asarray(value - delta, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > 0, beyond / error, np.sign(beyond) * np.inf)
    p_better = np.where(beyond == 0, 0.5, stats.t.sf(statistic, freedom))
    return Difference(value, error, multiple * error, p_better, np.asarray(delta))


def _error_of_cells(
    gap: np.ndarray, value: np.ndarray, donors: np.ndarray | None
) -> tuple[np.ndarray, int]:
    """Square of the mean's error, and the number of independent units: donors or cells."""
    n = len(gap)
    if donors is None or len(np.unique(donors)) < 2:
        return gap.var(axis=0, ddof=1) / n, n
    names, donor = np.unique(donors, return_inverse=True)
    groups = len(names)
    total = np.zeros((groups, *gap.shape[1:]))
    np.add.at(total, donor, gap - value)
    return groups / (groups - 1) * (total**2).sum(axis=0) / n**2, groups


def paired(
    a: np.ndarray,
    b: np.ndarray,
    *,
    delta: float,
    level: float,
    donors: np.ndarray | None = None,
) -> Difference:
    """Difference of two losses from their scores, (seed, cell) each, lower is better."""
    gap = b - a
    return difference(
        cell_difference=gap.mean(axis=0),
        seed_difference=gap.mean(axis=1),
        delta=delta,
        level=level,
        donors=donors,
    )


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjusted p-values. Reference: Holm 1979, Scand. J. Statist. 6, 65–70."""
    order = np.argsort(p)
    scaled = (len(p) - np.arange(len(p))) * p[order]
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values for the false discovery rate; doi:10.1111/j.2517-6161.1995.tb02031.x."""
    order = np.argsort(p)[::-1]
    scaled = len(p) / np.arange(len(p), 0, -1) * p[order]
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return adjusted


def aa_error(
    scores: np.ndarray, *, delta: float, level: float, donors: np.ndarray | None = None
) -> float:
    """Share of comparisons of a loss with itself in which the rule calls one half better.

    Parameters
    ----------
    scores : ndarray, (seed, cell)
        One loss; all pairs of disjoint halves of its seeds are tried, or 200 of them.
    delta, level, donors
        As in the real comparison.

    Returns
    -------
    float in [0, 1]
    """
    splits = _splits(len(scores))
    wrong = 0
    for half, other in splits:
        a, b = scores[half], scores[other]
        rule: dict[str, Any] = {"delta": delta, "level": level, "donors": donors}
        both = paired(a, b, **rule), paired(b, a, **rule)
        wrong += any(gap.p_better <= level / 2 for gap in both)
    return wrong / len(splits)


def _splits(n: int) -> list[tuple[list[int], list[int]]]:
    """Pairs of disjoint halves of ``n`` seeds: all, or 200 drawn with a fixed seed."""
    half = n // 2
    if comb(n, half) * comb(n - half, half) // 2 > MOST_SPLITS:
        rng = np.random.default_rng(0)
        orders = (rng.permutation(n).tolist() for _ in range(MOST_SPLITS))
        return [(order[:half], order[half : 2 * half]) for order in orders]
    halves = list(combinations(range(n), half))
    pairs = combinations(halves, 2)
    return [(list(a), list(b)) for a, b in pairs if not set(a) & set(b)]

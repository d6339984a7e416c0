"""Leaving a group of cells out: trained without it, scored on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae import split
from countae.counts import CountMatrix
from countae.errors import CountMatrixError
from countae.stress import Stress, stress
from countae.stress._change import LEFT_OUT, with_parts


def group_shift(group: str, *, key: str) -> Stress:
    """Stress test that leaves each ``group`` out in turn; ``key`` names their column."""

    def shift(
        matrix: CountMatrix, level: float, rng: np.random.Generator, settings: dict[str, Any]
    ) -> list[CountMatrix]:
        names = matrix.obs[matrix.info[key]].to_numpy(str)
        return without_each(matrix, names, level, rng, settings)

    shift.__name__ = f"{group.replace(' ', '_')}_shift"
    shift.__doc__ = f"""\
One {group} left out of training and validation, its test cells scored; each in turn.

    The ``most_groups`` largest are left out one after another, and genes that no other {group}
    shows are not modelled.
    """
    level = f"share of the {group} that is not trained on"
    return stress(level=level, levels=(1.0,), key=key)(shift)


def without_each(
    matrix: CountMatrix,
    group: np.ndarray,
    share: float,
    rng: np.random.Generator,
    settings: dict[str, Any],
) -> list[CountMatrix]:
    """A matrix per group: a share of it is not trained on, and its test cells alone are scored.

    Parameters
    ----------
    matrix : CountMatrix
    group : ndarray, (cell,), str
    share : float in [0, 1]
        Of the group's training and validation cells; 1 leaves it out.
    rng : numpy.random.Generator
    settings : dict
        ``most_groups``: so many of the largest groups at most.

    Raises
    ------
    CountMatrixError
        When there is one group only, or none with five test cells.
    """
    part, order = matrix.part, rng.permutation(len(group))
    names, size = np.unique(group, return_counts=True)
    tested = np.array([((group == name) & (part == "test")).sum() for name in names])
    fit = tested >= split.MINIMUM_CELLS
    if len(names) < 2 or not fit.any():
        raise CountMatrixError(
            f"{matrix.source}: leaving a group out needs two groups or more and "
            f"{split.MINIMUM_CELLS} test cells of one, but there are {len(names):,} groups, the "
            f"largest with {tested.max():,} test cells. Fix: name another column, raise "
            "split.test_fraction, or leave the test out."
        )
    largest = names[np.lexsort((names, -size, ~fit))][: min(fit.sum(), settings["most_groups"])]
    found = []
    for name in largest:
        inside = group == name
        now = part.astype(object)
        now[~inside & (part == "test")] = LEFT_OUT
        now[some_of(order, inside & (part == "train"), share)] = LEFT_OUT
        now[some_of(order, inside & (part == "validation"), share)] = LEFT_OUT
        found.append(with_parts(matrix, now.astype(str)))
    return found


def some_of(order: np.ndarray, cells: np.ndarray, share: float) -> np.ndarray:
    """Index of a share of ``cells``, bool, rounded to whole cells: the first in ``order``."""
    chosen = order[cells[order]]
    return chosen[: round(share * len(chosen))]

"""Leaving a group of cells out: trained without it, scored on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae import split
from countae.counts import CountMatrix
from countae.errors import UnsuitableError
from countae.registry import shown
from countae.stress import Cases, Stress, stress
from countae.stress._change import LEFT_OUT, with_parts


def group_shift(group: str, *, key: str) -> Stress:
    """Stress test that leaves each ``group`` out in turn; ``key`` names their column."""

    def shift(
        matrix: CountMatrix, level: float, rng: np.random.Generator, settings: dict[str, Any]
    ) -> Cases:
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
) -> Cases:
    """A matrix per group: a share of it is not trained on, and its test cells alone are scored.

    ``info["left_out_group"]`` of a matrix is the group's name. A group that cannot be left out
    has the reason in its place.

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
    UnsuitableError
        When there is one group only, or none with five test cells.
    """
    part, order = matrix.part, rng.permutation(len(group))
    names, size = np.unique(group, return_counts=True)
    tested = np.array([((group == name) & (part == "test")).sum() for name in names])
    fit = tested >= split.MINIMUM_CELLS
    if len(names) < 2 or not fit.any():
        raise UnsuitableError(
            f"{matrix.source}: leaving a group out needs two groups or more and "
            f"{split.MINIMUM_CELLS} test cells of one, but there "
            f"{'is 1 group' if len(names) == 1 else f'are {len(names):,} groups'}, of which none "
            f"has more than {tested.max():,} test cells. Fix: name another column, raise "
            "split.test_fraction, or leave the test out."
        )
    largest = names[np.lexsort((names, -size, ~fit))][: settings["most_groups"]]
    return [_without(matrix, group == name, str(name), share, order) for name in largest]


def _without(
    matrix: CountMatrix, inside: np.ndarray, name: str, share: float, order: np.ndarray
) -> CountMatrix | UnsuitableError:
    """The matrix that tests one group, whose cells are ``inside``, bool; or why there is none."""
    part = matrix.part
    now = part.astype(object)
    now[~inside & (part == "test")] = LEFT_OUT
    now[some_of(order, inside & (part == "train"), share)] = LEFT_OUT
    now[some_of(order, inside & (part == "validation"), share)] = LEFT_OUT
    try:
        made = with_parts(matrix, now.astype(str))
    except UnsuitableError as error:
        return UnsuitableError(f"{error} (The group is {shown(name)}.)", name)
    made.info["left_out_group"] = name
    return made


def some_of(order: np.ndarray, cells: np.ndarray, share: float) -> np.ndarray:
    """Index of a share of ``cells``, bool, rounded to whole cells: the first in ``order``."""
    chosen = order[cells[order]]
    return chosen[: round(share * len(chosen))]

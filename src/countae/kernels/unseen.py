"""How much wider noise is around predictions of cells that nothing was learnt from."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from scipy import optimize

from countae.kernels.newton import Derivatives

WIDEST = 3.0  # on log scale: a spread, or a dispersion, is made 20 times larger at most
PRECISION = 1e-4  # a thousandth of what matters
BLOCKS = 10  # of the unseen cells, between which chance is seen


def blocks(cells: int) -> list[slice]:
    """Unseen cells in parts of about the same size, one cell each where there are few."""
    number = min(BLOCKS, cells)
    return [slice(start, None, number) for start in range(number)]


def widening(of_blocks: Sequence[Derivatives], best: np.ndarray, *, sign: float = 1.0) -> float:
    """Change of the first parameter, the same for all genes, that suits the unseen cells.

    A network predicts the cells that it was trained on better than others, so that noise which
    was fitted around its predictions of these is too narrow. One that learnt nothing from cells
    predicts all alike; a change towards narrower noise could only be chance, and is none.

    The most likely change b is multiplied by 1 − v/b², or by 0 if that is negative, the positive
    part of the estimator of James and Stein (1961) for one number: v is its variance by the
    sandwich formula over blocks of cells, as the entries of a cell err together.

    Parameters
    ----------
    of_blocks : sequence of callable
        Log-likelihood of each of the ``blocks`` of unseen cells; see
        :data:`countae.kernels.newton.Derivatives`.
    best : ndarray, (head, gene)
        Parameters as they were fitted; the first is a logarithm.
    sign : float
        Of the change with which noise gets wider: 1 for a spread, −1 for an inverse dispersion.

    Returns
    -------
    float
        0, or between 0 and ``sign`` times ``WIDEST``.
    """
    genes, first = np.arange(best.shape[1]), np.eye(len(best))[:, :1]

    @functools.cache  # the search asks for both ends again, and its last place is the answer
    def slopes_and_bends(by: float) -> np.ndarray:
        found = (of_block(best + sign * by * first, genes) for of_block in of_blocks)
        return np.array([(sign * slope[0].sum(), bend[0, 0].sum()) for _, slope, bend in found]).T

    def slope(by: float) -> float:
        return float(slopes_and_bends(by)[0].sum())

    number = len(of_blocks)
    if number < 2 or slope(0.0) <= 0:
        return 0.0
    if slope(WIDEST) >= 0:
        return sign * WIDEST
    by = float(optimize.brentq(slope, 0.0, WIDEST, xtol=PRECISION))
    slopes, bends = slopes_and_bends(by)
    curvature = -bends.sum()
    if curvature <= 0:
        return 0.0
    variance = number * slopes.var(ddof=1) / curvature**2
    return sign * max(0.0, by - variance / by)

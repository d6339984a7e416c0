"""How much wider noise is around predictions of cells that nothing was learnt from."""

from __future__ import annotations

import numpy as np
from scipy import optimize

from countae.kernels.newton import Derivatives

WIDEST = 3.0  # on log scale: a spread, or a dispersion, is made 20 times larger at most
PRECISION = 1e-4  # a thousandth of what matters


def widening(log_likelihood: Derivatives, best: np.ndarray, *, sign: float = 1.0) -> float:
    """Change of the first parameter, the same for all genes, that suits the unseen cells best.

    A network predicts the cells that it was trained on better than others, so that noise which
    was fitted around its predictions of these is too narrow. One that learnt nothing from cells
    predicts all alike; a change towards narrower noise could only be chance, and is none.

    Parameters
    ----------
    log_likelihood : callable
        Of the unseen cells alone; see :data:`countae.kernels.newton.Derivatives`.
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

    def slope(by: float) -> float:
        return sign * float(log_likelihood(best + sign * by * first, genes)[1][0].sum())

    if slope(0.0) <= 0:
        return 0.0
    if slope(WIDEST) >= 0:
        return sign * WIDEST
    return sign * float(optimize.brentq(slope, 0.0, WIDEST, xtol=PRECISION))

"""Gap between the observed and the expected share of zeros."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric


@metric(better="zero", unit="fraction", bounds=(-1.0, 1.0))
def zero_fraction_error(*, observed: np.ndarray, prob_zero: np.ndarray) -> np.ndarray:
    """Expected minus observed share of zeros of each gene; below 0: too few zeros promised.

    A match does not tell NB from ZINB: a smaller inverse dispersion makes the same zeros.

    Parameters
    ----------
    observed : ndarray, (cell, gene), raw counts
    prob_zero : ndarray, (cell, gene), in [0, 1]
        At each cell's own size factor.

    Returns
    -------
    ndarray, (gene,), in [−1, 1]
    """
    return prob_zero.mean(axis=0) - (observed == 0).mean(axis=0)

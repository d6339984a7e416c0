"""Share of the Poisson deviance that the means explain."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

from countae.metrics import metric


@metric(better="higher", unit="fraction", bounds=(-np.inf, 1.0), summary="median")
def poisson_deviance_explained(
    *, observed: np.ndarray, mean: np.ndarray, null_mean: np.ndarray
) -> np.ndarray:
    """One minus the deviance of the means over that of gene mean × library size, per gene.

    Parameters
    ----------
    observed : ndarray, (cell, gene), raw counts
    mean : ndarray, (cell, gene)
        Expected counts; a zero where a count was seen gives minus infinity.
    null_mean : ndarray, (cell, gene)
        The gene's training mean at each cell's size factor.

    Returns
    -------
    ndarray, (gene,), ≤ 1; NaN for a gene without held-out counts
    """
    explained = _deviance(observed, mean)
    null = _deviance(observed, null_mean)
    expressed = observed.any(axis=0)
    return np.where(expressed, 1.0 - explained / np.where(null > 0, null, np.nan), np.nan)


def _deviance(observed: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Poisson deviance per gene; McCullagh & Nelder 1989, section 2.3."""
    with np.errstate(divide="ignore"):
        logs = xlogy(observed, observed) - xlogy(observed, mean)
    return 2 * (logs - (observed - mean)).sum(axis=0)

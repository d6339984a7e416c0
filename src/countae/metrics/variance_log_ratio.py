"""Implied against observed variance of each gene."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric


@metric(better="zero", unit="log ratio", summary="median")
def variance_log_ratio(
    *, observed: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    """Log of implied over observed variance of each gene; above 0: too much spread promised.

    Parameters
    ----------
    observed : ndarray, (cell, gene), raw counts
    mean, variance : ndarray, (cell, gene)
        Of the predictive distribution.

    Returns
    -------
    ndarray, (gene,); NaN where the held-out counts of a gene are all equal
    """
    implied = variance.mean(axis=0) + mean.var(axis=0)
    found = observed.var(axis=0)
    return np.log(implied / np.where(found > 0, found, np.nan))

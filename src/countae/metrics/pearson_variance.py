"""Variance of standardised residuals: 1 when the spread is right."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric


@metric(better="one", unit="ratio", bounds=(0.0, np.inf), summary="median")
def pearson_variance(
    *, observed: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    """Variance of (x − m)/s per gene; above 1: the counts vary more than the model says.

    Parameters
    ----------
    observed : ndarray, (cell, gene), raw counts
    mean, variance : ndarray, (cell, gene)
        Of the predictive distribution.

    Returns
    -------
    ndarray, (gene,), ≥ 0. Outliers rule the mean over genes, hence the median as summary.
    """
    return ((observed - mean) / np.sqrt(variance)).var(axis=0)

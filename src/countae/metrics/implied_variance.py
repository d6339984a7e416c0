"""Variance that the model implies for a gene: its curve in the mean–variance picture."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric


@metric(better="nominal", unit="counts²", bounds=(0.0, np.inf))
def implied_variance(*, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Total variance of each gene under the model: mean of variances plus variance of means.

    Parameters
    ----------
    mean, variance : ndarray, (cell, gene)
        Of the predictive distribution of raw counts.

    Returns
    -------
    ndarray, (gene,), counts²
    """
    return variance.mean(axis=0) + mean.var(axis=0)

"""Error of the log mean against the truth, on simulated data."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric


@metric(better="lower", unit="log counts", bounds=(0.0, np.inf), summary="median")
def mean_log_error(*, mean: np.ndarray, true_mean: np.ndarray) -> np.ndarray:
    """Root mean squared gap between log predicted and log true mean, per gene.

    A predicted mean below 1/1,000 of the gene's true average counts as that.

    Parameters
    ----------
    mean, true_mean : ndarray, (cell, gene), expected raw counts

    Returns
    -------
    ndarray, (gene,)
    """
    lowest = 1e-3 * true_mean.mean(axis=0)
    gap = np.log(np.maximum(mean, lowest)) - np.log(np.maximum(true_mean, lowest))
    return np.sqrt(np.square(gap).mean(axis=0))

"""Mean squared error on log1p counts per ten thousand: for comparison with Open Problems only."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric

TARGET = 1e4


@metric(better="lower", unit="log1p(counts per 10,000)²", bounds=(0.0, np.inf))
def mse_log1p(*, observed: np.ndarray, mean: np.ndarray, library_size: np.ndarray) -> np.ndarray:
    """Mean squared gap between log1p of observed and of predicted counts per 10,000, per gene.

    A compatibility column, near the benchmark's but not equal to it: the benchmark normalises
    each matrix by its own totals, this divides both by the observed library size. It is not a
    proper score of count data: at low depth it prefers predictions far from the truth, even all
    zeros.

    Parameters
    ----------
    observed, mean : ndarray, (cell, gene), raw counts and their prediction
    library_size : ndarray, (cell,)

    Returns
    -------
    ndarray, (gene,). Reference: Open Problems denoising task, doi:10.1038/s41587-025-02694-w
    """
    scale = TARGET / library_size[:, None]
    return np.square(np.log1p(observed * scale) - np.log1p(mean * scale)).mean(axis=0)

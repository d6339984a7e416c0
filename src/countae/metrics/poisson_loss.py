"""Poisson loss: for comparison with Open Problems only, with its arguments in the right order."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

from countae.metrics import metric


@metric(better="lower", unit="nats/entry")
def poisson_loss(*, observed: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Mean of m − x log(m + 1e-6) per gene, m the prediction and x the truth.

    A compatibility column: the published benchmark calls the same formula with prediction and
    truth swapped, so that predicting all zeros wins; its numbers do not compare with these. The
    1e-6 is the benchmark's own.

    Parameters
    ----------
    observed, mean : ndarray, (cell, gene), raw counts and their prediction

    Returns
    -------
    ndarray, (gene,). Reference: Open Problems denoising task, doi:10.1038/s41587-025-02694-w
    """
    return (mean - xlogy(observed, mean + 1e-6)).mean(axis=0)

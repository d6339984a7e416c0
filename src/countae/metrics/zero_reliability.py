"""Reliability of the predicted zeros: of entries with P(0) near p, are a share p zero?"""

from __future__ import annotations

import numpy as np

from countae.metrics import metric

BINS = 10


@metric(better="nominal", unit="fraction", level="dataset")
def zero_reliability(*, observed: np.ndarray, prob_zero: np.ndarray) -> dict[str, float]:
    """Mean predicted P(0), observed share of zeros, and number of entries in ten bins of P(0).

    Parameters
    ----------
    observed : ndarray, (cell, gene), raw counts
    prob_zero : ndarray, (cell, gene), in [0, 1]

    Returns
    -------
    dict of float, keys ``predicted.k``, ``observed.k``, ``entries.k`` for non-empty bins k
    """
    bins = np.minimum((prob_zero * BINS).astype(int), BINS - 1).reshape(-1)
    entries = np.bincount(bins, minlength=BINS)
    predicted = np.bincount(bins, prob_zero.reshape(-1), BINS)
    zeros = np.bincount(bins, (observed == 0).reshape(-1), BINS)
    curve: dict[str, float] = {}
    for k in np.flatnonzero(entries):
        curve |= {
            f"predicted.{k}": predicted[k] / entries[k],
            f"observed.{k}": zeros[k] / entries[k],
            f"entries.{k}": float(entries[k]),
        }
    return curve

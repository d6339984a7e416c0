"""Dawid–Sebastiani score: proper for the first two moments."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric


@metric(better="lower", unit="nats/entry")
def dawid_sebastiani_score(
    *, observed: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    """Mean over cells of ((x − m)/s)² + 2 log s, per gene.

    Parameters
    ----------
    observed : ndarray, (cell, gene), raw counts
    mean, variance : ndarray, (cell, gene)
        As the likelihood states them: of squared errors those of the uncut Gaussian.

    Returns
    -------
    ndarray, (gene,). Reference: Dawid & Sebastiani 1999, doi:10.1214/aos/1018031101
    """
    return (np.square(observed - mean) / variance + np.log(variance)).mean(axis=0)

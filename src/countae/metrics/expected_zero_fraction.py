"""Expected share of zeros: the model's curve in the picture of zeros against the mean."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric


@metric(better="nominal", unit="fraction", bounds=(0.0, 1.0))
def expected_zero_fraction(*, prob_zero: np.ndarray) -> np.ndarray:
    """Share of zeros that the distribution expects in each gene's held-out counts.

    Parameters
    ----------
    prob_zero : ndarray, (cell, gene), in [0, 1]

    Returns
    -------
    ndarray, (gene,), in [0, 1]
    """
    return prob_zero.mean(axis=0)

"""Brier score of the zeros: is P(0) right, entry by entry?"""

from __future__ import annotations

import numpy as np

from countae.metrics import metric


@metric(better="lower", unit="probability²", bounds=(0.0, 1.0), level="entry")
def brier_zero(*, observed: np.ndarray, prob_zero: np.ndarray) -> np.ndarray:
    """Squared gap between the predicted probability of a zero and what happened.

    Parameters
    ----------
    observed : ndarray, (cell, gene), raw counts
    prob_zero : ndarray, (cell, gene), in [0, 1]

    Returns
    -------
    ndarray, (cell, gene), in [0, 1].
    Reference: Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
    """
    return np.square(prob_zero - (observed == 0))

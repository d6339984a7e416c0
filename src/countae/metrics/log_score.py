"""Logarithmic score: the primary measure, proper and local."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric


@metric(better="lower", unit="nats/entry", bounds=(0.0, np.inf), level="entry")
def log_score(*, log_prob: np.ndarray) -> np.ndarray:
    """Negative log-probability that the distribution gave to the held-out count.

    Parameters
    ----------
    log_prob : ndarray, (cell, gene), ≤ 0
        Natural logarithm of the probability mass at the observed count.

    Returns
    -------
    ndarray, (cell, gene), nats. Reference: Good 1952, doi:10.1111/j.2517-6161.1952.tb00104.x
    """
    return -log_prob

"""Histogram of each gene's counts, observed and expected: what a picture of a gene shows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from countae.metrics import metric

STARTS = (0, 1, 2, 3, 4, 5, 7, 10, 15, 25, 50, 100, 250, 1000)  # first count of each bin
TAIL = 1e-5  # an entry with less probability left is finished; pictures show no less


@metric(
    better="nominal", unit="fraction", bounds=(0.0, 1.0), level="gene histogram", noise="native"
)
def count_histogram(
    *,
    observed: np.ndarray,
    prob_zero: np.ndarray,
    cdf: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> dict[str, np.ndarray]:
    """Observed and expected share of each gene's entries with 0, 1, 2, 3, 4, 5–6 … counts.

    Parameters
    ----------
    observed : ndarray, (cell, gene), raw counts
    prob_zero : ndarray, (cell, gene), in [0, 1]
    cdf : callable
        From counts (entry,) and row-major indices (entry,) to P(X ≤ count).

    Returns
    -------
    dict of ndarray, (gene,), keys ``observed.k`` and ``expected.k`` for the bin from count k on;
    both add up to 1. The expected share is exact to 1e-5.
    """
    found: dict[str, np.ndarray] = {}
    below = np.zeros(observed.shape[1])
    for k, end in zip(STARTS, (*STARTS[1:], np.inf), strict=True):
        found[f"observed.{k}"] = ((observed >= k) & (observed < end)).mean(axis=0)
    reached, active = prob_zero.reshape(-1).copy(), np.arange(observed.size)
    for k, end in zip(STARTS, STARTS[1:], strict=False):
        if k > 0:
            reached[active] = cdf(np.full(active.size, end - 1.0), active)
        finished = 1 - reached[active] < TAIL
        reached[active[finished]] = 1.0
        active = active[~finished]
        up_to = reached.reshape(observed.shape).mean(axis=0)
        found[f"expected.{k}"], below = np.clip(up_to - below, 0, 1), up_to
    found[f"expected.{STARTS[-1]}"] = np.clip(1 - below, 0, 1)
    return found

"""Random counts, entry by entry, where most of them are zero."""

from __future__ import annotations

import numpy as np

from countae.kernels.compiled import compiled

HIGHEST_MEAN = 64.0  # above it a walk of as many steps costs more than gamma rates do
SMALLEST = 2.0**-64  # a term that no uniform number of 53 bits can tell from nothing


@compiled
def walked_negative_binomial(
    uniform: np.ndarray, mean: np.ndarray, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of NB(μ, θ) at uniform numbers: the smallest count with F(count) > u.

    Parameters
    ----------
    uniform : ndarray, (cell, gene), float64 in [0, 1)
    mean : ndarray, (cell, gene), float64
        Expected raw counts.
    theta : ndarray, (gene,) or (cell, gene), float64

    Returns
    -------
    ndarray, (cell, gene), int64; ndarray, (cell, gene), bool
        Counts, and where they are to be drawn in another way: means above ``HIGHEST_MEAN``.
    """
    count = np.zeros(mean.shape, dtype=np.int64)
    left = np.zeros(mean.shape, dtype=np.bool_)
    for i in range(mean.shape[0]):
        for j in range(mean.shape[1]):
            mu, shape, u = mean[i, j], theta[i, j], uniform[i, j]
            if u < 1.0 - mu:  # P(0) is at least 1 - μ (Markov), which spares most exponentials
                continue
            if not mu <= HIGHEST_MEAN:
                left[i, j] = True
                continue
            p = np.exp(-shape * np.log1p(mu / shape))
            if u < p:
                continue
            below, q, k = p, mu / (mu + shape), 0
            while below <= u and (p > SMALLEST or k < mu):
                p *= q * (shape + k) / (k + 1)
                below += p
                k += 1
            count[i, j] = k
    return count, left

"""Ranked probability score: proper, and kinder to a near miss than the log score."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from countae.metrics import metric

EXACT_TO = 256  # counts summed one by one; beyond, sums become integrals
TAIL = 1e-6  # its square is what a further term could add
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
PANELS = np.array([-12, -8, -5, -3.5, -2.5, -1.5, -0.75, 0, 0.75, 1.5, 2.5, 3.5, 5, 8, 12, 20, 40])


@metric(better="lower", unit="counts", bounds=(0.0, np.inf), level="entry")
def ranked_probability_score(
    *,
    observed: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    pmf: Callable[[np.ndarray, np.ndarray], np.ndarray],
    cdf: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    r"""Sum over k of the squared gap between the predicted and the observed step, in counts.

    .. math:: \sum_{k \ge 0} (F(k) - 1[x \le k])^2

    Summed one by one to k = 255; entries that reach further continue with the integral of the
    smoothly continued distribution function over panels around the mean (Gauss–Legendre), whose
    error is below 1e-5 relative there.

    Parameters
    ----------
    observed : ndarray, (cell, gene), raw counts
    mean, variance : ndarray, (cell, gene)
        Of the predictive distribution; they only place the panels.
    pmf, cdf : callable
        From counts (entry,) and row-major indices (entry,) to P(X = count), P(X ≤ count).

    Returns
    -------
    ndarray, (cell, gene), counts.
    Reference: Czado et al. 2009, doi:10.1111/j.1541-0420.2009.01191.x, eq. 4
    """
    x = observed.reshape(-1)
    score, below = np.zeros(x.shape), np.zeros(x.shape)
    active = np.arange(x.size)
    for k in range(EXACT_TO):
        below[active] += pmf(np.full(active.size, float(k)), active)
        gap = below[active] - (x[active] <= k)
        score[active] += gap * gap
        active = active[(1 - below[active] > TAIL) | (x[active] > k)]
        if not active.size:
            return score.reshape(observed.shape)
    centre, spread = mean.reshape(-1)[active], np.sqrt(variance.reshape(-1)[active])
    score[active] += _beyond(x[active], centre, spread, lambda k, i: cdf(k, active[i]))
    return score.reshape(observed.shape)


def _beyond(
    x: np.ndarray,
    centre: np.ndarray,
    spread: np.ndarray,
    cdf: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """The sum from EXACT_TO on, per entry, as an integral from EXACT_TO − ½."""
    first = EXACT_TO - 0.5
    end = np.maximum(centre + PANELS[-1] * spread, x + 1)[:, None]
    geometric = first * 2.0 ** np.arange(0, np.ceil(np.log2(end.max() / first)) + 1)
    edges = np.concatenate(
        [
            np.broadcast_to(geometric, (len(x), len(geometric))),
            centre[:, None] + PANELS * spread[:, None],
            x[:, None] - 0.5,
            end,
        ],
        axis=1,
    )
    edges = np.sort(np.clip(edges, first, end), axis=1)
    total = np.zeros(len(x))
    for left, right in zip(edges[:, :-1].T, edges[:, 1:].T, strict=True):
        used = np.flatnonzero(right > left)
        half = 0.5 * (right - left)[used]
        for node, weight in zip(NODES, WEIGHTS, strict=True):
            k = left[used] + half * (1 + node)
            gap = cdf(k, used) - (x[used] - 0.5 <= k)
            total[used] += weight * half * gap * gap
    return total

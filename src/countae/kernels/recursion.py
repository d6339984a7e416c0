"""Walking up a distribution, entry by entry: by Panjer's recursion, or along a normal.

Poisson, negative binomial and binomial counts, and any of them with its zeros changed, obey
:math:`P(k) = (a + b/k) P(k-1)` from k = 2 on, so that each further term costs one product.
Reference: Panjer 1981, doi:10.1017/S0515036100006796 (this is the class (a, b, 1)).
"""

from __future__ import annotations

import math

import numpy as np

from countae.kernels.compiled import compiled

FURTHEST = 4096  # a walk that has not ended here is left to another method
ROOT_TWO = math.sqrt(2.0)
SMALLEST = 1e-290  # a walk that starts lower has lost its digits


@compiled
def step_score(
    count: np.ndarray,
    prob_zero: np.ndarray,
    prob_one: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    tail: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the squared gaps between predicted and observed steps, and where it is finished.

    Parameters
    ----------
    count : ndarray, (entry,), float64
        Observed raw counts.
    prob_zero, prob_one, a, b : ndarray, (entry,), float64
        P(0), P(1) and the recursion's coefficients.
    tail : float
        The walk ends behind the count where less than this probability is left.

    Returns
    -------
    ndarray, (entry,), float64; ndarray, (entry,), bool
    """
    score = np.zeros(count.size)
    done = np.zeros(count.size, dtype=np.bool_)
    for i in range(count.size):
        x, p = count[i], prob_zero[i]
        if prob_one[i] < SMALLEST and 1.0 - p > tail:
            continue
        below, total, k = 0.0, 0.0, 0
        while k < FURTHEST:
            below += p
            gap = below - 1.0 if x <= k else below
            total += gap * gap
            if x <= k and 1.0 - below <= tail:
                done[i] = True
                break
            k += 1
            p = prob_one[i] if k == 1 else p * (a[i] + b[i] / k)
        score[i] = total
    return score, done


@compiled
def normal_step_score(
    count: np.ndarray,
    location: np.ndarray,
    scale: np.ndarray,
    size: np.ndarray,
    logarithmic: bool,
    tail: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The same for a normal on counts or on log1p(count / size), cut into integers.

    The distribution function at k is Φ((g(k + ½) − location) / scale).
    """
    score = np.zeros(count.size)
    done = np.zeros(count.size, dtype=np.bool_)
    for i in range(count.size):
        total, k = 0.0, 0
        while k < FURTHEST:
            at = math.log1p((k + 0.5) / size[i]) if logarithmic else k + 0.5
            above = 0.5 * math.erfc((at - location[i]) / (scale[i] * ROOT_TWO))
            gap = above if count[i] <= k else 1.0 - above
            total += gap * gap
            if count[i] <= k and above <= tail:
                done[i] = True
                break
            k += 1
        score[i] = total
    return score, done


@compiled
def mass_to(
    count: np.ndarray,
    prob_zero: np.ndarray,
    prob_one: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P(X < count) and P(X = count), and where the walk is finished; (entry,) each."""
    below, at = np.zeros(count.size), np.zeros(count.size)
    done = np.zeros(count.size, dtype=np.bool_)
    for i in range(count.size):
        x, p = count[i], prob_zero[i]
        if x > FURTHEST or (x > 0 and prob_one[i] < SMALLEST):
            continue
        total, k = 0.0, 0
        while k < x:
            total += p
            k += 1
            p = prob_one[i] if k == 1 else p * (a[i] + b[i] / k)
        below[i], at[i], done[i] = min(total, 1.0), p, True
    return below, at, done

"""Negative binomial regressions of many rows on one design, all at once."""

from __future__ import annotations

import numpy as np

HALVINGS = 6


def fitted(
    counts: np.ndarray,
    design: np.ndarray,
    *,
    offset: np.ndarray,
    theta: np.ndarray,
    shrinkage: float,
    steps: int,
    visible: np.ndarray | None = None,
    start: np.ndarray | None = None,
) -> np.ndarray:
    r"""Most probable coefficients of each row's regression with log link and a normal prior.

    .. math:: x_{ij} \sim NB(e^{o_{ij} + β_i^T d_j}, θ_{ij}), \quad β_i \sim N(0, 1/λ)

    by Fisher scoring; a row's step is halved until its posterior does not fall.

    Parameters
    ----------
    counts : ndarray, (row, column), raw counts
    design : ndarray, (column, coefficient)
    offset, theta : ndarray, broadcastable to (row, column)
    shrinkage : float, λ > 0
    steps : int
    visible : ndarray, (row, column), bool, optional
        False where a count has no weight.
    start : ndarray, (row, coefficient), optional

    Returns
    -------
    ndarray, (row, coefficient)
    """
    rows, n = len(counts), design.shape[1]
    seen = np.ones(counts.shape, dtype=bool) if visible is None else visible
    best = np.zeros((rows, n)) if start is None else start
    outer = (design[:, :, None] * design[:, None, :]).reshape(len(design), n * n)

    def posterior(at: np.ndarray) -> np.ndarray:
        value = log_likelihood(counts, offset + at @ design.T, theta, seen)
        return value - 0.5 * shrinkage * np.square(at).sum(axis=1)

    value = posterior(best)
    for _ in range(steps):
        mean = np.exp(offset + best @ design.T)
        per_count = seen / (1.0 + mean / theta)
        slope = ((counts - mean) * per_count) @ design - shrinkage * best
        information = ((mean * per_count) @ outer).reshape(rows, n, n) + shrinkage * np.eye(n)
        step = np.linalg.solve(information, slope[:, :, None])[:, :, 0]
        for _ in range(HALVINGS):
            trial = posterior(best + step)
            worse = ~(trial >= value)
            step[worse] /= 2
            if not worse.any():
                break
        step[worse] = 0.0
        best, value = best + step, np.where(worse, value, trial)
    return best


def log_likelihood(
    counts: np.ndarray, log_mean: np.ndarray, theta: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """Log-likelihood of each row's visible counts, (row,), up to what no coefficient changes."""
    with np.errstate(over="ignore", invalid="ignore"):  # a step too far, which is then halved
        value = counts * log_mean - (counts + theta) * np.log1p(np.exp(log_mean) / theta)
    return (value * seen).sum(axis=1)

"""How well the inverse dispersion of a gene can be known at this depth."""

from __future__ import annotations

import numpy as np
from scipy.special import betainc

from countae.metrics import metric

QUANTILES = (np.arange(8) + 0.5) / 8
EXACT_TO = 256
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
IDENTIFIABLE = 0.5  # largest standard error of log θ at which a value is reported


@metric(better="nominal", unit="log counts", bounds=(0.0, np.inf), summary="median")
def dispersion_standard_error(
    *, mean: np.ndarray, inverse_dispersion: np.ndarray, n_fitted: int
) -> np.ndarray:
    r"""Standard error of log θ from the expected information of ``n_fitted`` cells, per gene.

    .. math:: I(θ) = \sum_{k \ge 0} \frac{P(X > k)}{(θ+k)^2} - \frac{μ}{θ(μ+θ)}

    averaged over eight quantiles of the gene's means; the error is :math:`1/\sqrt{n θ^2 I}`.
    Above one half the inverse dispersion of the gene is called not identifiable.

    Parameters
    ----------
    mean : ndarray, (cell, gene), expected raw counts
    inverse_dispersion : ndarray, (gene,), > 0
    n_fitted : int
        Number of cells that the inverse dispersion was fitted on.

    Returns
    -------
    ndarray, (gene,), log scale. Reference: Lawless 1987, doi:10.2307/3314912, eq. 2.5
    """
    mu = np.quantile(mean, QUANTILES, axis=0)
    theta = np.broadcast_to(inverse_dispersion, mu.shape)
    tail = _tail_sum(mu.ravel(), theta.ravel()).reshape(mu.shape)
    information = theta**2 * (tail - mu / (theta * (mu + theta)))
    return 1 / np.sqrt(np.maximum(n_fitted * information.mean(axis=0), 1e-12))


def _tail_sum(mu: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Sum over k of P(X > k)/(θ+k)²: one by one to 255, then as an integral over doublings."""
    total, active = np.zeros(mu.shape), np.arange(mu.size)
    share = mu / (mu + theta)
    for k in range(EXACT_TO):
        tail = betainc(k + 1, theta[active], share[active])
        total[active] += tail / (theta[active] + k) ** 2
        active = active[tail > 1e-12]
        if not active.size:
            return total
    left = EXACT_TO - 0.5
    while active.size:
        half = 0.5 * left
        for node, weight in zip(NODES, WEIGHTS, strict=True):
            at = left + half * (1 + node)
            tail = betainc(at + 1, theta[active], share[active])
            total[active] += weight * half * tail / (theta[active] + at) ** 2
        active, left = active[tail > 1e-12], 2 * left
    return total

"""How well the inverse dispersion of a gene can be known at this depth."""

from __future__ import annotations

import numpy as np
from scipy.special import digamma, gammaln, xlogy

from countae.metrics import metric
from countae.metrics._panels import EXACT_TO, panel_nodes

QUANTILES = (np.arange(8) + 0.5) / 8
IDENTIFIABLE = 0.5  # largest standard error of log θ at which a value is reported


@metric(better="nominal", unit="log counts", bounds=(0.0, np.inf), summary="median")
def dispersion_standard_error(
    *, mean: np.ndarray, inverse_dispersion: np.ndarray, n_fitted: int
) -> np.ndarray:
    r"""Standard error of log θ that so many cells leave, from their expected information.

    .. math:: I(θ) = \sum_{k \ge 0} P(k)\, u(k)^2, \quad
              u(k) = ψ(k+θ) - ψ(θ) - \log(1 + μ/θ) + \frac{μ - k}{μ + θ}

    the variance of the score u of the negative binomial, averaged over eight quantiles of the
    gene's means; the error is :math:`1/\sqrt{n θ^2 I}`. Above one half the inverse dispersion of
    the gene is called not identifiable. (The usual form, a tail sum minus μ/(θ(μ+θ)), cancels
    for large θ.)

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
    information = theta**2 * _score_variance(mu.ravel(), theta.ravel()).reshape(mu.shape)
    return 1 / np.sqrt(np.maximum(n_fitted * information.mean(axis=0), 1e-12))


def _score_variance(mu: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Sum of P(k) u(k)²: one by one to 255, then as an integral over panels around the mean."""
    total, below, active = np.zeros(mu.shape), np.zeros(mu.shape), np.arange(mu.size)
    for k in range(EXACT_TO):
        pmf, score = _pmf_and_score(np.full(active.size, float(k)), mu[active], theta[active])
        total[active] += pmf * score**2
        below[active] += pmf
        active = active[below[active] < 1 - 1e-9]
        if not active.size:
            return total
    centre, shape = mu[active], theta[active]
    spread = np.sqrt(centre + centre**2 / shape)
    for at, weight, used in panel_nodes(EXACT_TO - 0.5, centre, spread, extra=centre):
        pmf, score = _pmf_and_score(at, centre[used], shape[used])
        np.add.at(total, active[used], weight * pmf * score**2)
    return total


def _pmf_and_score(
    k: np.ndarray, mu: np.ndarray, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Negative binomial probability and derivative of its logarithm in θ."""
    log_odds = np.log1p(mu / theta)
    log_pmf = (
        gammaln(k + theta) - gammaln(theta) - gammaln(k + 1) - theta * log_odds
        + xlogy(k, mu / (mu + theta))
    )  # fmt: skip
    score = digamma(k + theta) - digamma(theta) - log_odds + (mu - k) / (mu + theta)
    return np.exp(log_pmf), score

"""Standard error of the log inverse dispersion against the expected information."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special, stats

from countae import metrics

standard_error = metrics.get("dispersion_standard_error")


def information(mean, theta):
    """E[(∂ log P(X)/∂ log θ)²], summed over SciPy's pmf; not the tail sum that the metric uses."""
    p = theta / (theta + mean)
    k = np.arange(int(stats.nbinom.isf(1e-13, theta, p)) + 2, dtype=float)
    score = special.digamma(k + theta) - special.digamma(theta) + np.log(p)
    score = theta * (score + (mean - k) / (mean + theta))
    return (stats.nbinom.pmf(k, theta, p) * score**2).sum()


def metric_at(mean, theta, n=1_000):
    """The metric for one gene of equal means."""
    return standard_error(
        mean=np.full((40, 1), mean), inverse_dispersion=np.array([theta]), n_fitted=n
    )[0]


@pytest.mark.parametrize("theta", [0.05, 0.5, 2.0, 10.0, 100.0])
@pytest.mark.parametrize("mean", [0.1, 1.0, 10.0, 100.0])
def test_agrees_with_the_expected_information(mean, theta):
    """Oracle: variance of the score by direct summation; 1e-4, its own rounding at θ = 100."""
    np.testing.assert_allclose(
        metric_at(mean, theta), 1 / np.sqrt(1_000 * information(mean, theta)), rtol=1e-4
    )


@pytest.mark.parametrize("theta", [1.0, 100.0, 1e3, 1e4])
@pytest.mark.parametrize("mean", [300.0, 1e3, 1e4])
def test_agrees_at_large_means(mean, theta):
    """Oracle: the same beyond 256 counts, where the metric integrates. 1 %: plenty for a gate."""
    np.testing.assert_allclose(
        metric_at(mean, theta), 1 / np.sqrt(1_000 * information(mean, theta)), rtol=1e-2
    )


def test_agrees_with_statsmodels():
    """Oracle: statsmodels' NegativeBinomial fit of 5,000 counts; its observed information at the
    estimate lies within 10 % of the expected one (its own relative error is about n^-½).
    """
    rng = np.random.default_rng(12)
    mean, theta = 4.0, 1.5
    counts = rng.poisson(rng.gamma(theta, mean / theta, 5_000))
    fit = sm.NegativeBinomial(counts, np.ones(5_000)).fit(disp=0)
    of_log_theta = fit.bse[1] / fit.params[1]  # statsmodels has α = 1/θ: same error on the log
    found = metric_at(counts.mean(), 1 / fit.params[1], n=5_000)
    np.testing.assert_allclose(found, of_log_theta, rtol=0.1)


def test_averages_over_the_genes_means():
    """Oracle: the information of a mean that differs between cells is the average one; eight
    quantiles of a log-normal are worth 3 %.
    """
    rng = np.random.default_rng(3)
    mean = rng.lognormal(0.5, 0.5, (400, 1))
    expected = np.mean([information(m, 1.2) for m in mean[:, 0]])
    value = standard_error(mean=mean, inverse_dispersion=np.array([1.2]), n_fitted=250)[0]
    np.testing.assert_allclose(value, 1 / np.sqrt(250 * expected), rtol=0.03)


def test_nearly_poisson_genes_are_not_identifiable():
    """Limit, oracle by hand: I → μ²/2θ² for small μ/θ, so the error grows like θ√2/(μ√n)."""
    np.testing.assert_allclose(metric_at(0.5, 1e4), 1e4 * np.sqrt(2 / 1_000) / 0.5, rtol=1e-3)

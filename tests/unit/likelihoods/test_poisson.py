"""Poisson against SciPy and 50-digit arithmetic."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from countae import likelihoods

COUNTS = np.array([0, 1, 2, 7, 150, 10_000, 1_000_000])
MEANS = [1e-6, 1e-4, 0.3, 1.0, 25.0, 1e4, 1e5]
SMALL = np.arange(-1, 400)


@pytest.fixture
def poisson():
    return likelihoods.get("poisson")()


def exact_log_pmf(x: int, mu: float) -> float:
    with mpmath.workdps(50):
        mu = mpmath.mpf(mu)
        return float(x * mpmath.log(mu) - mu - mpmath.loggamma(x + 1))


@pytest.mark.parametrize("mean", MEANS)
def test_log_pmf_agrees_with_50_digits(poisson, t64, mean):
    """Oracle: mpmath. A few roundings of the largest term over max(1, |log p|)."""
    expected = np.array([exact_log_pmf(int(x), mean) for x in COUNTS])
    actual = poisson.log_pmf(t64(COUNTS), mean=t64(mean)).numpy()
    assert np.max(np.abs(actual - expected) / np.maximum(1, np.abs(expected))) < 1e-12


@pytest.mark.parametrize("mean", [1e-4, 0.3, 1.0, 25.0, 300.0])
def test_log_pmf_and_cdf_agree_with_scipy(poisson, t64, mean):
    """Oracle: scipy.stats.poisson, from −1 (where the cdf is 0) to 399; float64 roundings."""
    np.testing.assert_allclose(
        poisson.cdf(t64(SMALL), mean=t64(mean)), stats.poisson(mean).cdf(SMALL), rtol=1e-10
    )
    np.testing.assert_allclose(
        poisson.log_pmf(t64(SMALL[1:]), mean=t64(mean)),
        stats.poisson(mean).logpmf(SMALL[1:]),
        rtol=1e-9,
    )


@pytest.mark.parametrize("mean", MEANS)
def test_moments_and_zeros(poisson, t64, mean):
    """Oracle: mean = variance = μ and P(0) = exp(−μ), by hand."""
    assert float(poisson.mean(mean=t64(mean))) == mean
    assert float(poisson.variance(mean=t64(mean))) == mean
    np.testing.assert_allclose(poisson.prob_zero(mean=t64(mean)), np.exp(-mean), rtol=1e-12)


@pytest.mark.parametrize("mean", [0.05, 1.0, 40.0])
def test_samples(poisson, assert_samples_agree, mean):
    """Oracle: the closed moments; four standard errors."""
    assert_samples_agree(poisson, {"mean": mean}, mean=mean, variance=mean, zero=np.exp(-mean))


def test_gradient_in_the_log_mean(poisson, t64):
    """Oracle: d log P / d log μ = x − μ, by hand."""
    log_mean = t64(np.log(MEANS)).requires_grad_()
    for x in (0.0, 3.0, 1e4):
        value = poisson.log_pmf(torch.full_like(log_mean, x), mean=log_mean.exp()).sum()
        (gradient,) = torch.autograd.grad(value, log_mean)
        np.testing.assert_allclose(gradient, x - np.array(MEANS), rtol=1e-10, atol=1e-10)


def test_constrain_multiplies_by_the_size_factor(poisson, t64):
    """Oracle: μ_ij = s_i exp(η_ij), by hand."""
    raw = {"log_mean": t64([[0.0, 1.0], [-1.0, 2.0]])}
    made = poisson.constrain(raw, t64([[0.5], [4.0]]))["mean"]
    expected = [[0.5, 0.5 * np.e], [4 * np.exp(-1), 4 * np.exp(2)]]
    np.testing.assert_allclose(made, expected, rtol=1e-14)

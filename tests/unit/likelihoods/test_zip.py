"""Zero-inflated Poisson against SciPy, statsmodels and 50-digit arithmetic."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from statsmodels.distributions import zipoisson

from countae import likelihoods

COUNTS = np.array([0, 1, 2, 7, 150, 10_000])
MIXED = [(0.4, 0.3), (5.0, 0.6), (30.0, 0.05), (1e-3, 0.999)]


@pytest.fixture
def zip_():
    return likelihoods.get("zip")()


def logit(pi):
    return np.log(pi) - np.log1p(-pi)


@pytest.mark.parametrize("mean", [1e-4, 1.0, 300.0, 1e4])
@pytest.mark.parametrize("zero_logit", [-40.0, -2.0, 0.0, 30.0])
def test_log_pmf_agrees_with_50_digits(zip_, t64, mean, zero_logit):
    """Oracle: mpmath, with logits where 1 − π rounds to 1 or 0; 1e-12 of max(1, |log p|)."""
    with mpmath.workdps(50):
        pi, mu = 1 / (1 + mpmath.exp(-mpmath.mpf(zero_logit))), mpmath.mpf(mean)
        poisson = [
            mpmath.exp(int(x) * mpmath.log(mu) - mu - mpmath.loggamma(x + 1)) for x in COUNTS
        ]
        expected = [
            float(mpmath.log(pi * int(x == 0) + (1 - pi) * p))
            for x, p in zip(COUNTS, poisson, strict=True)
        ]
    actual = zip_.log_pmf(t64(COUNTS), mean=t64(mean), zero_logit=t64(zero_logit)).numpy()
    assert np.max(np.abs(actual - expected) / np.maximum(1, np.abs(expected))) < 1e-12


@pytest.mark.parametrize(("mean", "pi"), MIXED)
def test_agrees_with_statsmodels(zip_, t64, mean, pi):
    """Oracle: statsmodels.distributions.zipoisson; moments and zeros by the mixture, in SciPy."""
    parameters = {"mean": t64(mean), "zero_logit": t64(logit(pi))}
    counts = np.arange(40)
    np.testing.assert_allclose(
        zip_.log_pmf(t64(counts), **parameters), zipoisson.logpmf(counts, mean, pi), rtol=1e-9
    )
    base = stats.poisson(mean)
    np.testing.assert_allclose(zip_.mean(**parameters), (1 - pi) * mean, rtol=1e-12)
    variance = (1 - pi) * base.var() + pi * (1 - pi) * mean**2
    np.testing.assert_allclose(zip_.variance(**parameters), variance, rtol=1e-12)
    np.testing.assert_allclose(
        zip_.prob_zero(**parameters), pi + (1 - pi) * base.pmf(0), rtol=1e-12
    )
    counts = np.array([-1, 0, 1, 5, 100])
    expected = np.where(counts < 0, 0.0, pi + (1 - pi) * base.cdf(counts))
    np.testing.assert_allclose(zip_.cdf(t64(counts), **parameters), expected, rtol=1e-10)


@pytest.mark.parametrize(("mean", "pi"), MIXED[:3])
def test_samples(zip_, assert_samples_agree, mean, pi):
    """Oracle: the moments of the mixture, by hand; four standard errors."""
    assert_samples_agree(
        zip_,
        {"mean": mean, "zero_logit": logit(pi)},
        mean=(1 - pi) * mean,
        variance=(1 - pi) * mean + pi * (1 - pi) * mean**2,
        zero=pi + (1 - pi) * np.exp(-mean),
    )


@pytest.mark.parametrize("mean", [1e-3, 1.0, 200.0])
def test_without_extra_zeros_is_poisson(zip_, t64, mean):
    """Limit π → 0. Oracle: scipy.stats.poisson; π = e⁻⁶⁰⁰ is below every e⁻²⁰⁰."""
    counts = COUNTS[:5]
    actual = zip_.log_pmf(t64(counts), mean=t64(mean), zero_logit=t64(-600.0))
    np.testing.assert_allclose(actual, stats.poisson(mean).logpmf(counts), rtol=1e-11, atol=1e-13)


def test_recursion_walks_along_the_pmf(zip_, t64):
    """Oracle: P(0), P(1) and P(k)/P(k−1) of statsmodels' distribution."""
    expected = zipoisson.pmf(np.arange(30), 3.0, 0.4)
    zero, one, a, b = (float(v) for v in zip_.recursion(mean=t64(3.0), zero_logit=t64(logit(0.4))))
    np.testing.assert_allclose([zero, one], expected[:2], rtol=1e-12)
    k = np.arange(2, 30)
    np.testing.assert_allclose(a + b / k, expected[2:] / expected[1:-1], rtol=1e-10)


def test_gradient_in_the_zero_logit(zip_, t64):
    """Oracle: P(extra zero | x) − π by Bayes' rule, by hand."""
    mean, raw = 1.3, t64(-0.4).requires_grad_()
    pi = 1 / (1 + np.exp(0.4))
    for x, posterior in ((0.0, pi / (pi + (1 - pi) * np.exp(-mean))), (3.0, 0.0)):
        value = zip_.log_pmf(t64(x), mean=t64(mean), zero_logit=raw)
        (gradient,) = torch.autograd.grad(value, raw)
        np.testing.assert_allclose(gradient, posterior - pi, rtol=1e-12)


def test_start_and_constrain_by_hand(zip_, t64):
    """Oracle: (1−π)μ is the expected count, so the component's mean is the count's over 1 − π."""
    moments = likelihoods._base.GeneMoments(t64([2.0]), t64([0.9]), t64([1.5]), t64([0.25]))
    start = zip_.start(moments)
    np.testing.assert_allclose(start["log_mean"], [np.log(2.0 / 0.75)], rtol=1e-14)
    np.testing.assert_allclose(start["zero_logit"], [np.log(0.25 / 0.75)], rtol=1e-14)
    made = zip_.constrain(start, t64([[3.0]]))
    np.testing.assert_allclose(made["mean"], [[8.0]], rtol=1e-14)
    np.testing.assert_allclose(made["zero_logit"], [np.log(1 / 3)], rtol=1e-14)

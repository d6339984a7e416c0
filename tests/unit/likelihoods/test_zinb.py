"""Zero-inflated negative binomial against SciPy and 50-digit arithmetic."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from countae import likelihoods

COUNTS = np.array([0, 1, 2, 7, 150, 10_000])


@pytest.fixture
def zinb():
    return likelihoods.get("zinb")()


def logit(pi):
    return np.log(pi) - np.log1p(-pi)


def exact_nb_pmf(x: int, mu: float, theta: float) -> mpmath.mpf:
    mu, theta = mpmath.mpf(mu), mpmath.mpf(theta)
    return (
        mpmath.gammaprod([x + theta], [theta, x + 1])
        * (theta / (theta + mu)) ** theta
        * (mu / (theta + mu)) ** x
    )


@pytest.mark.parametrize("theta", [1e-2, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("mean", [1e-3, 1.0, 200.0])
@pytest.mark.parametrize("pi", [1e-6, 0.3, 0.999])
def test_log_pmf_agrees_with_scipy(zinb, t64, mean, theta, pi):
    """Oracle: scipy.stats.nbinom(n=θ, p=θ/(θ+μ)), mixed with a point mass at zero."""
    counts = COUNTS[:5]
    expected = np.log1p(-pi) + stats.nbinom(theta, theta / (theta + mean)).logpmf(counts)
    expected[0] = np.logaddexp(np.log(pi), expected[0])
    actual = zinb.log_pmf(
        t64(counts), mean=t64(mean), inverse_dispersion=t64(theta), zero_logit=t64(logit(pi))
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("theta", [1e-3, 0.7, 16.0, 1e6])
@pytest.mark.parametrize("mean", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("zero_logit", [-40.0, -2.0, 0.0, 30.0])
def test_log_pmf_agrees_with_50_digits(zinb, t64, mean, theta, zero_logit):
    """Oracle: mpmath, with logits where 1 − π rounds to 1 or 0; 1e-10 of max(1, |log p|)."""
    with mpmath.workdps(50):
        pi = 1 / (1 + mpmath.exp(-mpmath.mpf(zero_logit)))
        expected = [
            float(mpmath.log(pi * (x == 0) + (1 - pi) * exact_nb_pmf(int(x), mean, theta)))
            for x in COUNTS
        ]
    actual = zinb.log_pmf(
        t64(COUNTS), mean=t64(mean), inverse_dispersion=t64(theta), zero_logit=t64(zero_logit)
    ).numpy()
    assert np.max(np.abs(actual - expected) / np.maximum(1, np.abs(expected))) < 1e-10


@pytest.mark.parametrize("pi", [1e-6, 0.3, 0.999])
@pytest.mark.parametrize(("mean", "theta"), [(1e-3, 0.1), (2.0, 1.5), (200.0, 30.0)])
def test_moments_zeros_and_cdf(zinb, t64, mean, theta, pi):
    """Oracle: SciPy's NB moments, mixed by the law of total variance, and its cdf."""
    nb = stats.nbinom(theta, theta / (theta + mean))
    parameters = {
        "mean": t64(mean), "inverse_dispersion": t64(theta), "zero_logit": t64(logit(pi))
    }  # fmt: skip
    variance = (1 - pi) * nb.var() + pi * (1 - pi) * nb.mean() ** 2
    np.testing.assert_allclose(zinb.mean(**parameters), (1 - pi) * nb.mean(), rtol=1e-9)
    np.testing.assert_allclose(zinb.variance(**parameters), variance, rtol=1e-9)
    np.testing.assert_allclose(zinb.prob_zero(**parameters), pi + (1 - pi) * nb.pmf(0), rtol=1e-9)
    counts = np.array([-1, 0, 1, 5, 100])
    expected = np.where(counts < 0, 0.0, pi + (1 - pi) * nb.cdf(counts))
    np.testing.assert_allclose(zinb.cdf(t64(counts), **parameters), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("mean", "theta", "pi"), [(0.5, 0.3, 0.2), (5.0, 2.0, 0.6), (20, 1e4, 0.05)]
)
def test_samples(zinb, assert_samples_agree, mean, theta, pi):
    """Oracle: the moments of the mixture, by hand; four standard errors."""
    variance = (1 - pi) * (mean + mean**2 / theta) + pi * (1 - pi) * mean**2
    assert_samples_agree(
        zinb,
        {"mean": mean, "inverse_dispersion": theta, "zero_logit": logit(pi)},
        mean=(1 - pi) * mean,
        variance=variance,
        zero=pi + (1 - pi) * (theta / (theta + mean)) ** theta,
    )


@pytest.mark.parametrize("theta", [1e-2, 1.0, 1e4])
def test_without_extra_zeros_is_nb(zinb, t64, theta):
    """Limit π → 0. Oracle: scipy.stats.nbinom; π = e⁻⁵⁰ is below every rounding."""
    counts = COUNTS[:5]
    actual = zinb.log_pmf(
        t64(counts), mean=t64(3.0), inverse_dispersion=t64(theta), zero_logit=t64(-50.0)
    )
    expected = stats.nbinom(theta, theta / (theta + 3.0)).logpmf(counts)
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-10)


def test_with_nothing_but_extra_zeros_is_a_point_mass(zinb, t64):
    """Limit π → 1. Oracle: P(0) = 1 by hand; one nat of logit costs a positive count one nat."""
    parameters = {"mean": t64(3.0), "inverse_dispersion": t64(2.0)}
    log_pmf = [
        zinb.log_pmf(t64([0, 4]), **parameters, zero_logit=t64(value)).numpy()
        for value in (200.0, 201.0)
    ]
    assert -1e-80 < log_pmf[0][0] <= 0.0  # log(1 − e⁻²⁰⁰(1 − P(0)))
    np.testing.assert_allclose(log_pmf[0][1] - log_pmf[1][1], 1.0, rtol=1e-10)


def test_gradient_in_the_zero_logit(zinb, t64):
    """Oracle: P(extra zero | x) − π by Bayes' rule, by hand."""
    mean, theta, raw = 1.3, 0.8, t64(-0.4).requires_grad_()
    pi = 1 / (1 + np.exp(0.4))
    nb_zero = (theta / (theta + mean)) ** theta
    for x, posterior in ((0.0, pi / (pi + (1 - pi) * nb_zero)), (3.0, 0.0)):
        value = zinb.log_pmf(t64(x), mean=t64(mean), inverse_dispersion=t64(theta), zero_logit=raw)
        (gradient,) = torch.autograd.grad(value, raw)
        np.testing.assert_allclose(gradient, posterior - pi, rtol=1e-12)


def test_start_and_from_mean_by_hand(zinb, t64):
    """Oracle: (1−π)μ is the expected count, so the component's mean is the count's over 1 − π."""
    moments = likelihoods._base.GeneMoments(t64([2.0]), t64([0.9]), t64([1.5]), t64([0.25]))
    start = zinb.start(moments)
    np.testing.assert_allclose(start["log_mean"], [np.log(2.0 / 0.75)], rtol=1e-14)
    np.testing.assert_allclose(start["zero_logit"], [np.log(0.25 / 0.75)], rtol=1e-14)
    np.testing.assert_allclose(start["log_inverse_dispersion"], [np.log(1.5)], rtol=1e-14)
    made = zinb.from_mean(t64([[3.0]]), t64([0.7]), t64([np.log(3.0)]))
    np.testing.assert_allclose(made["mean"], [[12.0]], rtol=1e-14)


@pytest.mark.parametrize("zero_logit", [-20.0, 0.0, 8.0, 16.0, 30.0])
@pytest.mark.parametrize("name", ["zinb", "zip"])
def test_moments_keep_their_digits_where_nearly_all_are_zero(name, zero_logit):
    """Oracle: 50 digits, by hand: (1−π)μ(1 + μ/θ + πμ), with 1/θ = 0 for the ZIP."""
    mu, theta = mpmath.mpf(100), mpmath.mpf(2) if name == "zinb" else mpmath.inf
    given = {"mean": torch.tensor(100.0), "zero_logit": torch.tensor(zero_logit)}
    if name == "zinb":
        given["inverse_dispersion"] = torch.tensor(2.0)
    claim = likelihoods.get(name)()
    with mpmath.workdps(50):
        rest = 1 / (1 + mpmath.exp(mpmath.mpf(zero_logit)))
        variance = rest * mu * (1 + mu / theta + (1 - rest) * mu)
        one = rest * (mpmath.exp(-mu) * mu if name == "zip" else _one(mu, theta))
    assert claim.variance(**given).item() == pytest.approx(float(variance), rel=1e-6)
    assert claim.recursion(**given)[1].item() == pytest.approx(float(one), rel=2e-5)


def _one(mu, theta):
    """P(1) of the negative binomial."""
    return theta * (theta / (mu + theta)) ** theta * mu / (mu + theta)

"""Poisson log-normal against quadrature in 50-digit arithmetic, SciPy, and its limits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, stats

from countae import likelihoods
from countae.kernels.poisson_lognormal import FULL, TRAINING, cumulated, mode

COUNTS = [0, 1, 2, 12, 150, 10_000, 1_000_000]
MEANS = [1e-6, 0.9, 13.7, 1e5]
THETAS = [1e-4, 0.7, 1e8]


@pytest.fixture
def lognormal():
    return likelihoods.get("poisson_lognormal")()


@mpmath.memoize
def exact(x: int, mean: float, theta: float) -> mpmath.mpf:
    """∫ Poisson(x | e^u) N(u | log μ − v/2, v) du, v = log(1 + 1/θ), by mpmath.quad."""
    with mpmath.workdps(40):
        v = mpmath.log1p(1 / mpmath.mpf(theta))
        m = mpmath.log(mean) - v / 2

        def log_integrand(u):
            return x * u - mpmath.exp(u) - mpmath.loggamma(x + 1) - (u - m) ** 2 / (2 * v)

        low = m if x <= mpmath.exp(m) else mpmath.mpf(m)
        high = mpmath.log(x) if x > mpmath.exp(m) else m + 1
        low = low if x > mpmath.exp(m) else m - v * mpmath.exp(m) - 1
        for _ in range(160):  # the mode, by halving: the slope x − e^u − (u − m)/v falls with u
            u = (low + high) / 2
            rises = x - mpmath.exp(u) - (u - m) / v > 0
            low, high = (u, high) if rises else (low, u)
        top, width = log_integrand(u), 1 / mpmath.sqrt(mpmath.exp(u) + 1 / v)
        ends = []
        for sign in (-1, 1):
            far = width
            while top - log_integrand(u + sign * far) < 80:
                far *= 1.5
            ends.append(u + sign * far)
        pieces = mpmath.linspace(ends[0], ends[1], 21)
        total = mpmath.quad(lambda at: mpmath.exp(log_integrand(at) - top), pieces, maxdegree=4)
        return top + mpmath.log(total) - mpmath.log(2 * mpmath.pi * v) / 2


@pytest.mark.parametrize("theta", THETAS)
@pytest.mark.parametrize("mean", MEANS)
def test_log_pmf_agrees_with_quadrature_in_40_digits(lognormal, t64, mean, theta):
    """Oracle: mpmath.quad (tanh–sinh) on 20 panels. 1e-9 of max(1, |log p|) in float64."""
    expected = np.array([float(exact(x, mean, theta)) for x in COUNTS])
    at = {"mean": t64(mean), "inverse_dispersion": t64(theta)}
    actual = lognormal.log_pmf(t64(COUNTS), **at).numpy()
    error = np.abs(actual - expected) / np.maximum(1, np.abs(expected))
    assert error.max() < 1e-9
    assert error[:5].max() < 1e-12


@pytest.mark.parametrize(("mean", "theta"), [(0.5, 0.3), (8.0, 4.0)])
def test_agrees_with_scipy(lognormal, t64, mean, theta):
    """Oracle: SciPy's adaptive quadrature of Poisson times log-normal, a check of the formula."""
    v = np.log1p(1 / theta)
    rates = stats.lognorm(np.sqrt(v), scale=mean * np.exp(-v / 2))
    at = {"mean": t64(mean), "inverse_dispersion": t64(theta)}
    for x in (0, 1, 7):
        expected, _ = integrate.quad(
            lambda rate, x=x: stats.poisson(rate).pmf(x) * rates.pdf(rate), 0, 400, limit=400,
            epsabs=1e-12,
        )  # fmt: skip
        np.testing.assert_allclose(lognormal.log_pmf(t64(x), **at).exp(), expected, rtol=1e-7)
    np.testing.assert_allclose(rates.mean(), mean, rtol=1e-12)
    np.testing.assert_allclose(lognormal.variance(**at), mean + rates.var(), rtol=1e-10)


@pytest.mark.parametrize("theta", [1e-3, 30.0])
def test_gradients_agree_with_differences_in_40_digits(lognormal, t64, theta):
    """Oracle: central differences of mpmath's quadrature in log μ and log θ."""
    step = 1e-4
    for x, mean in ((0, 2.0), (3, 0.4), (200, 90.0)):
        raw = torch.tensor([np.log(mean), np.log(theta)], dtype=torch.float64, requires_grad=True)
        mu, size = raw.exp()
        value = lognormal.log_pmf(t64(x), mean=mu, inverse_dispersion=size)
        (actual,) = torch.autograd.grad(value, raw)
        up, down = np.exp(step), np.exp(-step)
        expected = [
            float(exact(x, mean * up, theta) - exact(x, mean * down, theta)) / (2 * step),
            float(exact(x, mean, theta * up) - exact(x, mean, theta * down)) / (2 * step),
        ]
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)  # of the differences


@pytest.mark.parametrize("mean", [1e-3, 1.0, 50.0])
def test_without_spread_it_is_poisson(lognormal, t64, mean):
    """Limit σ → 0. Oracle: scipy.stats.poisson; the gap is below ((x−μ)² + x + μ)/2θ."""
    counts, theta = np.array([0, 1, 2, 7, 80]), 1e9
    actual = lognormal.log_pmf(t64(counts), mean=t64(mean), inverse_dispersion=t64(theta)).numpy()
    gap = np.abs(actual - stats.poisson(mean).logpmf(counts))
    assert (gap <= 1.01 * ((counts - mean) ** 2 + counts + mean) / (2 * theta) + 1e-12).all()


@pytest.mark.parametrize(("mean", "theta"), [(0.3, 0.05), (4.0, 2.0), (300.0, 50.0), (2.0, 1e5)])
def test_cdf_agrees_with_quadrature(mean, theta):
    """Oracle: SciPy's adaptive quadrature of the Poisson's cdf over the normal, at real counts."""
    v = np.log1p(1 / theta)
    for x in (0.0, 0.5, 3.0, 40.25, 310.0):
        expected, _ = integrate.quad(
            lambda z, x=x: stats.gamma(x + 1).sf(mean * np.exp(np.sqrt(v) * z - v / 2))
            * stats.norm.pdf(z),
            -9, 9, points=[-3, 0, 3], epsabs=1e-13, limit=400,
        )  # fmt: skip
        actual = cumulated(np.array([x]), np.array([mean]), np.array([theta]))
        np.testing.assert_allclose(actual, expected, atol=1e-11)


def test_both_ways_to_the_cdf_meet():
    """Limit: on either side of the switch the two integrals give the same number."""
    x = np.array([30.0, 30.0])
    theta = 1 / np.expm1(np.array([1 / 31 * 0.9999, 1 / 31 * 1.0001]))
    low, high = cumulated(x, np.full(2, 28.0), theta)
    np.testing.assert_allclose(low, high, rtol=1e-4)
    assert low != high


@pytest.mark.parametrize("ends", [((-8, 6), (-8, 1)), ((-1, 2), (-1, 1))], ids=["wide", "worst"])
@pytest.mark.parametrize("rule", [TRAINING, FULL])
def test_the_rules_err_no_more_than_they_say(rule, ends):
    """Oracle: the same integrals by a rule twice as fine and deep.

    The worst place, rates of some counts and a wide normal, is looked at more closely: there the
    two widths that bound the step are alike, and neither bound was meant for both.
    """
    from countae.kernels.poisson_lognormal import Rule, _integral

    rate, v = (torch.logspace(*end, 60, dtype=torch.float64) for end in ends)
    rate, v = (grid.reshape(-1) for grid in torch.meshgrid(rate, v, indexing="ij"))
    fine = Rule(2 * rule.depth, rule.of_width / 2, rule.of_exponential / 2)
    gap = (_integral(rate, v, rule)[0] - _integral(rate, v, fine)[0]).abs().max()
    assert gap < (3e-8 if rule is TRAINING else 2e-12)


def test_the_mode_is_where_the_slope_is_zero(t64):
    """Oracle: x − e^(m + r) − r/v by hand, over the size of its terms."""
    x, mu, v = np.meshgrid([0, 1, 50, 1e6], [1e-6, 1.0, 1e5], [1e-8, 0.5, 9.0])
    x, mu, v = (t64(a.reshape(-1)) for a in (x, mu, v))
    r = mode(x, mu, v)
    rate = mu * torch.exp(r - v / 2)
    size = torch.maximum(torch.maximum(x, rate), (r / v).abs())
    assert ((x - rate - r / v).abs() / size).max() < 1e-8


@pytest.mark.parametrize(("mean", "theta"), [(0.3, 0.5), (5.0, 2.0), (40.0, 1e3)])
def test_samples(lognormal, assert_samples_agree, mean, theta):
    """Oracle: mean, variance μ + μ²/θ, and zeros by SciPy's quadrature; four standard errors."""
    v = np.log1p(1 / theta)
    zero, _ = integrate.quad(
        lambda z: np.exp(-mean * np.exp(np.sqrt(v) * z - v / 2)) * stats.norm.pdf(z), -9, 9
    )
    assert_samples_agree(
        lognormal,
        {"mean": mean, "inverse_dispersion": theta},
        mean=mean,
        variance=mean + mean**2 / theta,
        zero=zero,
    )


def test_constrain_by_hand(lognormal, t64):
    """Oracle: μ = s e^η, θ = e^ζ, by hand."""
    raw = {"log_mean": t64([[0.0], [1.0]]), "log_inverse_dispersion": t64([np.log(3.0)])}
    made = lognormal.constrain(raw, t64([[0.5], [4.0]]))
    np.testing.assert_allclose(made["mean"], [[0.5], [4 * np.e]], rtol=1e-14)
    np.testing.assert_allclose(made["inverse_dispersion"], [3.0], rtol=1e-14)

"""Special functions against 50-digit arithmetic."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch

from countae.kernels.special import (
    _stirling_remainder,
    log1mexp,
    log_normal_interval,
    log_rising_ratio,
)

COUNTS = [0, 1, 2, 3, 12, 13, 50, 1_000, 10_000, 1_000_000]
THETAS = [1e-3, 1e-2, 0.1, 1.0, 5.0, 15.99, 16.0, 30.0, 100.0, 1e3, 1e4, 1e6, 1e8]


def exact_ratio(x, theta):
    """log Γ(x+θ) − log Γ(θ) − x log θ and θ d/dθ of it, in 50 digits."""
    with mpmath.workdps(50):
        theta = mpmath.mpf(theta)
        value = mpmath.loggamma(x + theta) - mpmath.loggamma(theta) - x * mpmath.log(theta)
        slope = theta * (mpmath.digamma(x + theta) - mpmath.digamma(theta)) - x
        return float(value), float(slope)


def ratio_errors(theta, dtype):
    """Error over max(1, |exact|) of the value and of the slope in log θ, per count."""
    log_theta = torch.full((len(COUNTS),), np.log(theta), dtype=dtype).requires_grad_()
    at = log_theta.exp()
    value = log_rising_ratio(torch.tensor(COUNTS, dtype=dtype), at)
    (slope,) = torch.autograd.grad(value.sum(), log_theta)
    exact = np.array([exact_ratio(x, at[0].item()) for x in COUNTS]).T
    actual = np.stack([value.detach().numpy(), slope.numpy()]).astype(np.float64)
    return np.abs(actual - exact) / np.maximum(1, np.abs(exact))


@pytest.mark.parametrize("theta", THETAS)
def test_log_rising_ratio_and_slope(theta):
    """Oracle: mpmath. Float64: x/θ is rounded once, which x²/2θ ≤ 5e3 makes 1e-11 at most."""
    assert ratio_errors(theta, torch.float64).max() < 1e-11


@pytest.mark.parametrize("theta", THETAS)
def test_log_rising_ratio_and_slope_in_float32(theta):
    """Oracle: mpmath. From θ = 16 terms of size x cancel to x²/2θ, below lgammas of up to 30."""
    value, slope = ratio_errors(theta, torch.float32)
    counts = np.array(COUNTS)
    exact = np.maximum(1, [abs(exact_ratio(x, theta)[0]) for x in COUNTS])
    allowed = 5e-6 + 2e-7 * counts / exact
    assert (value <= allowed).all()
    assert (slope <= 4 * allowed).all()


@pytest.mark.parametrize("theta", [1e-3, 0.3, 7.0, 500.0])
def test_log_rising_ratio_is_the_sum_of_log1p(theta):
    """Oracle: the definition, Σ_{k<x} log1p(k/θ), summed by NumPy."""
    counts = torch.arange(60, dtype=torch.float64)
    terms = np.log1p(np.arange(59) / theta)
    expected = np.concatenate([[0.0], np.cumsum(terms)])
    actual = log_rising_ratio(counts, torch.tensor(theta, dtype=torch.float64))
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)


def test_log_rising_ratio_is_never_negative():
    """A sum of log1p(k/θ) cannot be: nothing below the rounding of two lgammas of 30."""
    counts = torch.tensor(COUNTS, dtype=torch.float64)[:, None].expand(-1, len(THETAS))
    value = log_rising_ratio(counts.contiguous(), torch.tensor(THETAS, dtype=torch.float64))
    assert value.min() >= -2e-14


@pytest.mark.parametrize("z", [16.0, 16.5, 20.0, 100.0, 1e4, 1e8])
def test_stirling_remainder(z):
    """Oracle: mpmath; the docstring of log_rising_ratio promises 2e-11."""
    with mpmath.workdps(50):
        x = mpmath.mpf(z)
        expected = float(
            mpmath.loggamma(x) - ((x - 0.5) * mpmath.log(x) - x + mpmath.log(2 * mpmath.pi) / 2)
        )
    assert abs(float(_stirling_remainder(torch.tensor(z, dtype=torch.float64))) - expected) < 1e-13


def normal_cdf(z):
    """Φ(z) in mpmath, without cancellation for z ≤ 0."""
    return (
        mpmath.erfc(-mpmath.mpf(z) / mpmath.sqrt(2)) / 2 if np.isfinite(z) else mpmath.mpf(z > 0)
    )


@pytest.mark.parametrize("width", [1e-6, 1e-3, 1.0, 30.0, np.inf])
@pytest.mark.parametrize("lower", [-np.inf, -1e4, -40.0, -8.0, -0.3, 0.0, 0.2, 8.0, 40.0, 1e4])
def test_log_normal_interval(lower, width):
    """Oracle: mpmath's erfc, mirrored by hand. 1e-8 of max(1, |value|) where the interval is wide.

    The two log Φ of size z²/2 are known to 2e-16 each, and an interval narrower than that
    resolves cannot be better: that rounding is allowed for.
    """
    if np.isinf(lower) and np.isinf(width):
        pytest.skip("everything: log 1, tested below")
    upper = 0.5 + width if np.isinf(lower) else lower + width
    with mpmath.workdps(60):
        low, high = (-upper, -lower) if lower > 0 else (lower, upper)
        tails = [normal_cdf(low), normal_cdf(high)]
        expected = float(mpmath.log(tails[1] - tails[0]))
    actual = log_normal_interval(*torch.tensor([[lower], [upper]], dtype=torch.float64)).item()
    assert np.isfinite(actual)
    z = min(abs(low), abs(high))
    rounding = 1e-15 * (1 + z * z) / (min(width, 1.0) * max(z, 1.0))
    assert abs(actual - expected) <= (1e-12 + rounding) * max(1, abs(expected))


def test_log_normal_interval_of_everything():
    """Limit: all the mass is log 1."""
    everything = torch.tensor([-np.inf], dtype=torch.float64), torch.tensor([50.0]).double()
    assert float(log_normal_interval(*everything)) == 0.0


@pytest.mark.parametrize("a", [-1e-300, -1e-17, -1e-5, -0.5, -0.69, -0.70, -1.0, -40.0, -800.0])
def test_log1mexp(a):
    """Oracle: mpmath with 400 digits, since 1 − e^a cancels; float64 roundings."""
    with mpmath.workdps(400):
        expected = float(mpmath.log(-mpmath.expm1(mpmath.mpf(a))))
    actual = float(log1mexp(torch.tensor(a, dtype=torch.float64)))
    np.testing.assert_allclose(actual, expected, rtol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_gradient_of_log1mexp(dtype):
    """Oracle: −1/expm1(−a) by hand, also where one of the two forms is infinite."""
    a = torch.tensor([-1e-30, -1e-9, -0.5, -0.7, -5.0, -800.0], dtype=dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(log1mexp(a).sum(), a)
    expected = -1 / np.expm1(-a.detach().numpy().astype(np.float64).clip(-700))
    np.testing.assert_allclose(
        gradient, expected, rtol=1e-6 if dtype == torch.float32 else 1e-12, atol=1e-30
    )

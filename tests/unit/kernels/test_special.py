"""Special functions against 50-digit arithmetic."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch

from countae.kernels.special import log1mexp, log_normal_interval


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

"""Huber's loss: its density cut into integers, against quadrature in mpmath and SciPy."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats

from countae import likelihoods

COUNTS = np.array([0, 1, 2, 7, 40])


@pytest.fixture
def huber():
    return likelihoods.get("huber")()


@pytest.fixture
def with_delta(huber):
    """The loss with another δ."""
    return lambda delta: type("Other", (type(huber),), {"delta": delta})()


@pytest.fixture
def parameters(t64):
    return lambda m, s, size=1.0: {
        "location": t64(m), "scale": t64(s), "size_factor": t64(size)
    }  # fmt: skip


def density(delta, s):
    """exp(−ρ(r)/s²), with SciPy's ρ."""
    return lambda r: np.exp(-special.huber(delta, r) / s**2)


def integral(f, s):
    """∫ f over all residuals, in pieces."""
    ends = [0, 0.5, 1, 2, 5, 10, 40, 200]
    pieces = zip([s * e for e in ends[:-1]], [s * e for e in ends[1:]], strict=True)
    return 2 * sum(integrate.quad(f, a, b, epsabs=1e-14, epsrel=1e-12)[0] for a, b in pieces)


def exact_log_pmf(k: int, m: float, s: float) -> float:
    """Quadrature of exp(−ρ/s²) with δ = 1 in 30 digits, in pieces between kinks and steps of s.

    The integrand is one at its largest, since quadrature stops at an absolute error.
    """

    def cost(r):
        return (r * r / 2 if abs(r) <= 1 else abs(r) - mpmath.mpf(1) / 2) / s**2

    def log_area(low, high):
        least = cost(0 if low < 0 < high else min(abs(low), abs(high)))
        steps = [e * s for e in (0.5, 1, 2, 4, 8, 16)] + [1 + e * s * s for e in (0, 1, 5, 20, 60)]
        ends = sorted([0, *steps, *(-r for r in steps)])
        ends = [low, *(r for r in ends if low < r < high), high]
        return mpmath.log(mpmath.quad(lambda r: mpmath.exp(least - cost(r)), ends)) - least

    with mpmath.workdps(30):
        m, s, half = mpmath.mpf(m), mpmath.mpf(s), mpmath.mpf(1) / 2
        low = -mpmath.inf if k == 0 else k - half - m
        return float(log_area(low, k + half - m) - log_area(-mpmath.inf, mpmath.inf))


@pytest.mark.parametrize("scale", [0.2, 0.8, 3.0, 40.0])
@pytest.mark.parametrize("location", [-3.0, 0.0, 0.3, 6.9])
def test_log_pmf_agrees_with_quadrature(huber, t64, parameters, location, scale):
    """Oracle: mpmath.quad in 30 digits; 1e-9 of max(1, |log p|)."""
    expected = np.array([exact_log_pmf(int(k), location, scale) for k in COUNTS])
    actual = huber.log_pmf(t64(COUNTS), **parameters(location, scale)).numpy()
    assert np.max(np.abs(actual - expected) / np.maximum(1, np.abs(expected))) < 1e-9


@pytest.mark.parametrize("delta", [0.3, 1.0, 4.0])
def test_loss_agrees_with_scipy(with_delta, t64, delta):
    """Oracle: scipy.special.huber of x − s m; the gradient is the residual, cut at ±δ."""
    loss = with_delta(delta)
    made = loss.constrain(
        {"log_location": t64([2.0]).log(), "log_scale": t64([0.0])}, t64([[1.5]])
    )
    counts = t64([[0.0], [2.0], [3.0], [3.2], [5.0], [90.0]])
    residual = counts.numpy() - 3.0
    np.testing.assert_allclose(
        loss.loss(counts, **made), special.huber(delta, residual), rtol=1e-14
    )
    location = made["location"].expand_as(counts).clone().requires_grad_()
    loss.loss(counts, **made | {"location": location}).sum().backward()
    np.testing.assert_allclose(location.grad, -np.clip(residual, -delta, delta), rtol=1e-14)


def test_delta_is_one_count(huber):
    """What the documentation says."""
    assert huber.delta == 1.0


@pytest.mark.parametrize("s", [0.3, 1.0, 5.0])
def test_variance_agrees_with_quadrature(huber, parameters, s):
    """Oracle: ∫ r² e^{−ρ(r)/s²} by scipy.integrate.quad; 1e-8."""
    f = density(1.0, s)
    width = s * max(1.0, s)  # the tail falls by e every s²/δ
    expected = integral(lambda r: r * r * f(r), width) / integral(f, width)
    np.testing.assert_allclose(huber.variance(**parameters([5.0], [s])), [expected], rtol=1e-8)


@pytest.mark.parametrize("s", [0.4, 1.5, 6.0])
def test_scale_is_the_maximum_of_likelihood(huber, t64, parameters, s):
    """Oracle: SciPy's minimiser of the summed −log density, its constant by quadrature; 1e-5, as a
    minimum is flat. The calibration begins here.
    """
    residual = np.random.default_rng(2).laplace(scale=s, size=200)

    def negative_log_likelihood(log_scale):
        scale = np.exp(log_scale)
        total = np.log(integral(density(1.0, scale), scale * max(1.0, scale)))
        return special.huber(1.0, residual).sum() / scale**2 + len(residual) * total

    best = optimize.minimize_scalar(
        negative_log_likelihood, bounds=np.log([s / 5, s * 5]), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    found = huber.log_scale_of(huber.penalty(t64(residual)).mean())
    np.testing.assert_allclose(found, best.x, atol=1e-5)


@pytest.mark.parametrize("s", [0.3, 2.0])
def test_large_delta_is_the_squared_error(with_delta, t64, parameters, s):
    """Limit δ → ∞. Oracle: SciPy's normal of standard deviation s, and half the squared error."""
    loss, counts = with_delta(1e4), np.arange(0, 9)
    at = parameters(2.3, s)
    expected = np.diff(stats.norm(2.3, s).cdf(counts + 0.5), prepend=0.0)
    np.testing.assert_allclose(
        loss.log_pmf(t64(counts), **at).exp(), expected, rtol=1e-9, atol=1e-15
    )
    np.testing.assert_allclose(loss.loss(t64(counts), **at), 0.5 * (counts - 2.3) ** 2)
    np.testing.assert_allclose(loss.variance(**at), s**2)
    squares = t64([[4.0], [1.0]])
    np.testing.assert_allclose(loss.log_scale_of(0.5 * squares), 0.5 * squares.log(), atol=1e-12)


@pytest.mark.parametrize("s", [0.3, 2.0])
def test_small_delta_is_the_absolute_error(with_delta, t64, parameters, s):
    """Limit δ → 0. Oracle: SciPy's Laplace, of scale s²/δ = s here, and δ times the absolute
    error; the gap is of the order of δ over the scale.
    """
    delta = 1e-7
    loss, counts = with_delta(delta), np.arange(0, 9)
    at = parameters(2.3, np.sqrt(s * delta))
    expected = np.diff(stats.laplace(2.3, s).cdf(counts + 0.5), prepend=0.0)
    np.testing.assert_allclose(loss.log_pmf(t64(counts), **at).exp(), expected, rtol=2e-6)
    np.testing.assert_allclose(
        loss.loss(t64(counts), **at) / delta, np.abs(counts - 2.3), rtol=1e-6
    )
    np.testing.assert_allclose(loss.variance(**at), 2 * s**2, rtol=1e-6)
    gaps = t64([[4.0], [0.1]])
    np.testing.assert_allclose(
        loss.log_scale_of(delta * gaps), 0.5 * (delta * gaps).log(), atol=1e-6
    )


@pytest.mark.parametrize(("m", "s"), [(0.3, 0.5), (30.0, 2.0), (8.0, 0.9)])
def test_samples(huber, t64, parameters, assert_samples_agree, m, s):
    """Oracle: moments of quadrature's masses of counts; four standard errors."""
    counts = np.arange(0, 90)
    f, total = density(1.0, s), integral(density(1.0, s), s * max(1.0, s))
    mass = np.array([integrate.quad(f, k - 0.5 - m, k + 0.5 - m)[0] / total for k in counts])
    mass[0] = 1 - mass[1:].sum()
    mean = (mass * counts).sum()
    assert_samples_agree(
        huber,
        {"location": m, "scale": s, "size_factor": 1.0},
        mean=mean,
        variance=(mass * counts**2).sum() - mean**2,
        zero=mass[0],
    )


def test_tails_are_exponential(huber, t64, parameters):
    """Limit, by hand: beyond δ each further count costs δ/s² nats, however far; no infinity."""
    log_pmf = huber.log_pmf(t64([1e3, 1e3 + 1, 1e6]), **parameters(0.0, 0.5)).numpy()
    np.testing.assert_allclose(log_pmf[0] - log_pmf[1], 4.0, rtol=1e-9)
    np.testing.assert_allclose(log_pmf[0] - log_pmf[2], 4.0 * (1e6 - 1e3), rtol=1e-12)
    assert torch.isfinite(huber.log_pmf(t64([0.0]), **parameters(1e6, 0.5))).all()


@pytest.mark.parametrize("count", [0.0, 3.0, 4.0, 10.0])
def test_slopes_in_the_scale_outside_the_squared_part(count):
    """Oracle: central differences; 0 and 10 lie beyond δ on either side."""
    counts, location = torch.tensor(count).double(), torch.tensor(3.0).double()

    def value(scale):
        one = torch.ones((), dtype=torch.float64)
        return likelihoods.get("huber")().log_pmf(
            counts, location=location, scale=scale, size_factor=one
        )

    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    value(scale).backward()
    with torch.no_grad():
        expected = (value(scale + 1e-5) - value(scale - 1e-5)) / 2e-5
    assert scale.grad.item() == pytest.approx(expected.item(), rel=1e-6)

"""Squared error on counts: the Gaussian cut into integers, against 50-digit arithmetic."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy import stats

from countae import likelihoods

COUNTS = np.array([0, 1, 2, 7, 150, 10_000])


@pytest.fixture
def mse():
    return likelihoods.get("mse_counts")()


@pytest.fixture
def parameters(t64):
    return lambda m, s, size=1.0: {
        "location": t64(m), "scale": t64(s), "size_factor": t64(size)
    }  # fmt: skip


def normal_mass(low, high):
    """Φ(high) − Φ(low) without cancellation, in mpmath."""
    if low > 0:
        low, high = -high, -low
    lower = mpmath.mpf(0) if low == -mpmath.inf else mpmath.erfc(-low / mpmath.sqrt(2)) / 2
    return mpmath.erfc(-high / mpmath.sqrt(2)) / 2 - lower


def exact_log_pmf(k: int, m: float, s: float) -> float:
    with mpmath.workdps(50):
        m, s = mpmath.mpf(m), mpmath.mpf(s)
        low = -mpmath.inf if k == 0 else (k - mpmath.mpf(1) / 2 - m) / s
        return float(mpmath.log(normal_mass(low, (k + mpmath.mpf(1) / 2 - m) / s)))


@pytest.mark.parametrize("scale", [0.05, 0.7, 12.0, 3e3])
@pytest.mark.parametrize("location", [-3.0, 0.0, 0.2, 6.9, 1e4])
def test_log_pmf_agrees_with_50_digits(mse, t64, parameters, location, scale):
    """Oracle: mpmath, both tails down to e^(−10¹⁰); 1e-9 of max(1, |log p|): the interval of one
    count may be 1e-4 standard deviations wide, and log Φ of its ends differ by no more.
    """
    expected = np.array([exact_log_pmf(int(k), location, scale) for k in COUNTS])
    actual = mse.log_pmf(t64(COUNTS), **parameters(location, scale)).numpy()
    assert np.isfinite(actual).all()
    assert np.max(np.abs(actual - expected) / np.maximum(1, np.abs(expected))) < 1e-9


@pytest.mark.parametrize(("m", "s"), [(0.3, 0.6), (4.0, 2.0), (-1.0, 0.8)])
def test_agrees_with_scipy(mse, t64, parameters, m, s):
    """Oracle: differences of scipy.stats.norm.cdf, all mass below ½ at zero."""
    counts = np.arange(0, 8)
    ends = stats.norm(m, s).cdf(counts + 0.5)
    expected = np.diff(ends, prepend=0.0)
    np.testing.assert_allclose(
        mse.log_pmf(t64(counts), **parameters(m, s)).exp(), expected, rtol=1e-9, atol=1e-15
    )
    np.testing.assert_allclose(mse.cdf(t64(counts), **parameters(m, s)), ends, rtol=1e-12)
    np.testing.assert_allclose(mse.prob_zero(**parameters(m, s)), expected[0], rtol=1e-12)


def test_cdf_is_zero_below_zero(mse, t64, parameters):
    """Limit: no mass below zero, even where the Gaussian has most of its own there."""
    assert float(mse.cdf(t64(-1.0), **parameters(-2.0, 1.0))) == 0.0


@pytest.mark.parametrize(("m", "s"), [(0.3, 0.6), (30.0, 4.0)])
def test_samples(mse, assert_samples_agree, m, s):
    """Oracle: moments of SciPy's normal cut at ½, 1½, …; four standard errors."""
    counts = np.arange(0, 100)
    mass = np.diff(stats.norm(m, s).cdf(counts + 0.5), prepend=0.0)
    mean = (mass * counts).sum()
    variance = (mass * counts**2).sum() - mean**2
    assert_samples_agree(
        mse,
        {"location": m, "scale": s, "size_factor": 1.0},
        mean=mean,
        variance=variance,
        zero=mass[0],
    )


def test_loss_is_the_squared_error_of_counts(mse, t64, parameters):
    """Oracle: (x − s m)² by hand; the head is log m at size factor 1."""
    made = mse.constrain(
        {"log_location": t64([[2.0]]).log(), "log_scale": t64([0.0])}, t64([[1.5]])
    )
    np.testing.assert_allclose(made["location"], [[3.0]])
    np.testing.assert_allclose(mse.loss(t64([[7.0]]), **made), [[16.0]])


def test_mean_is_the_location_and_never_negative(mse, parameters):
    """Oracle: by hand; what a user of the loss reports."""
    np.testing.assert_allclose(mse.mean(**parameters([[2.5, -1.0]], [1.0, 1.0])), [[2.5, 0.0]])


def test_variance_of_a_wide_gaussian_far_from_zero(mse, parameters):
    """Limit, oracle by hand: s² where neither integers (1/12) nor zero matter; 1e-4 of it."""
    np.testing.assert_allclose(mse.variance(**parameters([[500.0]], [50.0])), 2_500, rtol=1e-4)


def test_single_scale_for_all_genes(mse, parameters):
    """Oracle: the root mean square of the genes' scales, √((1 + 49)/2) = 5 by hand."""
    variants = mse.variants(parameters([[2.0, 3.0]], [[1.0, 7.0]]))
    assert list(variants) == ["single_scale"]
    np.testing.assert_allclose(variants["single_scale"]["scale"], [[5.0, 5.0]], rtol=1e-14)
    np.testing.assert_allclose(variants["single_scale"]["location"], [[2.0, 3.0]])


def test_start_by_hand(mse, t64):
    """Oracle: the gene's mean, and a scale of the Poisson's size."""
    moments = likelihoods._base.GeneMoments(t64([4.0]), t64([0.9]), t64([1.5]), t64([0.25]))
    start = mse.start(moments)
    np.testing.assert_allclose(start["log_location"].exp(), [4.0])
    np.testing.assert_allclose(start["log_scale"].exp(), [2.0])

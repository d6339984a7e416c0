"""Squared error on log1p counts: the Gaussian cut into integers, against 50-digit arithmetic."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy import stats

from countae import likelihoods

COUNTS = np.array([0, 1, 2, 7, 150, 10_000, 1_000_000])


@pytest.fixture
def mse():
    return likelihoods.get("mse_log1p")()


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


def exact_log_pmf(k: int, m: float, s: float, size: float) -> float:
    """METRICS: P(k) = Φ((g(k+½)−m)/s) − Φ((g(k−½)−m)/s), g(x) = log(1 + x/size)."""
    with mpmath.workdps(50):
        m, s, size = mpmath.mpf(m), mpmath.mpf(s), mpmath.mpf(size)
        half = mpmath.mpf(1) / 2
        low = -mpmath.inf if k == 0 else (mpmath.log(1 + (k - half) / size) - m) / s
        return float(mpmath.log(normal_mass(low, (mpmath.log(1 + (k + half) / size) - m) / s)))


@pytest.mark.parametrize("size", [0.1, 1.0, 12.0])
@pytest.mark.parametrize("scale", [0.02, 0.5, 20.0])
@pytest.mark.parametrize("location", [-2.0, 0.0, 0.4, 9.0])
def test_log_pmf_agrees_with_50_digits(mse, t64, parameters, location, scale, size):
    """Oracle: mpmath, both tails; 1e-7 of max(1, |log p|), since one count at a million is 1e-6 of
    the log scale or less and the ends are known to 2e-15; 1e-10 up to a count of 150.
    """
    expected = np.array([exact_log_pmf(int(k), location, scale, size) for k in COUNTS])
    actual = mse.log_pmf(t64(COUNTS), **parameters(location, scale, size)).numpy()
    assert np.isfinite(actual).all()
    error = np.abs(actual - expected) / np.maximum(1, np.abs(expected))
    assert error.max() < 1e-7
    assert error[COUNTS <= 150].max() < 1e-10


@pytest.mark.parametrize(("m", "s", "size"), [(0.2, 0.4, 0.5), (1.5, 0.6, 2.0), (-0.3, 0.5, 1.0)])
def test_agrees_with_scipy(mse, t64, parameters, m, s, size):
    """Oracle: differences of scipy.stats.norm.cdf at log1p((k + ½)/size)."""
    counts = np.arange(0, 12)
    ends = stats.norm(m, s).cdf(np.log1p((counts + 0.5) / size))
    expected = np.diff(ends, prepend=0.0)
    at = parameters(m, s, size)
    np.testing.assert_allclose(
        mse.log_pmf(t64(counts), **at).exp(), expected, rtol=1e-9, atol=1e-15
    )
    np.testing.assert_allclose(mse.cdf(t64(counts), **at), ends, rtol=1e-12)
    np.testing.assert_allclose(mse.prob_zero(**at), expected[0], rtol=1e-12)
    assert float(mse.cdf(t64(-1.0), **at)) == 0.0


@pytest.mark.parametrize(("m", "s", "size"), [(0.2, 0.4, 0.5), (1.5, 0.6, 2.0)])
def test_samples(mse, assert_samples_agree, m, s, size):
    """Oracle: moments of SciPy's normal cut at log1p((k + ½)/size); four standard errors."""
    counts = np.arange(0, 5_000)
    mass = np.diff(stats.norm(m, s).cdf(np.log1p((counts + 0.5) / size)), prepend=0.0)
    mean = (mass * counts).sum()
    variance = (mass * counts**2).sum() - mean**2
    assert_samples_agree(
        mse,
        {"location": m, "scale": s, "size_factor": size},
        mean=mean,
        variance=variance,
        zero=mass[0],
    )


def test_loss_is_the_squared_error_of_log1p(mse, t64, parameters):
    """Oracle: (log(1 + x/size) − m)² by hand; the size factor does not touch the location."""
    made = mse.constrain({"location": t64([[0.5]]), "log_scale": t64([0.0])}, t64([[2.0]]))
    expected = (np.log(1 + 6.0 / 2.0) - 0.5) ** 2
    np.testing.assert_allclose(mse.loss(t64([[6.0]]), **made), [[expected]], rtol=1e-14)


def test_mean_is_the_back_transformed_location(mse, parameters):
    """Oracle: size (e^m − 1), and 0 for a negative m, by hand."""
    at = parameters([[1.2, -0.5]], [0.3, 0.3], 2.0)
    np.testing.assert_allclose(mse.mean(**at), [[2 * (np.exp(1.2) - 1), 0.0]], rtol=1e-14)


def test_variance_far_from_zero(mse, parameters):
    """Limit. Oracle: scipy.stats.lognorm where neither integers nor zero matter; 1e-4 of it."""
    at = parameters([[8.0, 6.5]], [0.3, 0.7], 2.0)
    expected = [stats.lognorm(s, scale=2 * np.exp(m)).var() for m, s in ((8.0, 0.3), (6.5, 0.7))]
    np.testing.assert_allclose(mse.variance(**at), [expected], rtol=1e-4)


def test_single_scale_for_all_genes(mse, parameters):
    """Oracle: the root mean square of the genes' scales, √((1 + 49)/2) = 5 by hand."""
    variants = mse.variants(parameters([[2.0, 3.0]], [[1.0, 7.0]]))
    assert list(variants) == ["single_scale"]
    np.testing.assert_allclose(variants["single_scale"]["scale"], [[5.0, 5.0]], rtol=1e-14)
    np.testing.assert_allclose(variants["single_scale"]["location"], [[2.0, 3.0]])


def test_start_by_hand(mse, t64):
    """Oracle: the gene's mean of log1p, and a variance of the same size."""
    moments = likelihoods._base.GeneMoments(t64([4.0]), t64([0.81]), t64([1.5]), t64([0.25]))
    start = mse.start(moments)
    np.testing.assert_allclose(start["location"], [0.81])
    np.testing.assert_allclose(start["log_scale"].exp(), [0.9])

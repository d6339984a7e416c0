"""Absolute error: the Laplace density cut into integers, against SciPy and 50 digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy import stats

from countae import likelihoods

COUNTS = np.array([0, 1, 2, 7, 150, 10_000])


@pytest.fixture
def l1():
    return likelihoods.get("l1")()


@pytest.fixture
def parameters(t64):
    return lambda m, s, size=1.0: {
        "location": t64(m), "scale": t64(s), "size_factor": t64(size)
    }  # fmt: skip


def exact_log_pmf(k: int, m: float, s: float) -> float:
    """Mass between k − ½ and k + ½; below 0 the density is e^{r}/2, above it is its mirror."""

    def below(r):
        return mpmath.exp(r) / 2 if r <= 0 else 1 - mpmath.exp(-r) / 2

    with mpmath.workdps(60):
        m, s, half = mpmath.mpf(m), mpmath.mpf(s), mpmath.mpf(1) / 2
        low, high = (k - half - m) / s, (k + half - m) / s
        if low > 0 and k > 0:  # both ends mirrored, where their difference does not cancel
            low, high = -high, -low
        return float(mpmath.log(below(high) - (0 if k == 0 else below(low))))


@pytest.mark.parametrize("scale", [0.05, 0.7, 12.0, 3e3])
@pytest.mark.parametrize("location", [-3.0, 0.0, 0.2, 6.9, 1e4])
def test_log_pmf_agrees_with_50_digits(l1, t64, parameters, location, scale):
    """Oracle: mpmath, both tails down to e^(−10⁵); 1e-9 of max(1, |log p|)."""
    expected = np.array([exact_log_pmf(int(k), location, scale) for k in COUNTS])
    actual = l1.log_pmf(t64(COUNTS), **parameters(location, scale)).numpy()
    assert np.isfinite(actual).all()
    assert np.max(np.abs(actual - expected) / np.maximum(1, np.abs(expected))) < 1e-9


@pytest.mark.parametrize(("m", "s"), [(0.3, 0.6), (4.0, 2.0), (-1.0, 0.8)])
def test_agrees_with_scipy(l1, t64, parameters, m, s):
    """Oracle: differences of scipy.stats.laplace.cdf, all mass below ½ at zero; its variance."""
    counts = np.arange(0, 8)
    ends = stats.laplace(m, s).cdf(counts + 0.5)
    at = parameters(m, s)
    np.testing.assert_allclose(
        l1.log_pmf(t64(counts), **at).exp(), np.diff(ends, prepend=0.0), rtol=1e-9, atol=1e-15
    )
    np.testing.assert_allclose(l1.cdf(t64(counts), **at), ends, rtol=1e-12)
    np.testing.assert_allclose(l1.prob_zero(**at), ends[0], rtol=1e-12)
    assert float(l1.cdf(t64(-1.0), **at)) == 0.0
    np.testing.assert_allclose(l1.variance(**at), stats.laplace(m, s).var(), rtol=1e-12)
    np.testing.assert_allclose(l1.mean(**at), max(m, 0.0))


@pytest.mark.parametrize(("m", "s"), [(0.3, 0.6), (30.0, 4.0)])
def test_samples(l1, assert_samples_agree, m, s):
    """Oracle: moments of SciPy's Laplace density cut at ½, 1½, …; four standard errors."""
    counts = np.arange(0, 400)
    mass = np.diff(stats.laplace(m, s).cdf(counts + 0.5), prepend=0.0)
    mean = (mass * counts).sum()
    assert_samples_agree(
        l1,
        {"location": m, "scale": s, "size_factor": 1.0},
        mean=mean,
        variance=(mass * counts**2).sum() - mean**2,
        zero=mass[0],
    )


def test_loss_is_the_absolute_error_of_counts(l1, t64):
    """Oracle: |x − s m| by hand; the head predicts the count at size factor 1."""
    made = l1.constrain(
        {"log_location": t64([[2.0]]).log(), "log_scale": t64([0.0])}, t64([[1.5]])
    )
    np.testing.assert_allclose(l1.loss(t64([[7.0]]), **made), [[4.0]])
    np.testing.assert_allclose(l1.loss(t64([[1.0]]), **made), [[2.0]])

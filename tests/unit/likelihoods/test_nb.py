"""Negative binomial against SciPy and 50-digit arithmetic."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, stats

from countae import likelihoods

COUNTS = np.array([0, 1, 2, 3, 7, 12, 13, 150, 10_000, 1_000_000])
MEANS = [1e-4, 1e-2, 1.0, 30.0, 1e4]
THETAS = [1e-3, 1e-2, 0.7, 5.0, 15.99, 16.0, 100.0, 1e4, 1e6]


@pytest.fixture
def nb():
    return likelihoods.get("nb")()


def exact_log_pmf(x: int, mu: float, theta: float) -> mpmath.mpf:
    """Γ(x+θ)/(Γ(θ) x!) (θ/(θ+μ))^θ (μ/(θ+μ))^x, as in the textbook, in 50 digits."""
    mu, theta = mpmath.mpf(mu), mpmath.mpf(theta)
    return (
        mpmath.loggamma(x + theta)
        - mpmath.loggamma(theta)
        - mpmath.loggamma(x + 1)
        + theta * mpmath.log(theta / (theta + mu))
        + x * mpmath.log(mu / (theta + mu))
    )


@pytest.mark.parametrize("theta", THETAS)
@pytest.mark.parametrize("mean", MEANS)
def test_log_pmf_agrees_with_50_digits(nb, t64, mean, theta):
    """Oracle: mpmath. 1e-9 of max(1, |log p|): terms of 1e7 for a count of 1e6 leave that."""
    with mpmath.workdps(50):
        expected = np.array([float(exact_log_pmf(int(x), mean, theta)) for x in COUNTS])
    actual = nb.log_pmf(t64(COUNTS), mean=t64(mean), inverse_dispersion=t64(theta)).numpy()
    error = np.abs(actual - expected) / np.maximum(1, np.abs(expected))
    assert error.max() < 1e-9
    assert error[COUNTS <= 150].max() < 1e-12


@pytest.mark.parametrize("theta", [1e-2, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("mean", [1e-3, 1.0, 200.0])
def test_log_pmf_and_cdf_agree_with_scipy(nb, t64, mean, theta):
    """Oracle: scipy.stats.nbinom(n=θ, p=θ/(θ+μ)); SciPy's own p loses digits at large θ."""
    scipy_nb = stats.nbinom(theta, theta / (theta + mean))
    parameters = {"mean": t64(mean), "inverse_dispersion": t64(theta)}
    counts = np.array([0, 1, 2, 7, 150])
    np.testing.assert_allclose(
        nb.log_pmf(t64(counts), **parameters), scipy_nb.logpmf(counts), rtol=1e-7, atol=1e-9
    )
    counts = np.array([-2, -1, 0, 1, 2, 7, 150])
    np.testing.assert_allclose(
        nb.cdf(t64(counts), **parameters), scipy_nb.cdf(counts), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize(("mean", "theta"), [(1e-4, 1e-3), (1.0, 1e6), (30.0, 0.5), (1e4, 16.0)])
def test_cdf_agrees_with_50_digits(nb, t64, mean, theta):
    """Oracle: mpmath's regularised incomplete beta function, integers and between them."""
    counts = [0, 0.5, 3, 40, 9_000.25]
    with mpmath.workdps(50):
        p = mpmath.mpf(theta) / (mpmath.mpf(theta) + mean)
        expected = [float(mpmath.betainc(theta, k + 1, 0, p, regularized=True)) for k in counts]
    actual = nb.cdf(t64(counts), mean=t64(mean), inverse_dispersion=t64(theta))
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


@pytest.mark.parametrize("theta", THETAS)
@pytest.mark.parametrize("mean", MEANS)
def test_moments_and_zeros(nb, t64, mean, theta):
    """Oracle: variance μ + μ²/θ and P(0) = (θ/(θ+μ))^θ in 50 digits."""
    parameters = {"mean": t64(mean), "inverse_dispersion": t64(theta)}
    with mpmath.workdps(50):
        zero = float((mpmath.mpf(theta) / (mpmath.mpf(theta) + mean)) ** mpmath.mpf(theta))
    np.testing.assert_allclose(nb.prob_zero(**parameters), zero, rtol=1e-11)
    np.testing.assert_allclose(nb.variance(**parameters), mean + mean**2 / theta, rtol=1e-14)
    assert float(nb.mean(**parameters)) == mean


@pytest.mark.parametrize(("mean", "theta"), [(0.1, 0.2), (2.0, 1.0), (30.0, 20.0), (3.0, 1e4)])
def test_samples(nb, assert_samples_agree, mean, theta):
    """Oracle: the closed moments; four standard errors."""
    assert_samples_agree(
        nb,
        {"mean": mean, "inverse_dispersion": theta},
        mean=mean,
        variance=mean + mean**2 / theta,
        zero=(theta / (theta + mean)) ** theta,
    )


@pytest.mark.parametrize("mean", [1e-3, 1.0, 50.0])
def test_large_inverse_dispersion_is_poisson(nb, t64, mean):
    """Limit θ → ∞. Oracle: scipy.stats.poisson; the gap is below ((x−μ)² + μ)/2θ."""
    counts, theta = np.array([0, 1, 2, 7, 80]), 1e8
    actual = nb.log_pmf(t64(counts), mean=t64(mean), inverse_dispersion=t64(theta)).numpy()
    gap = np.abs(actual - stats.poisson(mean).logpmf(counts))
    assert (gap <= 1.01 * ((counts - mean) ** 2 + counts + mean) / (2 * theta) + 1e-12).all()


def test_is_a_gamma_mixture_of_poissons(nb, t64):
    """Oracle: ∫ Poisson(x | λ) Gamma(λ | θ, μ/θ) dλ by adaptive quadrature."""
    mean, theta = 2.5, 1.7
    rates = stats.gamma(theta, scale=mean / theta)
    for x in (0, 1, 6):
        expected, _ = integrate.quad(
            lambda rate, x=x: stats.poisson(rate).pmf(x) * rates.pdf(rate), 0, 60, epsabs=1e-13
        )
        actual = nb.log_pmf(t64(x), mean=t64(mean), inverse_dispersion=t64(theta)).exp()
        np.testing.assert_allclose(actual, expected, rtol=1e-8)


@pytest.mark.parametrize("theta", [1e-3, 0.7, 15.9, 16.1, 1e4, 1e7])
@pytest.mark.parametrize("mean", [1e-3, 1.0, 200.0])
def test_gradients_agree_with_50_digits(nb, mean, theta):
    """Oracle: the score in log μ and in log θ by mpmath's digamma; 1e-9 of max(1, |gradient|)."""
    raw = torch.tensor([np.log(mean), np.log(theta)], dtype=torch.float64, requires_grad=True)
    for x in (0, 1, 5, 300):
        at = raw.exp()
        value = nb.log_pmf(at.new_tensor(float(x)), mean=at[0], inverse_dispersion=at[1])
        (gradient,) = torch.autograd.grad(value, raw)
        with mpmath.workdps(50):
            mu, size = mpmath.mpf(at[0].item()), mpmath.mpf(at[1].item())
            of_mean = (x - mu) * size / (mu + size)
            of_theta = size * (
                mpmath.digamma(x + size)
                - mpmath.digamma(size)
                + mpmath.log(size / (size + mu))
                + (mu - x) / (mu + size)
            )
            expected = np.array([float(of_mean), float(of_theta)])
        assert (np.abs(gradient.numpy() - expected) <= 1e-9 * np.maximum(1, abs(expected))).all()


def test_constrain_by_hand(nb, t64):
    """Oracle: μ = s exp(η), θ = exp(ζ), by hand."""
    raw = {"log_mean": t64([[0.0], [1.0]]), "log_inverse_dispersion": t64([np.log(3.0)])}
    made = nb.constrain(raw, t64([[0.5], [4.0]]))
    np.testing.assert_allclose(made["mean"], [[0.5], [4 * np.e]], rtol=1e-14)
    np.testing.assert_allclose(made["inverse_dispersion"], [3.0], rtol=1e-14)

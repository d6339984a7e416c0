"""Hurdle negative binomial against SciPy and 50-digit arithmetic."""

from __future__ import annotations

import exact
import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from countae import likelihoods

COUNTS = np.array([0, 1, 2, 7, 150, 10_000])
MIXED = [(0.5, 0.3, 0.7), (5.0, 2.0, 0.6), (20.0, 1e4, 0.05), (0.02, 0.5, 0.4)]


@pytest.fixture
def hurdle():
    return likelihoods.get("hurdle_nb")()


@pytest.fixture
def parameters(t64):
    return lambda mean, theta, logit: {
        "mean": t64(mean), "inverse_dispersion": t64(theta), "prob_zero_logit": t64(logit)
    }  # fmt: skip


def logit(p):
    return np.log(p) - np.log1p(-p)


def scipy_pmf(counts, mean, theta, zero):
    nb = stats.nbinom(theta, theta / (theta + mean))
    return np.where(counts == 0, zero, (1 - zero) * nb.pmf(counts) / nb.sf(0))


@pytest.mark.parametrize("theta", [1e-3, 0.7, 16.0, 1e6])
@pytest.mark.parametrize("mean", [1e-12, 1e-4, 1.0, 1e4])
@pytest.mark.parametrize("zero_logit", [-40.0, -2.0, 0.0, 30.0])
def test_log_pmf_and_cdf_agree_with_50_digits(hurdle, t64, parameters, mean, theta, zero_logit):
    """Oracle: mpmath, also where the NB is zero but for 1e-12; 1e-10 of max(1, |log p|)."""
    with mpmath.workdps(50):
        mu, size, half = mpmath.mpf(mean), mpmath.mpf(theta), mpmath.mpf(zero_logit)
        zero = 1 / (1 + mpmath.exp(-half))
        share = size / (size + mu)
        positive = (1 - zero) / (1 - share**size)

        def pmf(x):
            nb = mpmath.gammaprod([x + size], [size, x + 1]) * share**size * (1 - share) ** x
            return positive * nb if x else zero

        expected = np.array([float(mpmath.log(pmf(int(x)))) for x in COUNTS])
        cumulated = np.cumsum([pmf(x) for x in range(5)]).astype(float)
    at = parameters(mean, theta, zero_logit)
    actual = hurdle.log_pmf(t64(COUNTS), **at).numpy()
    assert np.max(np.abs(actual - expected) / np.maximum(1, np.abs(expected))) < 1e-10
    np.testing.assert_allclose(
        hurdle.cdf(t64(np.arange(5)), **at), cumulated, rtol=1e-9, atol=1e-15
    )


@pytest.mark.parametrize(("mean", "theta", "zero"), MIXED)
def test_agrees_with_scipy(hurdle, t64, parameters, mean, theta, zero):
    """Oracle: scipy.stats.nbinom over its survival at zero; moments are sums to 20,000."""
    at, counts = parameters(mean, theta, logit(zero)), np.arange(20_000)
    pmf = scipy_pmf(counts, mean, theta, zero)
    np.testing.assert_allclose(
        hurdle.log_pmf(t64(counts[:40]), **at).exp(), pmf[:40], rtol=1e-9, atol=1e-300
    )
    expected = (pmf * counts).sum()
    np.testing.assert_allclose(hurdle.mean(**at), expected, rtol=1e-10)
    np.testing.assert_allclose(
        hurdle.variance(**at), (pmf * counts**2).sum() - expected**2, rtol=1e-9
    )
    np.testing.assert_allclose(hurdle.prob_zero(**at), zero, rtol=1e-12)
    assert float(hurdle.cdf(t64(-1.0), **at)) == 0.0


@pytest.mark.parametrize(("mean", "theta", "zero"), [*MIXED, (1e-9, 2.0, 0.5)])
def test_samples(hurdle, assert_samples_agree, mean, theta, zero):
    """Oracle: moments of SciPy's truncated NB; four standard errors."""
    counts = np.arange(5_000)
    pmf = scipy_pmf(counts, mean, theta, zero)
    expected = (pmf * counts).sum()
    assert_samples_agree(
        hurdle,
        {"mean": mean, "inverse_dispersion": theta, "prob_zero_logit": logit(zero)},
        mean=expected,
        variance=(pmf * counts**2).sum() - expected**2,
        zero=zero,
    )


@pytest.mark.parametrize(("mean", "theta"), [(2.0, 0.6), (0.2, 5.0)])
def test_samples_of_positive_counts(hurdle, t64, parameters, mean, theta):
    """Oracle: SciPy's share of each positive count, 40,000 draws; four standard errors."""
    n = 40_000
    wide = {k: v.expand(n, 1) for k, v in parameters(mean, theta, -40.0).items()}
    drawn = hurdle.sample(np.random.default_rng(3), **wide).numpy()
    for count in (1, 2, 3, 5):
        expected = scipy_pmf(np.array(count), mean, theta, 0.0)
        assert abs((drawn == count).mean() - expected) <= 4 * np.sqrt(expected / n) + 1 / n


@pytest.mark.parametrize("theta", [1e-2, 1.0, 30.0])
@pytest.mark.parametrize("mean", [0.05, 3.0])
def test_with_the_zeros_of_an_nb_is_an_nb(hurdle, t64, parameters, mean, theta):
    """Limit p = NB(0). Oracle: scipy.stats.nbinom, whose own rounding is 1e-9."""
    nb, counts = stats.nbinom(theta, theta / (theta + mean)), COUNTS[:5]
    zero_logit = -theta * np.log1p(mean / theta) - np.log(nb.sf(0))
    at = parameters(mean, theta, zero_logit)
    np.testing.assert_allclose(hurdle.log_pmf(t64(counts), **at), nb.logpmf(counts), rtol=1e-8)
    np.testing.assert_allclose(hurdle.mean(**at), mean, rtol=1e-10)
    np.testing.assert_allclose(hurdle.variance(**at), mean + mean**2 / theta, rtol=1e-10)


def test_loss_is_a_cross_entropy_plus_a_truncated_nb(hurdle, t64, parameters):
    """Oracle: both terms by hand, from SciPy's NB."""
    nb, p = stats.nbinom(2.0, 2.0 / 5.0), 0.3
    losses = hurdle.loss(t64([0.0, 4.0]), **parameters(3.0, 2.0, logit(p)))
    expected = [-np.log(p), -np.log(1 - p) - nb.logpmf(4) + np.log(nb.sf(0))]
    np.testing.assert_allclose(losses, expected, rtol=1e-10)


def test_a_positive_count_is_one_where_the_nb_vanishes(hurdle, t64, parameters):
    """Limit μ → 0, by hand: P(1) = 1 − p, and P(2) = (1−p) μ(1 + 1/θ)/2 beside it."""
    log_pmf = hurdle.log_pmf(t64([1.0, 2.0]), **parameters(1e-12, 0.5, 0.0)).numpy()
    np.testing.assert_allclose(log_pmf[0], np.log(0.5), rtol=1e-10)
    np.testing.assert_allclose(log_pmf[1], np.log(0.5 * 1e-12 * 3 / 2), rtol=1e-10)


def test_recursion_walks_along_the_pmf(hurdle, parameters):
    """Oracle: P(0), P(1) and P(k)/P(k−1) of SciPy's truncated NB."""
    expected = scipy_pmf(np.arange(30), 3.0, 0.8, 0.4)
    steps = hurdle.recursion(**parameters(3.0, 0.8, logit(0.4)))
    zero, one, a, b = (float(value) for value in steps)
    np.testing.assert_allclose([zero, one], expected[:2], rtol=1e-12)
    k = np.arange(2, 30)
    np.testing.assert_allclose(a + b / k, expected[2:] / expected[1:-1], rtol=1e-10)


@pytest.mark.parametrize("mean", [1e-5, 2.0, 80.0])
def test_starts_with_the_mean_and_the_zeros_of_a_zinb(hurdle, t64, mean):
    """Oracle: by hand, π + (1 − π) NB(0) zeros and an expected count at the moment."""
    moments = likelihoods._base.GeneMoments(t64([mean]), t64([0.9]), t64([1.5]), t64([0.25]))
    made = hurdle.constrain(hurdle.start(moments), t64([[1.0]]))
    nb_zero = (1.5 / (1.5 + mean / 0.75)) ** 1.5
    np.testing.assert_allclose(hurdle.prob_zero(**made), [[0.25 + 0.75 * nb_zero]], rtol=1e-10)
    np.testing.assert_allclose(hurdle.mean(**made), [[mean]], rtol=1e-10)


def test_the_odds_of_a_count_follow_depth(hurdle, t64):
    """Oracle: an NB with θ = 1 is geometric, and its odds of a count are its mean, by hand."""
    raw = {"log_mean": t64([0.7]), "log_inverse_dispersion": t64([0.0])}
    raw |= {"prob_zero_logit": t64([-0.7])}
    made = hurdle.constrain(raw, t64([[0.5], [4.0]]))
    mean = np.exp(0.7) * np.array([[0.5], [4.0]])
    np.testing.assert_allclose(made["mean"], mean, rtol=1e-14)
    np.testing.assert_allclose(hurdle.prob_zero(**made), 1 / (1 + mean), rtol=1e-12)
    np.testing.assert_allclose(hurdle.mean(**made), mean, rtol=1e-12)


def test_rare_counts_keep_their_digits_in_float32(hurdle):
    """Oracle: mpmath, 50 digits. Two logarithms of a small mean leave a number near 0: 2e-7."""
    mean = torch.logspace(-7, -1, 80)
    with mpmath.workdps(50):
        truth = [float(exact.hurdle_nb(1, m, mpmath.mpf(0.75), -4)[0]) for m in mean.tolist()]
    actual = hurdle.log_pmf(
        torch.ones(80), mean=mean, inverse_dispersion=torch.tensor(0.75),
        prob_zero_logit=torch.tensor(-4.0),
    )  # fmt: skip
    np.testing.assert_allclose(actual, truth, rtol=0, atol=2e-7)


@pytest.mark.parametrize(("mu", "logit"), [(1e5, -15.0), (1e6, -20.0), (3e7, -20.0), (1e-3, 9.0)])
def test_the_variance_keeps_its_digits(mu, logit):
    """Oracle: 50 digits; with θ = 1e8 the second moment and the mean squared are nearly equal."""
    with mpmath.workdps(50):
        m, theta = mpmath.mpf(mu), mpmath.mpf(1e8)
        zero, rest = (theta / (m + theta)) ** theta, 1 / (1 + mpmath.exp(mpmath.mpf(logit)))
        factor = rest / (1 - zero)
        variance = factor * m * (1 + m + m / theta) - (factor * m) ** 2
    found = likelihoods.get("hurdle_nb")().variance(
        mean=torch.tensor(mu), inverse_dispersion=torch.tensor(1e8),
        prob_zero_logit=torch.tensor(logit),
    )  # fmt: skip
    assert found.item() == pytest.approx(float(variance), rel=1e-5)

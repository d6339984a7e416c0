"""Beta-binomial against SciPy and 50-digit arithmetic, its limits, and what lies beyond n."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy import special, stats

from countae import likelihoods
from countae.kernels.beta_binomial import cumulated, log_beta_binomial

EPS = 1e-3


@pytest.fixture
def family():
    return likelihoods.get("beta_binomial")()


def exact(x, n, logit, kappa):
    """C(n, x) B(x + κp, n − x + κ(1 − p)) / B(κp, κ(1 − p)), the textbook's, in mpmath."""
    p = 1 / (1 + mpmath.exp(-mpmath.mpf(logit)))
    a, b = kappa * p, kappa * (1 - p)
    log_beta = lambda u, v: mpmath.loggamma(u) + mpmath.loggamma(v) - mpmath.loggamma(u + v)  # noqa: E731
    choose = -mpmath.log(n + 1) - log_beta(mpmath.mpf(n - x + 1), mpmath.mpf(x + 1))
    return choose + log_beta(x + a, n - x + b) - log_beta(a, b)


@pytest.mark.parametrize("n", [1, 25, 1_000, 1_000_000])
@pytest.mark.parametrize("logit", [-18.0, -7.0, -1.0, 3.0])
@pytest.mark.parametrize("kappa", [1e-3, 2.0, 500.0, 1e9])
def test_kernel_agrees_with_50_digits(t64, n, logit, kappa):
    """Oracle: mpmath; 1e-10 of max(1, |log p|) in float64."""
    counts = sorted({0, 1, n // 3, n - 1, n})
    with mpmath.workdps(50):
        expected = np.array([float(exact(x, n, logit, mpmath.mpf(kappa))) for x in counts])
    actual = log_beta_binomial(t64(counts), t64(n), t64(logit), t64(kappa)).numpy()
    assert (np.abs(actual - expected) / np.maximum(1, np.abs(expected))).max() < 1e-10


def mixture(counts, n, p, kappa):
    known = stats.betabinom(n, kappa * p, kappa * (1 - p))
    unknown = stats.nbinom(kappa * p, kappa / (kappa + n))
    return known, unknown, (1 - EPS) * known.pmf(counts) + EPS * unknown.pmf(counts)


@pytest.mark.parametrize(("n", "p", "kappa"), [(30, 0.1, 5.0), (2_000, 1e-3, 300.0), (4, 0.9, 2)])
def test_agrees_with_scipy(family, t64, n, p, kappa):
    """Oracle: scipy.stats.betabinom and nbinom, mixed 999 : 1; moments by sums."""
    at = {"share_logit": t64(special.logit(p)), "concentration": t64(kappa), "trials": t64(n)}
    counts = np.arange(0, 60)
    known, unknown, expected = mixture(counts, n, p, kappa)
    np.testing.assert_allclose(family.log_pmf(t64(counts), **at).exp(), expected, rtol=1e-8)
    cdf = (1 - EPS) * known.cdf(counts) + EPS * unknown.cdf(counts)
    np.testing.assert_allclose(family.cdf(t64(counts), **at), cdf, rtol=1e-8)
    assert float(family.cdf(t64(-1.0), **at)) == 0.0
    np.testing.assert_allclose(family.mean(**at), n * p, rtol=1e-12)
    variance = (1 - EPS) * known.var() + EPS * unknown.var()
    np.testing.assert_allclose(family.variance(**at), variance, rtol=1e-9)


def test_a_count_beyond_n_is_improbable_but_possible(family, t64):
    """Oracle: scipy.stats.nbinom over 1,000 beyond n; at n and below the beta-binomial rules."""
    at = {"share_logit": t64(0.0), "concentration": t64(3.0), "trials": t64(10.0)}
    expected = np.log(EPS) + stats.nbinom(1.5, 3 / 13).logpmf(11)
    np.testing.assert_allclose(family.log_pmf(t64(11.0), **at), expected, rtol=1e-9)
    assert family.log_pmf(t64(10.0), **at) > expected + 4


@pytest.mark.parametrize(("n", "p"), [(40, 0.3), (900, 2e-3)])
def test_without_spread_it_is_binomial(t64, n, p):
    """Limit κ → ∞. Oracle: scipy.stats.binom; the gap is of the order n²/κ."""
    counts = np.arange(0, 30)
    actual = log_beta_binomial(t64(counts), t64(n), t64(special.logit(p)), t64(1e12))
    np.testing.assert_allclose(actual, stats.binom(n, p).logpmf(counts), rtol=1e-7, atol=1e-6)


def test_with_many_molecules_it_is_nb_and_then_poisson(t64):
    """Limit n → ∞ at fixed mean np and κp. Oracle: scipy.stats.nbinom, and poisson for κp → ∞."""
    counts, n, mean = np.arange(0, 12), 1e9, 3.0
    logit = t64(special.logit(mean / n))
    for theta, other in ((2.0, stats.nbinom(2.0, 2 / 5)), (1e7, stats.poisson(mean))):
        actual = log_beta_binomial(t64(counts), t64(n), logit, t64(theta * n / mean))
        np.testing.assert_allclose(actual, other.logpmf(counts), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("a", "b", "n"), [(0.01, 0.02, 40), (0.5, 200.0, 900), (3.0, 1.0, 50)])
def test_walks_end_at_the_cumulated_probability(a, b, n):
    """Oracle: cumulated sums of scipy.stats.betabinom, also of U-shaped ones."""
    counts = np.arange(0.0, n + 1)
    other = stats.betabinom(n, a, b)
    every = [np.full(n + 1, float(v)) for v in (n, a, b)]
    actual = cumulated(counts, other.logpmf(counts), *every)
    np.testing.assert_allclose(actual, other.pmf(counts).cumsum(), atol=1e-11)


@pytest.mark.parametrize(("n", "p", "kappa"), [(30, 0.1, 5.0), (4, 0.9, 2.0)])
def test_samples(family, assert_samples_agree, n, p, kappa):
    """Oracle: moments and zeros of SciPy's mixture; four standard errors."""
    known, unknown, pmf = mixture(np.zeros(1), n, p, kappa)
    assert_samples_agree(
        family,
        {"share_logit": special.logit(p), "concentration": kappa, "trials": n},
        mean=n * p,
        variance=(1 - EPS) * known.var() + EPS * unknown.var(),
        zero=pmf[0],
    )


def test_trials_are_the_total_that_visible_counts_imply(family, t64):
    """Oracle: s R rounded, at least 1, by hand; the total is no parameter that is learnt."""
    total = t64(np.full(2, np.log(25.0))).requires_grad_()
    raw = {"share_logit": t64([0.0, 1.0]), "log_concentration": t64([0.0, 1.0])}
    made = family.constrain(raw | {"log_total": total}, t64([[0.01], [0.5], [2.0]]))
    np.testing.assert_allclose(made["trials"], [[1, 1], [12, 12], [50, 50]])
    assert not made["trials"].requires_grad


def test_start_by_hand(family, t64):
    """Oracle: shares 1/4 and 3/4, κ = θ over the share, by hand; a single gene is finite."""
    moments = likelihoods._base.GeneMoments(*(t64([1.0, 3.0]) for _ in range(4)))
    start = family.start(moments)
    np.testing.assert_allclose(torch.sigmoid(start["share_logit"]), [0.25, 0.75], rtol=1e-12)
    np.testing.assert_allclose(start["log_concentration"].exp(), [4.0, 4.0], rtol=1e-12)
    one = likelihoods._base.GeneMoments(*(t64([2.0]) for _ in range(4)))
    assert torch.isfinite(family.start(one)["share_logit"]).all()


@pytest.mark.parametrize(("logit", "drawn"), [(-90.0, 0.0), (90.0, 20.0), (-900.0, 0.0)])
def test_extreme_shares_can_be_drawn(logit, drawn):
    claim = likelihoods.get("beta_binomial")().distribution(
        share_logit=logit, concentration=1e4, trials=20.0
    )
    torch.manual_seed(0)
    assert claim.sample((50,)).median().item() == drawn

"""Dirichlet-multinomial against SciPy and 50-digit arithmetic, and its multinomial limit."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy import stats

from countae import likelihoods

LOG_ALPHA = np.array([[0.3, -1.0, 2.0, 0.0], [1.0, 6.0, -4.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
COUNTS = np.array([[3, 0, 12, 5], [0, 2, 0, 150], [0, 0, 0, 9]])
WANTED = np.array([[1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]])


@pytest.fixture
def family():
    return likelihoods.get("dirichlet_multinomial")()


@pytest.fixture
def raw(t64):
    return {"log_concentration": t64(LOG_ALPHA), "log_total": t64(np.full(4, np.log(40.0)))}


def test_loss_is_that_of_hidden_counts_given_their_total(family, t64, raw):
    """Oracle: scipy.stats.dirichlet_multinomial with the α of the hidden genes."""
    losses = family.loss_of_cells(t64(COUNTS), t64(WANTED), raw, t64(np.ones((3, 1))))
    for i, (log_alpha, x, wanted) in enumerate(zip(LOG_ALPHA, COUNTS, WANTED == 1, strict=True)):
        n = int(x[wanted].sum())
        expected = -stats.dirichlet_multinomial(np.exp(log_alpha[wanted]), n).logpmf(x[wanted])
        np.testing.assert_allclose(losses[i].sum(), expected, rtol=1e-9, atol=1e-12)


def test_loss_of_a_large_cell_agrees_with_50_digits(family, t64):
    """Oracle: the usual ratio of Gamma functions in mpmath, α from 1e-6 to 1e9."""
    alpha, x = np.array([1e-6, 0.3, 50.0, 1e9]), np.array([1, 40, 30_000, 900_000])
    with mpmath.workdps(50):
        a, n = [mpmath.mpf(v) for v in alpha], int(x.sum())
        value = mpmath.loggamma(n + 1) + mpmath.loggamma(sum(a)) - mpmath.loggamma(n + sum(a))
        for ai, xi in zip(a, map(int, x), strict=True):
            value += mpmath.loggamma(xi + ai) - mpmath.loggamma(ai) - mpmath.loggamma(xi + 1)
    raw = {"log_concentration": t64([np.log(alpha)]), "log_total": t64(np.zeros(4))}
    loss = family.loss_of_cells(t64([x]), t64(np.ones((1, 4))), raw, t64([[1.0]])).sum()
    np.testing.assert_allclose(loss, -float(value), rtol=1e-11)


def test_without_spread_of_shares_it_is_the_multinomial(family, t64, raw):
    """Limit α → ∞ at fixed shares: the loss of ``multinomial`` with the same outputs."""
    multinomial = likelihoods.get("multinomial")()
    size, given = t64(np.ones((3, 1))), (t64(COUNTS), t64(WANTED))
    large = raw | {"log_concentration": raw["log_concentration"] + 25.0}
    expected = multinomial.loss_of_cells(
        *given, {"log_weight": t64(LOG_ALPHA), "log_total": raw["log_total"]}, size
    )
    actual = family.loss_of_cells(*given, large, size)
    np.testing.assert_allclose(actual.sum(1), expected.sum(1), rtol=1e-6, atol=1e-9)


def test_claims_an_nb_whose_total_is_an_nb(family, t64, raw):
    """Oracle: SciPy's beta-binomial share of an NB(s R, Σα) total, summed over totals."""
    made = family.constrain(raw, t64([[0.5], [1.0], [2.0]]))
    alpha = np.exp(LOG_ALPHA[0])
    np.testing.assert_allclose(made["mean"][0], 20 * alpha / alpha.sum(), rtol=1e-12)
    totals, all_alpha = np.arange(0, 400), alpha.sum()
    weight = stats.nbinom(all_alpha, all_alpha / (all_alpha + 20.0)).pmf(totals)
    at = {name: value[0, 0] for name, value in made.items()}
    for x in (0, 2, 9):
        share = stats.betabinom(totals, alpha[0], all_alpha - alpha[0]).pmf(x)
        np.testing.assert_allclose(family.log_pmf(t64(x), **at).exp(), share @ weight, rtol=1e-8)


def test_start_by_hand(family, t64):
    """Oracle: Σα = R²/Σ(μ²/θ) = 16/(1/2 + 9/4), shares 1 : 3, by hand."""
    moments = likelihoods._base.GeneMoments(
        t64([1.0, 3.0]), t64([0.1, 0.2]), t64([2.0, 4.0]), t64([0.1, 0.1])
    )
    alpha = family.start(moments)["log_concentration"].exp()
    total = 16 / (1 / 2 + 9 / 4)
    np.testing.assert_allclose(alpha, [total / 4, 3 * total / 4], rtol=1e-12)

"""Multinomial against SciPy: the loss of a cell, and the claim of one entry."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from countae import likelihoods

WEIGHT = np.array([[0.3, -1.0, 2.0, 0.0], [1.0, 1.0, -4.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
COUNTS = np.array([[3, 0, 12, 5], [0, 2, 0, 150], [0, 0, 0, 9]])
WANTED = np.array([[1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]])


@pytest.fixture
def multinomial():
    return likelihoods.get("multinomial")()


@pytest.fixture
def raw(t64):
    return {"log_weight": t64(WEIGHT), "log_total": t64(np.full(4, np.log(40.0)))}


def test_loss_is_the_multinomial_of_hidden_counts_given_their_total(multinomial, t64, raw):
    """Oracle: scipy.stats.multinomial with the hidden genes' softmax; no count costs nothing."""
    losses = multinomial.loss_of_cells(t64(COUNTS), t64(WANTED), raw, t64(np.ones((3, 1))))
    for i, (weight, x, wanted) in enumerate(zip(WEIGHT, COUNTS, WANTED == 1, strict=True)):
        p = special.softmax(weight[wanted])
        expected = -stats.multinomial(x[wanted].sum(), p).logpmf(x[wanted])
        np.testing.assert_allclose(losses[i].sum(), expected, rtol=1e-10, atol=1e-12)


def test_depth_is_no_part_of_the_loss(multinomial, t64, raw):
    """Limit: neither the size factor nor the level of the outputs changes it."""
    first = multinomial.loss_of_cells(t64(COUNTS), t64(WANTED), raw, t64(np.ones((3, 1))))
    other = raw | {"log_weight": raw["log_weight"] + 2.0}
    second = multinomial.loss_of_cells(t64(COUNTS), t64(WANTED), other, t64(np.full((3, 1), 9)))
    np.testing.assert_allclose(second, first, rtol=1e-12, atol=1e-12)


def test_claims_a_poisson_of_the_visible_size(multinomial, t64, raw):
    """Oracle: a binomial share p of a Poisson total s R is Poisson(s R p): a sum over totals."""
    made = multinomial.constrain(raw, t64([[0.5], [1.0], [2.0]]))
    p = special.softmax(WEIGHT, axis=1)
    np.testing.assert_allclose(made["mean"], 40 * np.array([[0.5], [1], [2]]) * p, rtol=1e-12)
    totals = np.arange(0, 200)
    for x in (0, 3, 20):
        thinned = stats.binom(totals, p[0, 2]).pmf(x) @ stats.poisson(20.0).pmf(totals)
        actual = multinomial.log_pmf(t64(x), mean=made["mean"][0, 2]).exp()
        np.testing.assert_allclose(actual, thinned, rtol=1e-10)


def test_start_by_hand(multinomial, t64):
    """Oracle: at size factor 1 each gene is expected at its mean; R is the sum of means."""
    moments = likelihoods._base.GeneMoments(*(t64([1.0, 3.0]) for _ in range(4)))
    start = multinomial.start(moments)
    np.testing.assert_allclose(start["log_total"].exp(), [4.0, 4.0], rtol=1e-14)
    made = multinomial.constrain(start, t64([[1.0], [2.0]]))
    np.testing.assert_allclose(made["mean"], [[1.0, 3.0], [2.0, 6.0]], rtol=1e-12)

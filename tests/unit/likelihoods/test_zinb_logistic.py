"""ZINB with zeros logistic in the mean against splatter's formula and a mixture in SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from countae import likelihoods


@pytest.fixture
def logistic():
    return likelihoods.get("zinb_logistic")()


def test_zeros_follow_the_mean_as_in_splatter(logistic, t64):
    """Oracle: splatter's 1/(1 + e^(−k(log λ − x₀))) with shape k = −1 and midpoint x₀ = 0.8."""
    size, log_mean = np.array([[0.5], [3.0]]), np.array([[0.1, 2.0], [1.0, 4.0]])
    raw = {
        "log_mean": t64(log_mean), "log_inverse_dispersion": t64([0.4, 2.0]),
        "zero_intercept": t64([0.8, 0.8]), "zero_slope": t64([-1.0, -1.0]),
    }  # fmt: skip
    made = logistic.constrain(raw, t64(size))
    mean, theta = size * np.exp(log_mean), np.exp([0.4, 2.0])
    pi = 1 / (1 + np.exp(np.log(mean) - 0.8))
    np.testing.assert_allclose(special.expit(made["zero_logit"].numpy()), pi, rtol=1e-12)
    counts = np.array([[0, 3], [7, 0]])
    nb = (1 - pi) * stats.nbinom(theta, theta / (theta + mean)).pmf(counts)
    expected = np.log(nb + pi * (counts == 0))
    np.testing.assert_allclose(logistic.log_pmf(t64(counts), **made), expected, rtol=1e-9)
    np.testing.assert_allclose(logistic.mean(**made), (1 - pi) * mean, rtol=1e-12)


def test_without_a_slope_it_is_zinb_per_gene(logistic, t64):
    """Limit b = 0: ``zinb_gene`` with the intercept as logit."""
    of_gene, size = likelihoods.get("zinb_gene")(), t64([[0.5], [3.0]])
    raw = {"log_mean": t64([[0.1, 2.0], [1.0, 4.0]]), "log_inverse_dispersion": t64([0.4, 2.0])}
    flat = raw | {"zero_intercept": t64([-1.0, 0.5]), "zero_slope": t64([0.0, 0.0])}
    one = logistic.constrain(flat, size)
    other = of_gene.constrain(raw | {"zero_logit": t64([-1.0, 0.5])}, size)
    counts = t64([[0, 3], [7, 0]])
    np.testing.assert_allclose(
        logistic.loss(counts, **one), of_gene.loss(counts, **other), rtol=1e-13
    )


def test_start_by_hand(logistic, t64):
    """Oracle: at size factor 1 the zero probability is the moments', by hand."""
    moments = likelihoods._base.GeneMoments(t64([2.0]), t64([0.9]), t64([1.5]), t64([0.25]))
    start = logistic.start(moments)
    made = logistic.constrain(start, t64([[1.0]]))
    np.testing.assert_allclose(special.expit(made["zero_logit"].numpy()), [[0.25]], rtol=1e-12)
    np.testing.assert_allclose(start["zero_slope"], [-1.0])
    np.testing.assert_allclose(logistic.mean(**made), [[2.0]], rtol=1e-12)


def test_starts_at_a_slope_that_the_counts_have(logistic, t64):
    """Recovery: the best constants of data with zeros that follow depth, b = −1.5 and a = 1."""
    rng, cells = np.random.default_rng(2), 3_000
    size = rng.lognormal(0, 0.8, (cells, 1))
    mean = size * np.array([[3.0, 10.0, 1.0]])
    pi = special.expit(1 - 1.5 * np.log(mean))
    counts = rng.poisson(rng.gamma(3.0, mean / 3.0)) * (rng.random(mean.shape) >= pi)
    moments = likelihoods._base.GeneMoments(
        t64(counts.sum(0) / size.sum()), t64(np.log1p(counts / size).mean(0)),
        t64([1.0, 1.0, 1.0]), t64([0.3, 0.3, 0.3]),
    )  # fmt: skip
    heads = logistic.best_start(counts.astype(float), size, moments)
    assert (heads["zero_slope"].numpy() < -0.8).all()
    np.testing.assert_allclose(heads["zero_slope"][1], -1.5, atol=0.5)

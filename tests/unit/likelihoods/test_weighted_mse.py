"""Weighted squared error: the Gaussian that follows the weights, against SciPy's normal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from countae import likelihoods


@pytest.fixture
def weighted():
    return likelihoods.get("weighted_mse")()


@pytest.fixture
def parameters(t64):
    return lambda m, s, size=1.0, weight=1.0: {
        "location": t64(m), "scale": t64(s), "size_factor": t64(size), "weight": t64(weight)
    }  # fmt: skip


def test_loss_is_a_squared_error_over_a_poisson_variance(weighted, t64):
    """Oracle: (x − s m)² / (s r) by hand, with the gene's mean r = 4 from the training cells.

    The scale starts at the root of (4 + 16/8)/4, an NB's variance over its mean.
    """
    moments = likelihoods._base.GeneMoments(t64([4.0]), t64([0.9]), t64([8.0]), t64([0.25]))
    made = weighted.constrain(weighted.start(moments), t64([[1.5]]))
    np.testing.assert_allclose(made["location"], [[6.0]], rtol=1e-14)
    np.testing.assert_allclose(made["weight"], [0.25], rtol=1e-14)
    np.testing.assert_allclose(weighted.loss(t64([[9.0]]), **made), [[9.0 / 6.0]], rtol=1e-14)
    np.testing.assert_allclose(made["scale"], [np.sqrt(1.5)], rtol=1e-14)


@pytest.mark.parametrize(
    ("m", "s", "size", "weight"),
    [(0.3, 0.6, 0.5, 3.0), (4.0, 2.0, 2.0, 0.5), (-1.0, 0.8, 1.0, 1.0)],
)
def test_agrees_with_scipy(weighted, t64, parameters, m, s, size, weight):
    """Oracle: differences of scipy.stats.norm.cdf with variance σ² size / w; 1e-9."""
    counts, spread = np.arange(0, 8), s * np.sqrt(size / weight)
    ends = stats.norm(m, spread).cdf(counts + 0.5)
    at = parameters(m, s, size, weight)
    np.testing.assert_allclose(
        weighted.log_pmf(t64(counts), **at).exp(),
        np.diff(ends, prepend=0.0),
        rtol=1e-9,
        atol=1e-15,
    )
    np.testing.assert_allclose(weighted.cdf(t64(counts), **at), ends, rtol=1e-12)
    np.testing.assert_allclose(weighted.prob_zero(**at), ends[0], rtol=1e-12)
    np.testing.assert_allclose(weighted.variance(**at), spread**2, rtol=1e-12)
    np.testing.assert_allclose(weighted.mean(**at), max(m, 0.0))


def test_step_score_follows_the_weights(weighted, parameters):
    """Oracle: Σ (F(k) − 1[x ≤ k])² with SciPy's normal, to k = 200."""
    at = parameters([[3.0, 3.0]], [0.7, 0.7], [[2.0]], [0.5, 8.0])
    found, done = weighted.step_score(np.array([1.0, 6.0]), 1e-12, **at)
    k = np.arange(200)
    expected = [
        np.square(stats.norm(3.0, 0.7 * np.sqrt(2.0 / w)).cdf(k + 0.5) - (x <= k)).sum()
        for x, w in ((1, 0.5), (6, 8.0))
    ]
    assert done.all()
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_weights_are_not_learnt(weighted, t64):
    """A learnt weight would fall to nothing, and the loss with it."""
    raw = {name: t64([0.3]).requires_grad_() for name in weighted.heads}
    weighted.loss(t64([[5.0]]), **weighted.constrain(raw, t64([[1.0]]))).sum().backward()
    assert raw["log_weight"].grad is None
    assert raw["log_location"].grad is not None


def test_equal_weights_are_the_plain_squared_error(weighted, t64, parameters):
    """Limit w = size = 1: the loss and the claim of ``mse_counts``, whose own oracle is mpmath."""
    other, counts = likelihoods.get("mse_counts")(), t64([[0.0, 3.0], [1e4, 7.0]])
    at = parameters([[0.2, 4.0], [-3.0, 6.5]], [0.5, 20.0])
    plain = {name: at[name] for name in other.parameters}
    assert torch.equal(weighted.log_pmf(counts, **at), other.log_pmf(counts, **plain))
    assert torch.equal(weighted.loss(counts, **at), other.loss(counts, **plain))


@pytest.mark.parametrize(
    ("m", "s", "size", "weight"), [(0.3, 0.6, 2.0, 2.0), (30.0, 4.0, 0.5, 2.0)]
)
def test_samples(weighted, assert_samples_agree, m, s, size, weight):
    """Oracle: moments of SciPy's normal cut at ½, 1½, …; four standard errors."""
    counts = np.arange(0, 100)
    mass = np.diff(stats.norm(m, s * np.sqrt(size / weight)).cdf(counts + 0.5), prepend=0.0)
    mean = (mass * counts).sum()
    assert_samples_agree(
        weighted,
        {"location": m, "scale": s, "size_factor": size, "weight": weight},
        mean=mean,
        variance=(mass * counts**2).sum() - mean**2,
        zero=mass[0],
    )

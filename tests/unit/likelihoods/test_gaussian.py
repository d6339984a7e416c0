"""Gaussian with a learnt variance against SciPy's normal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from countae import likelihoods


@pytest.fixture
def gaussian():
    return likelihoods.get("gaussian")()


@pytest.fixture
def parameters(t64):
    return lambda m, s, size=1.0: {
        "location": t64(m), "scale": t64(s), "size_factor": t64(size)
    }  # fmt: skip


@pytest.mark.parametrize(("m", "s"), [(0.3, 0.6), (4.0, 2.0), (-1.0, 0.8), (200.0, 1e-3)])
def test_loss_is_the_density(gaussian, t64, parameters, m, s):
    """Oracle: scipy.stats.norm.logpdf; its constant is kept, so losses of genes can be added."""
    counts = np.array([0.0, 1.0, 5.0, 1e4])
    np.testing.assert_allclose(
        gaussian.loss(t64(counts), **parameters(m, s)),
        -stats.norm(m, s).logpdf(counts),
        rtol=1e-12,
    )


@pytest.mark.parametrize(("m", "s"), [(0.3, 0.6), (4.0, 2.0), (-1.0, 0.8)])
def test_is_scored_as_the_cut_normal(gaussian, t64, parameters, m, s):
    """Oracle: differences of scipy.stats.norm.cdf, all mass below ½ at zero; 1e-9."""
    counts = np.arange(0, 8)
    ends = stats.norm(m, s).cdf(counts + 0.5)
    at = parameters(m, s)
    np.testing.assert_allclose(
        gaussian.log_pmf(t64(counts), **at).exp(),
        np.diff(ends, prepend=0.0),
        rtol=1e-9,
        atol=1e-15,
    )
    np.testing.assert_allclose(gaussian.cdf(t64(counts), **at), ends, rtol=1e-12)
    np.testing.assert_allclose(gaussian.prob_zero(**at), ends[0], rtol=1e-12)


def test_the_same_scale_gives_the_claim_of_mse_counts(gaussian, t64, parameters):
    """Limit: beside ``mse_counts``, whose own oracle is mpmath, only the training differs."""
    other, counts = likelihoods.get("mse_counts")(), t64([[0.0, 3.0], [1e4, 7.0]])
    at = parameters([[0.2, 4.0], [-3.0, 6.5]], [0.5, 20.0])
    assert torch.equal(gaussian.log_pmf(counts, **at), other.log_pmf(counts, **at))
    assert torch.equal(gaussian.variance(**at), other.variance(**at))
    assert torch.equal(gaussian.mean(**at), other.mean(**at))
    scores = (each.step_score(counts.numpy().ravel(), 1e-6, **at)[0] for each in (gaussian, other))
    np.testing.assert_array_equal(*scores)


def test_the_scale_is_learnt(gaussian, t64, parameters):
    """Oracle: the loss is least at the root mean squared residual, by hand. After training the
    scale is that of ``mse_counts``; there is no reading with one scale for all genes.
    """
    counts, location = t64([[1.0], [4.0], [10.0]]), t64([[2.0], [4.0], [6.0]])
    log_scale = t64([0.5 * np.log(17 / 3)]).requires_grad_()
    at = parameters(location, 1.0) | {"scale": log_scale.exp()}
    (gradient,) = torch.autograd.grad(gaussian.loss(counts, **at).sum(), log_scale)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-12)
    mse = likelihoods.get("mse_counts")()
    at |= {"scale": t64([1.0]), "size_factor": t64(np.ones((3, 1)))}
    assert torch.equal(*(f.calibrate(counts, at)["log_scale"] for f in (gaussian, mse)))
    assert gaussian.variants(at) == {}
    assert gaussian.noise_heads is None


@pytest.mark.parametrize(("m", "s"), [(0.3, 0.6), (30.0, 4.0)])
def test_samples(gaussian, assert_samples_agree, m, s):
    """Oracle: moments of SciPy's normal cut at ½, 1½, …; four standard errors."""
    counts = np.arange(0, 100)
    mass = np.diff(stats.norm(m, s).cdf(counts + 0.5), prepend=0.0)
    mean = (mass * counts).sum()
    assert_samples_agree(
        gaussian,
        {"location": m, "scale": s, "size_factor": 1.0},
        mean=mean,
        variance=(mass * counts**2).sum() - mean**2,
        zero=mass[0],
    )


def test_start_and_constrain_by_hand(gaussian, t64):
    """Oracle: the mean and the variance 4 + 16/8 of an NB with these moments; m = 3 × 4."""
    moments = likelihoods._base.GeneMoments(t64([4.0]), t64([0.9]), t64([8.0]), t64([0.25]))
    made = gaussian.constrain(gaussian.start(moments), t64([[3.0]]))
    np.testing.assert_allclose(made["location"], [[12.0]], rtol=1e-14)
    np.testing.assert_allclose(made["scale"], [np.sqrt(6.0)], rtol=1e-14)

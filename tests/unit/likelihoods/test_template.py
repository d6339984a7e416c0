"""The file that a new loss starts from; `make new-likelihood` copies this one beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from countae import likelihoods
from countae.likelihoods import _template

likelihoods.registry._members.setdefault("_template", _template.Template)
MEANS = torch.tensor([1e-4, 0.3, 2.0, 50.0], dtype=torch.float64)
COUNTS = torch.arange(200, dtype=torch.float64)[:, None].expand(-1, len(MEANS)).contiguous()


@pytest.fixture
def likelihood():
    return likelihoods.get("_template")()


def test_agrees_with_scipy(likelihood):
    """Oracle: scipy.stats.geom, which counts trials, one more; float64, 1e-12."""
    truth = stats.geom(1 / (1 + MEANS.numpy()), loc=-1)
    np.testing.assert_allclose(
        likelihood.log_pmf(COUNTS, mean=MEANS), truth.logpmf(COUNTS.numpy()), rtol=1e-12
    )
    np.testing.assert_allclose(
        likelihood.cdf(COUNTS, mean=MEANS), truth.cdf(COUNTS.numpy()), rtol=1e-12
    )
    np.testing.assert_allclose(likelihood.mean(mean=MEANS), truth.mean(), rtol=1e-12)
    np.testing.assert_allclose(likelihood.variance(mean=MEANS), truth.var(), rtol=1e-12)
    np.testing.assert_allclose(likelihood.prob_zero(mean=MEANS), truth.pmf(0), rtol=1e-12)


def test_samples_have_the_distribution(likelihood):
    """Recovery: mean and variance of 200,000 draws within five standard errors."""
    wide = MEANS[1:].expand(200_000, -1)
    drawn = likelihood.sample(np.random.default_rng(0), mean=wide)
    expected = likelihood.variance(mean=MEANS[1:])
    error = 5 * (expected / len(drawn)).sqrt()
    assert ((drawn.mean(dim=0) - MEANS[1:]).abs() < error).all()
    np.testing.assert_allclose(drawn.var(dim=0), expected, rtol=0.05)


@pytest.mark.parametrize("size", [1.0, 1e2, 1e4, 1e6])
def test_float32_keeps_its_digits(likelihood, size):
    """Oracle: float64; counts beside a mean of their own size, where a difference would cancel."""
    mean = torch.tensor([0.9 * size, size], dtype=torch.float64)
    exact = likelihood.log_pmf(torch.full_like(mean, size), mean=mean)
    found = likelihood.log_pmf(torch.full((2,), size), mean=mean.float())
    np.testing.assert_allclose(found, exact, rtol=2e-6)

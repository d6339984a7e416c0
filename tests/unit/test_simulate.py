"""Simulated counts against the truth that goes with them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from countae import likelihoods, simulate
from countae.simulate._means import design

SIZE = {"cells": 1_500, "genes": 120, "types": 4, "depth": 600.0}
NAMES = simulate.names()


@pytest.fixture(scope="module", params=NAMES)
def made(request):
    """Data of each simulator, with counts and true means as arrays."""
    adata = simulate.get(request.param)(seed=3, **SIZE)
    return adata, adata.X.toarray().astype(float), np.asarray(adata.layers["true_mean"])


def component(adata, mean):
    """θ, π and the mean before extra zeros from the columns of ``var``, by their definition."""
    theta = adata.var.get("true_inverse_dispersion", np.inf)
    zero = np.asarray(adata.var.get("true_zero_probability", 0.0), dtype=float)
    return np.asarray(theta, dtype=float), zero, mean / (1 - zero)


def test_shape_names_and_truth(made):
    """What the other steps read; the generating likelihood must be one that can be scored."""
    adata, counts, mean = made
    assert adata.shape == mean.shape == (1_500, 120)
    assert counts.min() >= 0
    np.testing.assert_array_equal(counts, np.round(counts))
    assert adata.obs_names.is_unique
    assert adata.var_names.is_unique
    assert adata.obs["cell_type"].nunique() == 4
    family = likelihoods.get(adata.uns["truth"]["likelihood"])
    assert family.noise_heads is not None
    assert len(adata.var.columns) == len(family.noise_heads)
    assert (mean > 0).all()


def test_counts_have_the_true_mean(made):
    """Oracle: Σ x − Σ m per gene over its error from the true variance: standard normal."""
    adata, counts, mean = made
    theta, zero, mu = component(adata, mean)
    variance = (1 - zero) * mu * (1 + mu * (1 / theta + zero))
    z = (counts - mean).sum(axis=0) / np.sqrt(variance.sum(axis=0))
    assert stats.kstest(z, "norm").pvalue > 1e-4


def test_counts_have_the_true_variance(made):
    """Oracle: squared residuals over the true variance average 1, to 15 % in the median gene."""
    adata, counts, mean = made
    theta, zero, mu = component(adata, mean)
    variance = (1 - zero) * mu * (1 + mu * (1 / theta + zero))
    ratio = ((counts - mean) ** 2 / variance).mean(axis=0)
    assert abs(np.median(ratio) - 1) < 0.05
    assert abs(ratio.mean() - 1) < 0.15


def test_counts_have_the_true_share_of_zeros(made):
    """Oracle: π + (1 − π)(θ/(θ+μ))^θ, summed per gene: standard normal over its binomial error."""
    adata, counts, mean = made
    theta, zero, mu = component(adata, mean)
    of_noise = np.exp(-mu) if np.isinf(theta).all() else (theta / (theta + mu)) ** theta
    expected = zero + (1 - zero) * of_noise
    error = np.sqrt((expected * (1 - expected)).sum(axis=0))
    z = ((counts == 0) - expected).sum(axis=0) / error
    assert stats.kstest(z, "norm").pvalue > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_seeds_reproduce(name):
    """Oracle: the same seed twice, then another."""
    small = {"cells": 40, "genes": 20, "types": 2, "depth": 100.0}
    first, again, other = (simulate.get(name)(seed=seed, **small) for seed in (1, 1, 2))
    assert (first.X != again.X).nnz == 0
    np.testing.assert_array_equal(first.layers["true_mean"], again.layers["true_mean"])
    assert (first.X != other.X).nnz > 0
    assert not np.array_equal(first.layers["true_mean"], other.layers["true_mean"])


def test_noise_parameters_are_drawn_as_documented():
    """Oracle: log θ is N(log 2, 0.7²) and π is Beta(2, 3), by Kolmogorov–Smirnov tests."""
    adata = simulate.get("zinb")(cells=10, genes=2_000, types=2, depth=5_000.0, seed=5)
    log_theta = np.log(adata.var["true_inverse_dispersion"])
    assert stats.kstest(log_theta, stats.norm(np.log(2), 0.7).cdf).pvalue > 1e-4
    zero = adata.var["true_zero_probability"]
    assert stats.kstest(zero, stats.beta(2, 3).cdf).pvalue > 1e-4


def test_design_has_the_depth_types_and_spread_asked_for():
    """Oracles: the docstring: mean library = depth, its spread 0.35, genes over 1,000-fold."""
    plan = design(cells=4_000, genes=800, types=5, depth=3_000.0, rng=np.random.default_rng(1))
    library = plan.mean.sum(axis=1)
    np.testing.assert_allclose(library.mean(), 3_000, rtol=0.03)
    np.testing.assert_allclose(plan.gene_mean, plan.mean.mean(axis=0))
    assert set(plan.label) == set(range(5))
    assert np.log(library).std() > 0.3
    assert np.ptp(np.log10(plan.gene_mean)) > 3 - 0.5
    within = [np.log(plan.mean[plan.label == k]).mean(axis=0) for k in range(5)]
    gap = within[0] - within[1]
    gap -= np.median(gap)
    changed = (np.abs(gap) > 0.15).mean()  # a marker in either type, unless the normal is near 0
    assert 0.3 < changed < 0.44  # 1 − 0.75² = 0.4375 at most

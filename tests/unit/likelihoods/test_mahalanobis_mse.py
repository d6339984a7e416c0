"""Mahalanobis squared error against dense inverses, and its covariance against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.decomposition import PCA

from countae import likelihoods
from countae.likelihoods.mahalanobis_mse import low_rank_covariance, whitened

RNG = np.random.default_rng(6)
GENES, FACTORS = 7, 3


@pytest.fixture
def family():
    return likelihoods.get("mahalanobis_mse")()


def test_parts_add_up_to_the_form_with_a_dense_inverse(t64):
    """Oracle: numpy.linalg.inv of the hidden rows and columns of D + UUᵀ, cell by cell."""
    unique, loadings = RNG.uniform(0.2, 2, GENES), RNG.normal(size=(GENES, FACTORS))
    wanted = RNG.random((5, GENES)) < 0.6
    residual = RNG.normal(size=(5, GENES)) * wanted
    parts = whitened(t64(residual), t64(wanted), t64(unique), t64(loadings))
    covariance = np.diag(unique) + loadings @ loadings.T
    for i, chosen in enumerate(wanted):
        inverse = np.linalg.inv(covariance[np.ix_(chosen, chosen)])
        expected = residual[i, chosen] @ inverse @ residual[i, chosen]
        np.testing.assert_allclose(parts[i].sum(), expected, rtol=1e-10)


def test_loss_of_cells_by_hand(family, t64):
    """Oracle: two genes of one factor, Σ = [[2, 1], [1, 2]], inverse [[2, −1], [−1, 2]]/3."""
    raw = {"location": t64([[0.5, 0.2]]), "log_unique": t64([0.0, 0.0])}
    raw |= dict.fromkeys(family.columns, t64([0.0, 0.0])) | {"loading_1": t64([1.0, 1.0])}
    counts, size = t64([[6.0, 0.0]]), t64([[2.0]])
    a, b = np.log(4.0) - 0.5, -0.2
    loss = family.loss_of_cells(counts, t64([[1.0, 1.0]]), raw, size).sum()
    np.testing.assert_allclose(loss, (2 * a * a - 2 * a * b + 2 * b * b) / 3, rtol=1e-12)
    alone = family.loss_of_cells(counts, t64([[1.0, 0.0]]), raw, size)
    np.testing.assert_allclose(alone, [[a * a / 2, 0.0]], rtol=1e-12)


def test_without_loadings_it_is_a_weighted_squared_error(family, t64):
    """Limit U = 0: Σ r²/d, the squared error of ``mse_log1p`` over the variances."""
    mse = likelihoods.get("mse_log1p")()
    raw = {"location": t64([[0.5, 0.2]]), "log_unique": t64([0.3, -1.0])}
    raw |= dict.fromkeys(family.columns, t64([0.0, 0.0]))
    counts, size = t64([[6.0, 1.0]]), t64([[2.0]])
    expected = mse.loss(counts, location=raw["location"], scale=t64(1.0), size_factor=size)
    actual = family.loss_of_cells(counts, t64([[1.0, 1.0]]), raw, size)
    np.testing.assert_allclose(actual, expected / t64(np.exp([0.3, -1.0])), rtol=1e-12)


def test_covariance_of_many_cells_is_that_of_probabilistic_pca():
    """Oracle: sklearn.decomposition.PCA.get_covariance, off the diagonal, where shrinkage is nil;
    on it the genes' own variances.
    """
    loadings = RNG.normal(size=(12, 2))
    z = RNG.normal(size=(40_000, 2)) @ loadings.T + RNG.normal(size=(40_000, 12))
    z = z - z.mean(axis=0)
    unique, found = low_rank_covariance(z, 2)
    covariance = np.diag(unique) + found @ found.T
    np.testing.assert_allclose(np.diag(covariance), z.var(axis=0), rtol=1e-3)
    deviation = z.std(axis=0)
    expected = PCA(2).fit(z / deviation).get_covariance() * np.outer(deviation, deviation)
    off = ~np.eye(12, dtype=bool)
    np.testing.assert_allclose(covariance[off], expected[off], atol=0.01 * deviation.max() ** 2)


def test_independent_residuals_of_few_cells_are_shrunk():
    """Limit: without any correlation hardly a pair keeps one, whatever twenty cells suggest."""
    z = RNG.normal(size=(20, 50))
    unique, loadings = low_rank_covariance(z, 8)
    assert (np.square(loadings).sum(axis=1) < 0.2 * unique).all()
    assert (unique > 0).all()


@pytest.mark.parametrize(("cells", "genes"), [(1, 5), (30, 1), (3, 2), (40, 6)])
def test_few_cells_or_genes_have_a_covariance(cells, genes):
    """Also a gene without any variance."""
    z = RNG.normal(size=(cells, genes))
    z[:, 0] = 0
    unique, loadings = low_rank_covariance(z + (genes == 1), 8)
    assert loadings.shape == (genes, 8)
    assert (unique > 0).all()
    assert np.isfinite(loadings).all()


def test_best_start_is_the_covariance_around_gene_means(family, t64):
    """Oracle: numpy.cov of residuals; correlated genes get a shared factor, and m the mean."""
    shared = RNG.normal(size=(3_000, 1))
    counts = RNG.poisson(np.exp(1 + np.hstack([shared, shared, RNG.normal(size=(3_000, 1))])))
    logs = np.log1p(counts)
    moments = likelihoods._base.GeneMoments(
        t64(counts.mean(0)), t64(logs.mean(0)), t64(np.ones(3)), t64(np.full(3, 0.1))
    )
    found = family.best_start(counts.astype(float), np.ones((3_000, 1)), moments)
    loadings = np.stack([found[name].numpy() for name in family.columns], axis=1)
    covariance = np.diag(found["log_unique"].exp().numpy()) + loadings @ loadings.T
    expected = np.cov(logs.T, bias=True)
    np.testing.assert_allclose(np.diag(covariance), np.diag(expected), rtol=2e-3)
    assert 0.5 * expected[0, 1] < covariance[0, 1] < 1.05 * expected[0, 1]
    assert abs(covariance[0, 2]) < 0.15 * expected[0, 1]
    np.testing.assert_allclose(found["location"], logs.mean(0))


def test_is_scored_like_mse_log1p(family, t64):
    """Oracle: scipy.stats.norm between log1p((k ± ½)/s); s is that of plain residuals."""
    at = {"location": t64(0.9), "scale": t64(0.4), "size_factor": t64(2.0)}
    ends = stats.norm(0.9, 0.4).cdf(np.log1p(np.array([2.5, 3.5]) / 2))
    np.testing.assert_allclose(family.log_pmf(t64(3.0), **at).exp(), ends[1] - ends[0], rtol=1e-9)
    counts, made = t64([[3.0], [5.0]]), {k: v.expand(2, 1) for k, v in at.items()}
    mse = likelihoods.get("mse_log1p")()
    assert (
        family.calibrate(counts, made)["log_scale"] == mse.calibrate(counts, made)["log_scale"]
    ).all()

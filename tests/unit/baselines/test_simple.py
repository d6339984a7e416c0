"""Clusters, neighbours, diffusion, PCA and ALRA against what is worked out by hand or in loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from countae import baselines
from countae.baselines import alra, magic
from countae.baselines._base import Seen
from countae.baselines._log_space import LogSpace


def whole(counts: np.ndarray, size_factor: np.ndarray) -> Seen:
    return Seen(
        counts.astype(float), np.reshape(size_factor, (-1, 1)), np.zeros(counts.shape, dtype=bool)
    )


FIVE = np.array([[9, 0, 1], [8, 0, 2], [0, 7, 1], [1, 9, 0], [0, 8, 2]])
SIZES = np.array([1.0, 0.5, 2.0, 1.0, 1.0])


def test_neighbours_of_five_cells_by_hand():
    """A cell like the first is nearest to the first two, whatever its hidden third count is."""
    predict = baselines.get("knn_smoothing")().learn(whole(FIVE, SIZES), 2)
    hidden = np.array([[False, False, True]])
    found = predict(Seen(np.array([[17.0, 0.0, 0.0]]), np.array([[2.0]]), hidden))
    rate = np.array([18, 24, 6]) / 5.5
    expected = 2.0 * (np.array([17, 0, 3]) + rate) / (1.5 + 1)
    np.testing.assert_allclose(found[0], expected)


def test_clusters_of_five_cells_by_hand():
    predict = baselines.get("cluster_mean")().learn(whole(FIVE, SIZES), 2)
    found = predict(whole(np.array([[9, 0, 1], [0, 8, 1]]), np.array([1.0, 3.0])))
    rate = np.array([18, 24, 6]) / 5.5
    np.testing.assert_allclose(found[0], (np.array([17, 0, 3]) + rate) / (1.5 + 1))
    np.testing.assert_allclose(found[1], 3.0 * (np.array([1, 24, 3]) + rate) / (4.0 + 1))


def test_pca_is_the_best_linear_reconstruction(rng):
    """Oracle: the singular values that are left out; `test_layers` holds the network to them."""
    counts, size = rng.poisson(rng.gamma(1.0, 3.0, (50, 1)), (50, 15)), rng.uniform(0.5, 2, 50)
    seen = whole(counts, size)
    location = baselines.get("log1p_pca")().learn(seen, 4)(seen)
    logged = np.log1p(counts / size[:, None])
    left = np.linalg.svd(logged - logged.mean(axis=0), compute_uv=False)[4:]
    assert np.square(logged - location).sum() == pytest.approx(np.square(left).sum(), rel=1e-10)


def test_pca_predicts_as_its_loss_would(small_nb):
    """Its distribution has the mean that is scored with other noise, and a spread per gene."""
    member, test = baselines.get("log1p_pca")(), np.flatnonzero(small_nb.part == "test")
    found = member.prediction(small_nb, test)
    np.testing.assert_allclose(found.mean, member.mean(small_nb, test), rtol=1e-12)
    assert found.likelihood.name == "mse_log1p"
    scale = found.parameters["scale"].numpy()
    assert (scale == scale[0]).all()
    assert len(np.unique(scale[0])) == len(small_nb.gene_id)
    assert member.latent(small_nb, test).shape == (len(test), member.setting(small_nb))


def test_diffusion_in_loops(rng):
    """Oracle: the formulas of the docstring, entry by entry, on dense matrices."""
    counts, size = rng.poisson(rng.gamma(1.0, 4.0, (30, 1)), (30, 8)), rng.uniform(0.5, 2, 30)
    reference = whole(counts, size)
    asked = whole(rng.poisson(3.0, (4, 8)), np.ones(4) * 1.5)
    found = baselines.get("magic")().learn(reference, 3)(asked)

    space = LogSpace.of(reference, 20)
    points, places = space.scores(reference), space.scores(asked)
    near = np.zeros((30, 30))
    for i in range(30):
        distance = np.linalg.norm(points - points[i], axis=1)
        distance[i] = np.inf
        order = np.argsort(distance)[:15]
        near[i, order] = np.exp(-distance[order] / distance[order[4]])
    step = (near + near.T) / 2 + np.eye(30)
    step /= step.sum(axis=1, keepdims=True)
    rate = counts / size[:, None]
    for i in range(4):
        distance = np.linalg.norm(points - places[i], axis=1)
        order = np.argsort(distance)[:15]
        weight = np.zeros(30)
        weight[order] = np.exp(-distance[order] / distance[order[4]])
        expected = 1.5 * (weight / weight.sum()) @ step @ step @ rate
        np.testing.assert_allclose(found[i], expected, rtol=1e-6)


def test_steps_between_cells_are_probabilities(rng):
    step = magic.walk(csr_matrix(rng.random((6, 6)) * (rng.random((6, 6)) < 0.5)))
    np.testing.assert_allclose(step.sum(axis=1).A1, 1.0)


def test_cells_on_one_point_are_all_alike():
    near = magic.kernel(csr_matrix((np.zeros(6), np.arange(6), [0, 3, 6]), (2, 6)))
    np.testing.assert_array_equal(near.data, 1.0)


def alra_by_its_paper(logged: np.ndarray, k: int) -> np.ndarray:
    """The published algorithm, gene by gene (Linderman et al. 2022, Methods)."""
    u, s, v = np.linalg.svd(logged, full_matrices=False)
    low = (u[:, :k] * s[:k]) @ v[:k]
    result = np.zeros_like(low)
    for j in range(low.shape[1]):
        limit = abs(low[:, j].min())
        kept = low[:, j] > limit
        value, seen = low[kept, j], logged[logged[:, j] > 0, j]
        if len(value) > 1 and len(seen) > 1 and value.std() > 0 and seen.std() > 0:
            value = (value - value.mean()) / value.std(ddof=1) * seen.std(ddof=1) + seen.mean()
        result[kept, j] = np.maximum(value, 0)
    return result


def test_alra_agrees_with_its_paper(rng):
    types = rng.gamma(0.5, 4.0, (3, 40))[rng.integers(3, size=150)]
    counts, size = rng.poisson(types), rng.uniform(0.5, 2, 150)
    seen = whole(counts, size)
    k = alra.rank(np.linalg.svd(seen.logged, compute_uv=False))
    assert k >= 2
    found = baselines.get("alra")().learn(seen, None)(seen)
    expected = alra_by_its_paper(seen.logged, k)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert 0.05 < (found == 0).mean() < 0.95


def test_the_rank_is_the_last_that_stands_out():
    noise = 1.0 - 0.01 * np.arange(97) - 1e-4 * (np.arange(97) % 2)
    assert alra.rank(np.concatenate([[30.0, 20.0, 10.0], noise])) == 3
    assert alra.rank(np.concatenate([[30.0, 20.0, 1.001], noise])) == 2
    assert alra.rank(np.array([3.0])) == 1

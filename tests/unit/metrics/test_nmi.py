"""Normalised mutual information, and the clusterings that it and the Rand index take."""

from __future__ import annotations

import random

import anndata
import numpy as np
import pytest
import scanpy
from scipy.stats import entropy

from countae import metrics
from countae.metrics._clusterings import clusterings, shared_neighbours

nmi = metrics.get("nmi")


def test_agrees_with_entropies_and_takes_the_best(rng):
    """Oracle: SciPy's entropies, I = H(labels) + H(clusters) − H(both), over their mean."""
    labels = rng.integers(4, size=200)
    rows = np.stack([rng.integers(3, size=200), np.where(rng.random(200) < 0.7, labels, 0)])

    def of(clusters):
        h = [
            entropy(np.unique(key, return_counts=True)[1])
            for key in (labels, clusters, 10 * labels + clusters)
        ]
        return (h[0] + h[1] - h[2]) / ((h[0] + h[1]) / 2)

    each = [of(row) for row in rows]
    assert each[1] > 3 * each[0]
    assert nmi(clusterings=rows, labels=labels) == pytest.approx(each[1], rel=1e-9)
    assert nmi(clusterings=rows[::-1], labels=labels) == pytest.approx(each[1], rel=1e-9)


def test_limits():
    """Oracle: by hand; 1 for the labels under other names, 0 for a single cluster."""
    labels = np.array(list("aabbcc"))
    assert nmi(clusterings=np.array([[7, 7, 2, 2, 0, 0]]), labels=labels) == pytest.approx(1)
    assert nmi(clusterings=np.zeros((1, 6), int), labels=labels) == 0


def test_clusterings_find_what_lies_apart(rng):
    """Three far groups are the clusters at low resolutions; higher ones split them; no chance."""
    labels = np.repeat(["a", "b", "c"], 40)
    latent = rng.normal(size=(120, 2)).astype(np.float32)
    latent[:, 0] += 40 * np.repeat([0, 1, 2], 40)
    rows = clusterings(latent=latent)
    assert rows.shape == (20, 120)
    assert nmi(clusterings=rows[:1], labels=labels) == pytest.approx(1)
    numbers = [len(np.unique(row)) for row in rows]
    assert numbers[0] == 3
    assert numbers[-1] > 4
    random.seed(1)  # the program's own chance plays no part, and is left alone
    before = random.getstate()
    np.testing.assert_array_equal(rows, clusterings(latent=latent))
    assert random.getstate() == before


def test_clusterings_are_those_of_scanpy(rng):
    """Leiden on scanpy's own graph agrees with the labels as well, over the same grid."""
    labels = np.repeat(list("abcde"), 40)
    latent = rng.normal(size=(200, 5)) + 2.2 * np.eye(5).repeat(40, axis=0)
    theirs = anndata.AnnData(latent.astype(np.float32))
    scanpy.pp.neighbors(theirs, n_neighbors=15, use_rep="X")
    found = []
    for resolution in np.arange(1, 21) / 10:
        scanpy.tl.leiden(theirs, resolution=resolution, flavor="igraph", directed=False)
        found.append(theirs.obs["leiden"].to_numpy().astype(int))
    best = nmi(clusterings=np.array(found), labels=labels)
    assert 0.3 < best < 0.95
    assert nmi(clusterings=clusterings(latent=latent), labels=labels) == pytest.approx(
        best, abs=0.06
    )


def test_shared_neighbours_by_their_definition():
    """Sets of the nearest sixteen, the cell included; a tie of 1/15 or less is none."""
    at = np.arange(60.0) ** 1.3  # no two distances are equal
    ties = shared_neighbours(at[:, None]).toarray()
    sets = [set(np.argsort(np.abs(at - own))[:16]) for own in at]
    share = np.array([[len(a & b) / len(a | b) for b in sets] for a in sets])
    assert ((share > 0) & (share <= 1 / 15)).any()
    expected = np.triu(np.where(share > 1 / 15, share, 0), k=1)
    np.testing.assert_allclose(ties, expected, rtol=1e-12)


def test_clusterings_of_few_or_equal_points():
    """Hardly any cells are no error; cells on one point are never told apart by their order."""
    assert clusterings(latent=np.array([[0.0], [0.0], [1.0], [5.0]])).shape == (20, 4)
    assert not clusterings(latent=np.ones((40, 2))).any()
    rows = clusterings(latent=np.repeat(np.arange(30.0), 20)[:, None])
    assert (rows.reshape(20, 30, 20) == rows.reshape(20, 30, 20)[..., :1]).all()

"""Normalised mutual information, and the clusterings that it and the Rand index take."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from countae import metrics
from countae.metrics._clusterings import clusterings

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
    """k = 2 … 6 for three labels, the same each time; k = 3 is the labels themselves."""
    labels = np.repeat(["a", "b", "c"], 20)
    latent = rng.normal(size=(60, 2)).astype(np.float32)
    latent[:, 0] += 40 * np.repeat([0, 1, 2], 20)
    rows = clusterings(latent=latent, labels=labels)
    assert [len(np.unique(row)) for row in rows] == [2, 3, 4, 5, 6]
    assert nmi(clusterings=rows[1:2], labels=labels) == pytest.approx(1)
    np.testing.assert_array_equal(rows, clusterings(latent=latent, labels=labels))


def test_clusterings_of_few_distinct_points():
    """No more clusters than points; one cluster when all cells lie on one point."""
    labels = np.array(list("abcd"))
    rows = clusterings(latent=np.array([[0.0], [0.0], [1.0], [5.0]]), labels=labels)
    assert [len(np.unique(row)) for row in rows] == [2, 3]
    np.testing.assert_array_equal(clusterings(latent=np.ones((4, 2)), labels=labels), [[0] * 4])

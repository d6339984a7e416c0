"""Adjusted Rand index."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from countae import metrics

ari = metrics.get("ari")


def test_agrees_with_counting_pairs_and_takes_the_best(rng):
    """Oracle: pairs of cells counted one by one, minus their expectation under permutation."""
    labels = rng.integers(3, size=30)
    rows = np.stack([np.where(rng.random(30) < 0.8, labels, 0), rng.integers(4, size=30)])

    def of(clusters):
        pairs = list(combinations(range(30), 2))
        same = np.array([[labels[i] == labels[j], clusters[i] == clusters[j]] for i, j in pairs])
        both, (a, b) = same.all(axis=1).sum(), same.sum(axis=0)
        chance = a * b / len(pairs)
        return (both - chance) / ((a + b) / 2 - chance)

    each = [of(row) for row in rows]
    assert each[0] > each[1] + 0.2
    assert ari(clusterings=rows, labels=labels) == pytest.approx(each[0], rel=1e-9)
    assert ari(clusterings=rows[1:], labels=labels) == pytest.approx(each[1], rel=1e-9)


def test_limits():
    """Oracle: by hand; 1 for the labels, 0 for one cluster, −½ for the worst of four cells."""
    labels = np.array(list("aabb"))
    assert ari(clusterings=np.array([[1, 1, 0, 0]]), labels=labels) == 1
    assert ari(clusterings=np.zeros((1, 4), int), labels=labels) == 0
    assert ari(clusterings=np.array([[0, 1, 0, 1]]), labels=labels) == pytest.approx(-0.5)

"""Purity of neighbourhoods."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from countae import metrics

knn_purity = metrics.get("knn_purity")


def test_agrees_with_all_distances(rng):
    """Oracle: the fifteen smallest of SciPy's distances, the cell itself left out."""
    latent, labels = rng.normal(size=(80, 3)), rng.choice(["a", "b"], size=80)
    latent[labels == "a"] += 0.7
    distance = cdist(latent, latent)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :15]
    expected = (labels[nearest] == labels[:, None]).mean()
    assert knn_purity(latent=latent, labels=labels) == pytest.approx(expected)


def test_few_cells_by_hand():
    """Oracle: by hand; of four cells all three others are neighbours."""
    found = knn_purity(latent=np.arange(4.0)[:, None], labels=np.array(["a", "a", "a", "b"]))
    assert found == pytest.approx((3 * 2 / 3 + 0) / 4)


def test_equal_points_do_not_take_themselves_for_neighbours():
    """Oracle: by hand; on one point a cell's own label must not count as a neighbour's."""
    found = knn_purity(latent=np.zeros((6, 2)), labels=np.array(list("abcdef")))
    assert found == 0.0

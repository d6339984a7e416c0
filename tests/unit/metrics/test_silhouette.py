"""Silhouette width of the labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from countae import metrics

silhouette = metrics.get("silhouette")


def test_by_hand():
    """Oracle: by hand. Points 0, 1 | 5, 7 | 20 on a line; the last label has one cell, so 0."""
    found = silhouette(
        latent=np.array([[0.0], [1.0], [5.0], [7.0], [20.0]], dtype=np.float32),
        labels=np.array(["a", "a", "b", "b", "c"]),
    )
    widths = [1 - 1 / 6, 1 - 1 / 5, 1 - 2 / 4.5, 1 - 2 / 6.5, 0]
    assert found == pytest.approx(np.mean(widths))


def test_agrees_with_the_definition(rng):
    """Oracle: Rousseeuw's a and b from SciPy's distance matrix, cell by cell."""
    latent, labels = rng.normal(size=(60, 4)), rng.integers(3, size=60)
    latent[:, 0] += 2 * labels
    distance, widths = cdist(latent, latent), []
    for i in range(60):
        own = (labels == labels[i]) & (np.arange(60) != i)
        others = [distance[i, labels == k].mean() for k in range(3) if k != labels[i]]
        a, b = distance[i, own].mean(), min(others)
        widths.append((b - a) / max(a, b))
    assert silhouette(latent=latent, labels=labels) == pytest.approx(np.mean(widths), rel=1e-9)


def test_labels_of_one_cell_each_have_none():
    assert np.isnan(silhouette(latent=np.eye(3), labels=np.array(["a", "b", "c"])))

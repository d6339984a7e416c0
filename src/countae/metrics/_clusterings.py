"""Clusterings of cells from few clusters to many, for metrics that take the best of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STARTS = 5  # k-means from the best of as many starting points
SEED = 0


def clusterings(*, latent: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Clusters of the cells by k-means, k = 2 … twice the number of labels.

    The field takes Leiden over a grid of resolutions. That needs a compiled graph library, which
    countae does not require (docs/decisions/0012-clusters-by-k-means.md); a grid of k around the
    number of labels is its other convention.

    Parameters
    ----------
    latent : ndarray, (cell, latent)
    labels : ndarray, (cell,)

    Returns
    -------
    ndarray, (clustering, cell), int
        One row per k, up to the number of distinct points; a single row of one cluster when all
        cells lie on one point.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    points = latent.astype(np.float64)
    most = min(2 * len(np.unique(labels)), len(np.unique(points, axis=0)))
    found = np.zeros((max(most - 1, 1), len(points)), dtype=np.int64)
    with threadpool_limits(limits=1):  # jobs run side by side
        for row, k in zip(found, range(2, most + 1), strict=False):
            row[:] = KMeans(k, n_init=STARTS, random_state=SEED).fit_predict(points)
    return found


def best_agreement(
    score: Callable[[np.ndarray, np.ndarray], float], clusterings: np.ndarray, labels: np.ndarray
) -> float:
    """Highest ``score(labels, clusters)`` over the clusterings, (clustering, cell)."""
    return float(max(score(labels, clusters) for clusters in clusterings))

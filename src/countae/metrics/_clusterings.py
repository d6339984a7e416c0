"""Clusterings of cells from few clusters to many, for metrics that take the best of them."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from scipy.sparse import coo_matrix, triu

NEIGHBOURS = 15
LEAST_SHARED = 1 / 15  # a weaker tie between two cells is none, as in Seurat
RESOLUTIONS = np.arange(1, 21) / 10  # the grid of scIB (Luecken et al. 2022)
SEED = 0


def clusterings(*, latent: np.ndarray) -> np.ndarray:
    """Clusters of the cells by Leiden's algorithm over a grid of resolutions.

    It maximises modularity on the graph of shared nearest neighbours: two cells are tied by the
    Jaccard index of their sets of 15 neighbours, themselves included. Cells on one point are in
    one cluster: which of them are the nearest would be left to their order.

    Parameters
    ----------
    latent : ndarray, (cell, latent)

    Returns
    -------
    ndarray, (resolution, cell), int
        A row for each of the resolutions 0.1, 0.2 … 2.

    References: Traag et al. 2019, doi:10.1038/s41598-019-41695-z; Levine et al. 2015,
    doi:10.1016/j.cell.2015.05.047 (shared neighbours); Luecken et al. 2022,
    doi:10.1038/s41592-021-01336-8 (the best of the grid)
    """
    import igraph

    points, place = np.unique(latent, axis=0, return_inverse=True)
    if len(points) == 1:
        return np.zeros((len(RESOLUTIONS), len(latent)), dtype=np.int64)
    ties = shared_neighbours(points)
    graph = igraph.Graph(n=len(points), edges=np.column_stack([ties.row, ties.col]))
    igraph.set_random_number_generator(random.Random(SEED))
    try:
        found = [
            graph.community_leiden(
                "modularity", weights=ties.data, resolution=resolution, n_iterations=2
            ).membership
            for resolution in RESOLUTIONS.tolist()
        ]
    finally:
        igraph.set_random_number_generator(random)
    return np.array(found, dtype=np.int64)[:, place]


def shared_neighbours(points: np.ndarray) -> coo_matrix:
    """Jaccard index of the sets of neighbours of two cells, (cell, cell), above the diagonal."""
    from sklearn.neighbors import NearestNeighbors

    number = min(NEIGHBOURS, len(points) - 1)
    search = NearestNeighbors(n_neighbors=number).fit(points.astype(np.float64))
    near = search.kneighbors_graph().astype(np.int64).tolil()
    near.setdiag(1)
    near = near.tocsr()
    ties = triu(near @ near.T, k=1).tocoo()
    share = ties.data / (2 * (number + 1) - ties.data)
    kept = share > LEAST_SHARED
    return coo_matrix((share[kept], (ties.row[kept], ties.col[kept])), shape=ties.shape)


def best_agreement(
    score: Callable[[np.ndarray, np.ndarray], float], clusterings: np.ndarray, labels: np.ndarray
) -> float:
    """Highest ``score(labels, clusters)`` over the clusterings, (clustering, cell)."""
    return float(max(score(labels, clusters) for clusters in clusterings))

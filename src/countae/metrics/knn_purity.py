"""Purity of neighbourhoods in the latent space. Secondary: it decides nothing."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric

NEIGHBOURS = 15


@metric(better="higher", unit="fraction", bounds=(0.0, 1.0), level="dataset", secondary=True)
def knn_purity(*, latent: np.ndarray, labels: np.ndarray) -> float:
    """Mean share of a cell's 15 nearest neighbours in the latent space with its own label.

    Chance gives the sum of the squared shares of the labels, not 0. A label with fewer than 16
    cells cannot reach 1.

    Parameters
    ----------
    latent : ndarray, (cell, latent)
        Coordinates of test cells with nothing hidden; distances are Euclidean.
    labels : ndarray, (cell,)

    Returns
    -------
    float in [0, 1]; with fewer than 16 cells all others are the neighbours.
    """
    from sklearn.neighbors import NearestNeighbors

    number = min(NEIGHBOURS, len(labels) - 1)
    search = NearestNeighbors(n_neighbors=number).fit(latent.astype(np.float64))
    neighbours = search.kneighbors(return_distance=False)  # without the cell itself
    return float((labels[neighbours] == labels[:, None]).mean())

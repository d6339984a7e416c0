"""Silhouette width of the labels in the latent space. Secondary: it decides nothing."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric


@metric(better="higher", unit="fraction", bounds=(-1.0, 1.0), level="dataset", secondary=True)
def silhouette(*, latent: np.ndarray, labels: np.ndarray) -> float:
    r"""Mean silhouette width of the cell labels in the network's latent space.

    Of a cell with mean distance a to the other cells of its label and b to those of the nearest
    other label it is (b − a)/max(a, b), and 0 for the only cell of its label.

    Parameters
    ----------
    latent : ndarray, (cell, latent)
        Coordinates of test cells with nothing hidden; distances are Euclidean.
    labels : ndarray, (cell,)

    Returns
    -------
    float in [-1, 1]; NaN when every cell has a label of its own.
    Reference: Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7, section 2
    """
    from sklearn.metrics import silhouette_score

    if len(np.unique(labels)) == len(labels):
        return np.nan
    return float(silhouette_score(latent.astype(np.float64), labels, metric="euclidean"))

"""Adjusted Rand index of clusters and labels. Secondary: it decides nothing."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric
from countae.metrics._clusterings import best_agreement


@metric(better="higher", unit="fraction", bounds=(-0.5, 1.0), level="dataset", secondary=True)
def ari(*, clusterings: np.ndarray, labels: np.ndarray) -> float:
    """Adjusted Rand index of cell labels and the best of several clusterings.

    Parameters
    ----------
    clusterings : ndarray, (clustering, cell), int
        Leiden's clusters of test cells by their latent coordinates with nothing hidden, over a
        grid of resolutions (:mod:`countae.metrics._clusterings`).
    labels : ndarray, (cell,)

    Returns
    -------
    float in [-½, 1]: share of pairs of cells on which clusters and labels agree, moved and
    scaled so that chance gives 0 and identity 1; the best is above what chance gives.
    Reference: Hubert & Arabie 1985, doi:10.1007/BF01908075, equation 5
    """
    from sklearn.metrics import adjusted_rand_score

    return best_agreement(adjusted_rand_score, clusterings, labels)

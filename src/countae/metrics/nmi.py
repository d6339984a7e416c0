"""Normalised mutual information of clusters and labels. Secondary: it decides nothing."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric
from countae.metrics._clusterings import best_agreement


@metric(better="higher", unit="fraction", bounds=(0.0, 1.0), level="dataset", secondary=True)
def nmi(*, clusterings: np.ndarray, labels: np.ndarray) -> float:
    """Normalised mutual information of cell labels and the best of several clusterings.

    Parameters
    ----------
    clusterings : ndarray, (clustering, cell), int
        Leiden's clusters of test cells by their latent coordinates with nothing hidden, over a
        grid of resolutions (:mod:`countae.metrics._clusterings`).
    labels : ndarray, (cell,)

    Returns
    -------
    float in [0, 1]: mutual information over the mean of the two entropies, 1 when the clusters
    are the labels. Taking the best favours all contestants alike, but is no estimate of what an
    analyst who cannot see the labels would get.
    Reference: Vinh et al. 2010, JMLR 11:2837-2854, table 2 (NMI by the sum)
    """
    from sklearn.metrics import normalized_mutual_info_score

    return best_agreement(normalized_mutual_info_score, clusterings, labels)

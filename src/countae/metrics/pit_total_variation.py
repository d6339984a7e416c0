"""Distance of the probability integral transform from uniform."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric

BINS = 20


@metric(better="lower", unit="fraction", bounds=(0.0, 1.0), summary="pooled")
def pit_total_variation(*, pit: np.ndarray) -> np.ndarray:
    """Half the summed gap between each gene's PIT histogram (20 bins) and a flat one.

    With n cells even a perfect model is at about 0.4·√(20/n) for a gene: compare losses there, not
    with zero. The value of a data set pools all entries and is free of this.

    Parameters
    ----------
    pit : ndarray, (cell, gene), in [0, 1]
        Randomised probability integral transform, F(x−1) + u·P(x).

    Returns
    -------
    ndarray, (gene,), in [0, 1]. Reference: Czado et al. 2009, doi:10.1111/j.1541-0420.2009.01191.x
    """
    bins = np.minimum((pit * BINS).astype(int), BINS - 1)
    share = np.stack([(bins == k).mean(axis=0) for k in range(BINS)])
    return 0.5 * np.abs(share - 1 / BINS).sum(axis=0)

"""Histogram of the probability integral transform over all entries."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric

BINS = 20


@metric(better="nominal", unit="density", bounds=(0.0, BINS), level="dataset")
def pit_histogram(*, pit: np.ndarray) -> dict[str, float]:
    """Density of the PIT in 20 bins; 1 everywhere when the distribution is right.

    A U says that the counts vary more than the model, a hump that they vary less.

    Parameters
    ----------
    pit : ndarray, (cell, gene), in [0, 1]

    Returns
    -------
    dict of float, by the bin's left edge
    """
    number, edges = np.histogram(pit, bins=BINS, range=(0.0, 1.0))
    return {f"{edge:.2f}": BINS * n / pit.size for edge, n in zip(edges, number, strict=False)}

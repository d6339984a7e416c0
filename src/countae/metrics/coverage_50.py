"""Coverage of the central 50 % predictive interval."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric
from countae.metrics._intervals import central_coverage


@metric(better="nominal", unit="fraction, nominal 0.50", bounds=(0.0, 1.0))
def coverage_50(*, pit: np.ndarray) -> np.ndarray:
    """Share of counts inside the central 50 % interval, with randomised ends, per gene.

    Parameters
    ----------
    pit : ndarray, (cell, gene), in [0, 1]

    Returns
    -------
    ndarray, (gene,), in [0, 1]; 0.50 when the spread is right
    """
    return central_coverage(pit=pit, level=0.50)

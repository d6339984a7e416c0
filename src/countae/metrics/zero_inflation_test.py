"""Test of extra zeros, gene by gene, around the means of a model."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric
from countae.metrics._zero_inflation import zero_inflation


@metric(
    better="nominal", unit="probability", bounds=(0.0, 1.0), summary="median", noise="nb"
)  # columns of one network share their means
def zero_inflation_test(*, observed: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Likelihood-ratio test of ZINB against NB around the model's means: p-value per gene.

    Small: the gene has more zeros than an NB around these means can have. Not corrected for the
    number of genes. A gene whose means are wrong may be called zero-inflated for that reason.

    Parameters
    ----------
    observed : ndarray, (cell, gene), raw counts
    mean : ndarray, (cell, gene)
        Expected counts of the same entries, predicted while hidden.

    Returns
    -------
    ndarray, (gene,); NaN where not testable. For the estimates and details see
    :func:`~countae.metrics._zero_inflation.zero_inflation`.
    Reference: Self & Liang 1987, doi:10.1080/01621459.1987.10478472
    """
    return zero_inflation(observed=observed, mean=mean).p_value

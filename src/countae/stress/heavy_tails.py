"""Heavy tails everywhere: in training, validation and test cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae.counts import CountMatrix
from countae.stress import stress
from countae.stress._change import checked, with_counts


@stress(level="inverse of the tail's exponent", levels=(0.2, 0.4, 0.6), bounds=(0.0, 0.9))
def heavy_tails(
    matrix: CountMatrix, level: float, rng: np.random.Generator, settings: dict[str, Any]
) -> list[CountMatrix]:
    r"""Every count times a factor with a power-law tail and mean 1, in all cells.

    .. math:: x' = \lfloor x F + V \rfloor,\quad F = (1 - t)\, U^{-t}

    with U and V uniform on (0, 1): P(F > f) falls as :math:`f^{-1/t}`, so t is the inverse of
    Pareto's exponent. E F = 1 and the rounding is unbiased, hence E x' = x; the variance of F is
    :math:`(1-t)^2/(1-2t) - 1` and infinite from t = ½ on. The true means of simulated counts
    stay, their distribution does not, so there is no oracle. Reference: Pareto (type I) with
    exponent 1/t and scale 1 − t; Arnold 2015, doi:10.1201/b18141, section 3.3.
    """
    counts = matrix.rows(slice(None)).copy()
    factor = (1 - level) * (1 - rng.random(counts.nnz)) ** -level
    heavy = np.floor(counts.data * factor + rng.random(counts.nnz))
    before = counts.sum(axis=1).A1
    counts.data = checked(heavy, matrix.source).astype(np.int32)
    library = matrix.library_size + counts.sum(axis=1).A1 - before
    made = with_counts(matrix, counts, library)
    if level > 0 and "truth" in made.adata.uns:
        made.adata.uns["truth"]["likelihood"] = ""
    return [made]

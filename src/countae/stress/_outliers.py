"""Counts made many times larger: of some entries, or of some whole cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from countae.counts import CountMatrix
from countae.stress._change import checked


def magnified(
    matrix: CountMatrix,
    among: np.ndarray,
    share: float,
    rng: np.random.Generator,
    settings: dict[str, Any],
) -> tuple[csr_matrix, np.ndarray]:
    """Counts and library sizes with outliers in the cells ``among``, bool.

    With the unit ``entries`` each non-zero count is hit with probability ``share`` (a zero stays
    zero, whatever it is multiplied by) and the library grows by what it gains; with ``cells``
    each cell is hit as a whole, with its library.
    """
    counts = matrix.rows(slice(None)).copy()
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    factor, library = settings["outlier_factor"], matrix.library_size
    if settings["outlier_unit"] == "entries":
        hit = (rng.random(counts.nnz) < share) & among[row]
        gained = (counts.data * np.int64(factor - 1)) * hit
        library = library + np.bincount(row, gained, len(library))
    else:
        cells = (rng.random(len(library)) < share) & among
        hit, library = cells[row], np.where(cells, library * factor, library)
        gained = (counts.data * np.int64(factor - 1)) * hit
    counts.data = checked(counts.data + gained, matrix.source).astype(np.int32)
    return counts, library

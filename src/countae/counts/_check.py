"""Checks of a whole matrix and its names; a failure says where, what, why and the mend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from countae.errors import CountMatrixError
from countae.registry import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-6  # floats this near to integers are counts that went through a float format


def checked_counts(
    matrix: Any, *, source: str, place: str, cell_id: np.ndarray, gene_id: np.ndarray, hint: str
) -> tuple[sparse.csr_matrix, bool]:
    """The matrix as int32 CSR, and whether its floats had to be rounded.

    Parameters
    ----------
    matrix : array or sparse matrix, (cell, gene)
    source, place : str
        File, and the part of it (``X``, ``layer 'counts'``), for messages.
    cell_id, gene_id : ndarray of str
    hint : str
        Sentence on where counts were found instead; may be empty.

    Raises
    ------
    CountMatrixError
        When the matrix is empty, or any value is negative, not finite, not within 1e-6 of an
        integer, or above 2^31 − 1.
    """
    where = f"{source}: {place}"
    if 0 in matrix.shape:
        raise CountMatrixError(
            f"{where} must hold at least one cell and one gene, found {matrix.shape[0]:,} cells × "
            f"{matrix.shape[1]:,} genes. Fix: check how the file was filtered or written."
        )
    if matrix.dtype.kind in "biu":
        matrix = matrix.astype(np.int64)
    elif matrix.dtype == np.float16:
        matrix = matrix.astype(np.float32)
    counts = sparse.csr_matrix(matrix)
    counts.sum_duplicates()
    values = counts.data
    if values.dtype.kind not in "iufb":
        raise CountMatrixError(
            f"{where} must hold numbers, found values of type {values.dtype}. Fix: store counts."
        )
    with np.errstate(invalid="ignore"):
        whole = np.rint(values)
        bad = ~((values >= 0) & (np.abs(values - whole) <= ROUNDING) & (whole < 2**31))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        row = int(np.searchsorted(counts.indptr, first, side="right")) - 1
        raise CountMatrixError(
            f"{where} must hold raw counts (non-negative integers), but {bad.sum():,} of "
            f"{values.size:,} stored values are not; first: {values[first]:.4g} at cell "
            f"{cell_id[row]!r}, gene {gene_id[counts.indices[first]]!r}. "
            f"{_cause(values[bad], values.size)} "
            f"Fix: {hint or 'name the layer with raw counts in the `layer` column.'}"
        )
    rounded = bool((whole != values).any())
    counts = sparse.csr_matrix(
        (whole.astype(np.int32), counts.indices, counts.indptr), counts.shape
    )
    counts.eliminate_zeros()
    counts.sort_indices()
    return counts, rounded


def holds_counts(matrix: Any) -> bool:
    """Whether a matrix holds raw counts, for a proposal; reads it whole."""
    values = matrix.data if sparse.issparse(matrix) else np.asarray(matrix)
    if values.dtype.kind not in "iuf" or values.size == 0:
        return False
    with np.errstate(invalid="ignore"):
        return bool(np.all((values >= 0) & (np.abs(values - np.rint(values)) <= ROUNDING)))


def check_names(names: np.ndarray, *, source: str, what: str) -> None:
    """Raise CountMatrixError when two cells or two genes have one name, or one has none."""
    unique, first, number = np.unique(names, return_index=True, return_counts=True)
    if (number > 1).any():
        twice = unique[number > 1]
        shown = ", ".join(map(repr, twice[:3]))
        mend = "obs_names_make_unique" if what == "cell" else "var_names_make_unique"
        raise CountMatrixError(
            f"{source}: {what} names must be unique, but {len(twice):,} occur more than once; "
            "first: "
            f"{shown}. Gene symbols and joined samples often repeat. Fix: use stable "
            "identifiers, or "
            f"adata.{mend}() before saving."
        )


def check_key(table: pd.DataFrame, key: str, *, source: str, setting: str) -> None:
    """Raise CountMatrixError when a column of obs is absent or has missing values."""
    if key not in table:
        raise CountMatrixError(
            f"{source}: `{setting}` names the obs column {key!r}, which is not there. "
            f"{did_you_mean(key, table.keys())}"
        )
    missing = table[key].isna().to_numpy()
    if missing.any():
        raise CountMatrixError(
            f"{source}: the obs column {key!r} (`{setting}`) must have a value for every cell, "
            f"but {missing.sum():,} of {missing.size:,} are missing; first: cell "
            f"{table.index[missing][0]!r}. Fix: fill them (for example with 'unknown'), remove "
            f"those cells, or leave `{setting}` empty."
        )


def check_library_size(library: np.ndarray, total: np.ndarray, *, source: str, key: str) -> None:
    """Raise CountMatrixError when a library size is no number or below the counts it includes."""
    if library.dtype.kind not in "iuf":
        raise CountMatrixError(
            f"{source}: the obs column {key!r} (`library_size_key`) must hold numbers, found "
            f"{library.dtype}. Fix: name the column with each cell's total count."
        )
    bad = ~(np.isfinite(library) & (library >= total - 0.5))
    if bad.any():
        cell = int(np.flatnonzero(bad)[0])
        raise CountMatrixError(
            f"{source}: the obs column {key!r} (`library_size_key`) must hold each cell's "
            "total over "
            f"all genes, so at least the counts in this matrix, but {bad.sum():,} of "
            f"{bad.size:,} cells "
            f"have less; first: {library[cell]:.6g} for {total[cell]:,} counts. Such a column "
            "usually holds a size factor or a logarithm. Fix: name the column of total counts, "
            "or leave "
            "`library_size_key` empty."
        )


def _cause(bad: np.ndarray, size: int) -> str:
    """Likely reason for values that are no counts."""
    if not np.isfinite(bad).all():
        return (
            "Missing or infinite values usually come from a division by zero in a normalisation."
        )
    if (bad < 0).any():
        return "Negative values usually mean that the matrix was scaled or batch-corrected."
    if (bad > 2**31 - 2).any():
        return "Values beyond 2,147,483,647 are no molecule or read counts."
    if bad.size < 0.1 * size:
        return "So few of them are usually a damaged or hand-edited file."
    if bad.max() < 20:
        return "Fractions this small usually mean that the matrix was log-normalised."
    return (
        "Fractions usually mean size-normalised values, or estimated counts (salmon, RSEM, SoupX)."
    )

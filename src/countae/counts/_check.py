"""Checks of a whole matrix and its names; a failure says where, what, why and the mend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from countae.errors import CountMatrixError
from countae.registry import did_you_mean, shown

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-6  # floats this near to integers are counts that went through a float format
LARGEST = 2**31 - 1


def checked_counts(
    block: sparse.csr_matrix,
    *,
    where: str,
    cell_id: np.ndarray,
    gene_id: np.ndarray,
    hint: Callable[[], str],
    values_before: int | None = None,
) -> tuple[sparse.csr_matrix, bool]:
    """A block of consecutive cells as canonical int32 CSR, and whether floats were rounded.

    Parameters
    ----------
    block : csr_matrix, (cell, gene)
        Its arrays may be changed.
    where : str
        File, and the part of it (``counts.h5ad: layer 'counts'``), for messages.
    cell_id, gene_id : ndarray of str
        Names of the block's cells and of all genes.
    hint : callable
        Sentence on where counts are instead, which may be empty; asked only after a bad value.
    values_before : int
        Stored values of the blocks before; None when this block is the whole matrix.

    Raises
    ------
    CountMatrixError
        When any value is negative, not finite, not within 1e-6 of an integer, or above 2^31 − 1.
    """
    values = block.data
    if values.dtype.kind not in "iufb":
        raise CountMatrixError(
            f"{where} must hold numbers, found values of type {values.dtype}. Fix: store counts."
        )
    block = _without_duplicates(block)
    counts, bad, rounded = _as_integers(block.data)
    if bad is not None:
        first = int(np.flatnonzero(bad)[0])
        row = int(np.searchsorted(block.indptr, first, side="right")) - 1
        number = f"{bad.sum():,} of {bad.size:,} stored values are not"
        if values_before is not None:
            read = values_before + bad.size
            number = f"at least {bad.sum():,} are not (of the {read:,} stored values read so far)"
        raise CountMatrixError(
            f"{where} must hold raw counts (non-negative integers), but {number}; first: "
            f"{block.data[first]:.4g} at cell {shown(cell_id[row])}, gene "
            f"{shown(gene_id[block.indices[first]])}. {_cause(block.data[bad], bad.size)} "
            f"Fix: {hint() or 'name the layer with raw counts in the `layer` column.'}"
        )
    clean = sparse.csr_matrix((counts, block.indices, block.indptr), block.shape)
    clean.has_canonical_format = True
    clean.eliminate_zeros()
    return clean, rounded


def _without_duplicates(block: sparse.csr_matrix) -> sparse.csr_matrix:
    """The block with sorted genes, and entries that stand twice added without overflow."""
    if not block.has_canonical_format:
        if block.dtype.kind in "iub":
            block = block.astype(np.float64 if block.dtype == np.uint64 else np.int64)
        block.sum_duplicates()
    return block


def _as_integers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Values as int32, where they are no counts (None: nowhere), and whether any was rounded."""
    with np.errstate(invalid="ignore"):
        counts = values.astype(np.int32)
    if values.size == 0 or (counts.min() >= 0 and np.array_equal(counts, values)):
        return counts, None, False
    if values.dtype.kind not in "f":
        bad = (values < 0) | (values > LARGEST)
        return counts, bad, False
    exact = values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        whole = np.rint(exact)
        bad = ~((whole >= 0) & (np.abs(exact - whole) <= ROUNDING) & (whole <= LARGEST))
        bad |= exact < 0
        return whole.astype(np.int32), bad if bad.any() else None, bool((whole != exact).any())


def holds_counts(values: np.ndarray) -> bool:
    """Whether all values of a block are counts."""
    return values.dtype.kind in "iuf" and _as_integers(values)[1] is None


def check_names(names: np.ndarray, *, source: str, what: str) -> None:
    """Raise CountMatrixError when two cells or two genes have one name, or one has none."""
    nameless = np.flatnonzero(names == "")
    if nameless.size:
        raise CountMatrixError(
            f"{source}: every {what} must have a name, but {nameless.size:,} have none; first: "
            f"number {nameless[0] + 1:,}. Fix: name them, or leave them out."
        )
    unique, first, number = np.unique(names, return_index=True, return_counts=True)
    if (number > 1).any():
        twice = unique[number > 1]
        first_ones = ", ".join(map(shown, twice[:3]))
        mend = "obs_names_make_unique" if what == "cell" else "var_names_make_unique"
        raise CountMatrixError(
            f"{source}: {what} names must be unique, but {len(twice):,} occur more than once; "
            "first: "
            f"{first_ones}. Gene symbols and joined samples often repeat. Fix: use stable "
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
            f"{shown(table.index[missing][0])}. Fix: fill them (for example with 'unknown'), "
            f"remove those cells, or leave `{setting}` empty."
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

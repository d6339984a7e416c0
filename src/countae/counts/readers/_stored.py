"""Blocks of cells from arrays on disk (HDF5 or zarr): CSR, CSC, dense, either way round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_matrix

from countae.counts.readers._base import as_csr
from countae.counts.readers._spill import ENTRIES, Spill, regrouped
from countae.errors import CountMatrixError

SLAB = 64 << 20  # bytes of a dense matrix in memory at a time


def csr_blocks(
    data: Any, indices: Any, indptr: Any, *, n_genes: int, cells: int, where: str
) -> Iterator[csr_matrix]:
    """Rows of a CSR matrix on disk."""
    bounds = checked_bounds(data, indices, indptr, where=where)
    for start in range(0, len(bounds) - 1, cells):
        rows = bounds[start : start + cells + 1]
        genes = native(indices[int(rows[0]) : int(rows[-1])])
        check_range(genes, n_genes, where=where)
        values = numbers(data[int(rows[0]) : int(rows[-1])], where=where)
        yield csr_matrix((values, genes, rows - rows[0]), (len(rows) - 1, n_genes))


def csc_spill(
    data: Any, indices: Any, indptr: Any, *, shape: tuple[int, int], where: str
) -> Spill:
    """Entries of a CSC matrix on disk, ready to be read by cells."""
    bounds = checked_bounds(data, indices, indptr, where=where)
    spill = Spill(data.dtype)
    for start in range(0, int(bounds[-1]), ENTRIES):
        stop = min(start + ENTRIES, int(bounds[-1]))
        cells = native(indices[start:stop])
        check_range(cells, shape[0], where=where)
        first, last = np.searchsorted(bounds, [start, stop - 1], side="right") - 1
        lengths = np.diff(np.clip(bounds[first : last + 2], start, stop))
        genes = np.repeat(np.arange(first, last + 1, dtype=np.int32), lengths)
        spill.add(cells, genes, numbers(data[start:stop], where=where))
    return spill


def dense_blocks(array: Any, *, cells: int, where: str) -> Iterator[csr_matrix]:
    """Rows of a dense (cell, gene) matrix on disk, some at a time."""
    step = _slab(array)
    slabs = (array[start : start + step] for start in range(0, array.shape[0], step))
    return regrouped((as_csr(numbers(slab, where=where)) for slab in slabs), cells)


def dense_spill(array: Any, *, where: str) -> Spill:
    """Entries of a dense (gene, cell) matrix on disk, ready to be read by cells."""
    spill = Spill(array.dtype)
    step = _slab(array)
    for start in range(0, array.shape[0], step):
        slab = sparse.coo_matrix(as_csr(numbers(array[start : start + step], where=where)))
        spill.add(slab.col, slab.row + start, slab.data)
    return spill


def _slab(array: Any) -> int:
    """Rows of a dense matrix that are read at a time: few megabytes, but whole chunks if short."""
    width = max(1, array.shape[1] * array.dtype.itemsize)
    chunk = array.chunks[0] if array.chunks else 1
    return max(1, SLAB // width, chunk if chunk * width <= 4 * SLAB else 1)


def checked_bounds(data: Any, indices: Any, indptr: Any, *, where: str) -> np.ndarray:
    """Where each row starts, int64, after a check that the three arrays fit together."""
    bounds = np.asarray(indptr[:])
    sound = (
        bounds.ndim == 1
        and bounds.dtype.kind in "iu"
        and len(bounds) > 0
        and len(data.shape) == len(indices.shape) == 1
        and data.shape == indices.shape
        and bounds[0] == 0
        and bounds[-1] == data.shape[0]
        and bool((bounds[1:] >= bounds[:-1]).all())
    )
    if not sound:
        raise CountMatrixError(
            f"{where}: its arrays data, indices and indptr do not make a sparse matrix (lengths "
            f"{data.shape}, {indices.shape}, {indptr.shape}). The file is damaged or was written "
            "by hand. Fix: copy or save it again."
        )
    return bounds.astype(np.int64)


def check_range(indices: np.ndarray, size: int, *, where: str) -> None:
    """Raise CountMatrixError unless all indices lie in 0 … size − 1."""
    if indices.dtype.kind not in "iu":
        raise CountMatrixError(
            f"{where}: positions must be whole numbers, found {indices.dtype}. Fix: save the file "
            "again."
        )
    if indices.size and not (0 <= indices.min() and indices.max() < size):
        bad = indices.min() if indices.min() < 0 else indices.max()
        raise CountMatrixError(
            f"{where}: a value stands at position {bad:,}, outside of 0 to {size - 1:,}. The file "
            "is damaged or was written by hand. Fix: copy or save it again."
        )


def numbers(values: Any, *, where: str) -> np.ndarray:
    """Values as an array of numbers; CountMatrixError for text, objects and structures."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise CountMatrixError(
            f"{where} must hold numbers, found values of type {values.dtype}. Fix: store counts."
        )
    return native(values)


def native(values: np.ndarray) -> np.ndarray:
    """The same values in this machine's order of bytes, which SciPy needs."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)

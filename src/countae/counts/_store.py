"""Counts in a file that is a plain .h5ad and a store at once: mapped into memory, not read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from countae.errors import CountMatrixError
from countae.files import written_aside

if TYPE_CHECKING:
    import h5py
    from anndata import AnnData

ALIGNED = 64  # bytes; arrays that start elsewhere cannot be used where they are
MOST_IN_INT32 = 2**31 - 1
CHECKED_AT_ONCE = 2**22  # indices
ROWS_AT_ONCE = 2**13
CSR = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0"}
GROWING = {
    "maxshape": (None,), "chunks": (2**16,), "compression": "gzip", "compression_opts": 1,
    "shuffle": True,
}  # fmt: skip


def count_type(largest: int) -> np.dtype:
    """Smallest unsigned type that holds every count up to ``largest``."""
    return np.min_scalar_type(max(int(largest), 0))


class RowWriter:
    """Writes CSR counts to an HDF5 file, some rows at a time, row after row.

    Where their number is known, the arrays are contiguous and not compressed, so that they can
    be mapped; otherwise they grow, and are compressed. AnnData reads them as it reads its own.
    ``indptr`` and ``indices`` have one type, since SciPy copies both to the larger one otherwise.

    Parameters
    ----------
    parent : h5py.Group
    name : str
    shape : (cells, genes)
    stored : int or None
        Number of non-zero counts, if it is known.
    dtype : dtype
        Of the counts; see :func:`count_type`.
    compressed : bool
        Whether the arrays are compressed all the same, so that they cannot be mapped.
    """

    def __init__(
        self,
        parent: h5py.Group,
        name: str,
        *,
        shape: tuple[int, int],
        stored: int | None,
        dtype: Any,
        compressed: bool = False,
    ) -> None:
        index = np.int64 if stored is None or stored > MOST_IN_INT32 else np.int32
        group = parent.create_group(name)
        group.attrs.update(CSR | {"shape": np.array(shape, np.int64)})
        self.dtype, self.shape, self.stored = np.dtype(dtype), shape, stored
        size, how = stored or 0, GROWING if stored is None or compressed else {}
        self._data = group.create_dataset("data", (size,), self.dtype, **how)
        self._indices = group.create_dataset("indices", (size,), index, **how)
        self._indptr = group.create_dataset("indptr", (shape[0] + 1,), index)
        self._indptr[0] = 0
        self.rows = self.entries = 0

    def append(self, block: csr_matrix) -> None:
        """Write the next rows, int, (cell, gene).

        Raises
        ------
        CountMatrixError
            When there are more counts, or larger ones, than was promised.
        """
        entries, rows = self.entries + block.nnz, self.rows + block.shape[0]
        if self.stored is None:
            self._data.resize((entries,))
            self._indices.resize((entries,))
        elif entries > self.stored or block.data.max(initial=0) > np.iinfo(self.dtype).max:
            raise self._changed(rows, entries)
        self._data[self.entries : entries] = block.data.astype(self.dtype)
        self._indices[self.entries : entries] = block.indices
        self._indptr[self.rows + 1 : rows + 1] = block.indptr[1:] + np.int64(self.entries)
        self.entries, self.rows = entries, rows

    def close(self) -> None:
        """Check that everything that was promised is there."""
        if self.rows != self.shape[0] or self.stored not in (None, self.entries):
            raise self._changed(self.rows, self.entries)

    def _changed(self, rows: int, entries: int) -> CountMatrixError:
        return CountMatrixError(
            f"The counts changed while they were read: {self.shape[0]:,} cells with "
            f"{self.stored or 0:,} counts, none above {np.iinfo(self.dtype).max:,}, were found "
            f"first, other counts later ({rows:,} cells and {entries:,} counts so far). Fix: run "
            "again while nothing else writes the source."
        )


def write_sparse(parent: h5py.Group, name: str, counts: csr_matrix, **how: Any) -> None:
    """Write counts that are in memory, or mapped, as a sparse matrix; see :class:`RowWriter`."""
    how = {"dtype": count_type(counts.data.max(initial=0)), "stored": counts.nnz} | how
    writer = RowWriter(parent, name, shape=counts.shape, **how)
    for start in range(0, counts.shape[0], ROWS_AT_ONCE):
        writer.append(counts[start : start + ROWS_AT_ONCE])
    writer.close()


@contextmanager
def stored(path: str | Path, rest: AnnData | None = None, **how: Any) -> Iterator[h5py.File]:
    """An .h5ad file with everything but ``X``, open for it and for layers; renamed at the end."""
    import anndata
    import h5py

    with written_aside(path) as aside:
        (anndata.AnnData() if rest is None else rest).write_h5ad(aside, **how)
        aligned = {"alignment_threshold": ALIGNED, "alignment_interval": ALIGNED}
        with h5py.File(aside, "r+", **aligned) as file:
            file.pop("X", None)
            yield file


@contextmanager
def stored_counts(adata: AnnData, path: str | Path) -> Iterator[h5py.File]:
    """The same of an AnnData with its counts written, but without the layer ``visible``."""
    import anndata

    kept = {name: layer for name, layer in adata.layers.items() if name != "visible"}
    rest = anndata.AnnData(obs=adata.obs, var=adata.var, uns=adata.uns, layers=kept)
    with stored(path, rest) as file:
        write_sparse(file, "X", adata.X)
        yield file


def write(adata: AnnData, path: str | Path) -> None:
    """Write an AnnData whose X and layer ``visible`` are counts; these can be mapped."""
    with stored_counts(adata, path) as file:
        if "visible" in adata.layers:
            write_sparse(file["layers"], "visible", adata.layers["visible"])


def read(path: str | Path) -> AnnData:
    """The AnnData of a file that :func:`write` wrote, or another: what can be mapped is."""
    import h5py

    with h5py.File(path) as file:
        return contents(file)


def contents(file: h5py.File) -> AnnData:
    """The same of an open file; one that was written to must be flushed."""
    import anndata
    from anndata.io import read_elem

    path = file.filename
    obs, var, uns = (read_elem(file[name]) for name in ("obs", "var", "uns"))
    layers = {name: _read(file["layers"][name], path) for name in file.get("layers", ())}
    return anndata.AnnData(_read(file["X"], path), obs=obs, var=var, uns=uns, layers=layers)


def _read(element: h5py.Group | h5py.Dataset, path: str | Path) -> Any:
    """A matrix, mapped where its arrays are contiguous, else read."""
    from anndata.io import read_elem

    if element.attrs.get("encoding-type") == "array":
        found = _mapped(element, path)
        return read_elem(element) if found is None else found
    if element.attrs.get("encoding-type") != "csr_matrix":
        return read_elem(element)
    data, indices, indptr = (_mapped(element[n], path) for n in ("data", "indices", "indptr"))
    if data is None or indices is None or indptr is None:
        return read_elem(element)
    shape = tuple(int(n) for n in element.attrs["shape"])
    _check(element, indptr, shape, path)
    made = csr_matrix((data, indices, indptr), shape, copy=False)
    made.has_sorted_indices = made.has_canonical_format = True
    return made


def _mapped(dataset: h5py.Dataset, path: str | Path) -> np.ndarray | None:
    """A dataset as a read-only array of the file's own bytes; None where it has no such bytes."""
    offset = dataset.id.get_offset()
    if dataset.size == 0:
        return np.empty(dataset.shape, dataset.dtype)
    if offset is None or dataset.dtype.kind not in "iufb" or not dataset.dtype.isnative:
        return None
    found = np.memmap(path, dataset.dtype, "r", offset, dataset.shape)
    return np.asarray(found if found.flags.aligned else found.copy())


def _check(group: h5py.Group, indptr: np.ndarray, shape: tuple[int, ...], path: Any) -> None:
    """Raise CountMatrixError when an index points outside the matrix: loops do not look."""
    indices, stored = group["indices"], len(group["data"])
    sound = len(indptr) == shape[0] + 1 and len(indices) == stored == indptr[-1]
    sound = sound and indptr[0] == 0 and bool((indptr[1:] >= indptr[:-1]).all())
    for start in range(0, stored, CHECKED_AT_ONCE):
        block = indices[start : start + CHECKED_AT_ONCE]
        sound = sound and 0 <= block.min() and block.max() < shape[1]
    if not sound:
        raise CountMatrixError(
            f"{path}: the sparse matrix {group.name!r} points outside its {shape[0]:,} cells × "
            f"{shape[1]:,} genes: the file is damaged. Fix: make it again."
        )

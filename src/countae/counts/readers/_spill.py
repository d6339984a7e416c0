"""Entries that arrive gene by gene, handed out cell by cell, in bounded memory."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator

import numpy as np
from scipy import sparse
from scipy.sparse import csr_matrix

from countae.errors import CountMatrixError

IN_MEMORY = 64 << 20  # bytes; above this the entries go to a temporary file
ENTRIES = 2_000_000  # sorted at a time
SHELF = 1024  # cells whose entries are fetched together


class Spill:
    """A transposition out of core: ``add`` entries in any order, then read ``blocks`` of cells.

    Entries are sorted by shelf (1,024 consecutive cells), a batch at a time, and appended to one
    temporary file; a shelf is then put together from its piece of every batch. Memory is a batch
    plus a shelf; the disk holds 8 bytes and the value per entry, in the folder that ``TMPDIR``
    names.
    """

    def __init__(self, dtype: np.dtype | type) -> None:
        whole = np.dtype(dtype).kind in "iub" and np.dtype(dtype) != np.uint64
        value = np.int64 if whole else np.float64
        self._record = np.dtype([("cell", np.int32), ("gene", np.int32), ("value", value)])
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)
        weakref.finalize(self, self._file.close)
        self._bounds: list[np.ndarray] = []
        self._written = 0

    def add(self, cell: np.ndarray, gene: np.ndarray, value: np.ndarray) -> None:
        """Take entries."""
        for start in range(0, len(cell), ENTRIES):
            part = slice(start, start + ENTRIES)
            self._add(cell[part], gene[part], value[part])

    def _add(self, cell: np.ndarray, gene: np.ndarray, value: np.ndarray) -> None:
        shelf = cell // SHELF
        last = int(shelf.max())
        if last < 2**16:
            shelf = shelf.astype(np.uint16)  # NumPy sorts these in linear time
        order = np.argsort(shelf, kind="stable")
        records = np.empty(len(cell), self._record)
        records["cell"], records["gene"] = cell[order], gene[order]
        records["value"] = value[order]
        inside = np.searchsorted(shelf[order], np.arange(last + 2))
        self._bounds.append(self._written + inside)
        try:
            self._file.seek(0, 2)
            self._file.write(records.tobytes())
        except OSError as error:
            raise CountMatrixError(
                f"{tempfile.gettempdir()}: the temporary file that sorts counts by cells cannot "
                f"be written ({error.strerror}). Fix: make room there, or name another folder in "
                "the environment variable TMPDIR."
            ) from error
        self._written += len(records)

    def blocks(self, shape: tuple[int, int], cells: int) -> Iterator[csr_matrix]:
        """Blocks of ``cells`` of a matrix's cells; entries that stand twice are added."""
        shelves = range(-(-shape[0] // SHELF))
        return regrouped((self._read(shelf, shape) for shelf in shelves), cells)

    def _read(self, shelf: int, shape: tuple[int, int]) -> csr_matrix:
        pieces = [np.empty(0, self._record)]
        for bounds in self._bounds:
            if shelf + 1 < len(bounds):
                start, stop = bounds[shelf : shelf + 2]
                self._file.seek(int(start) * self._record.itemsize)
                size = int(stop - start) * self._record.itemsize
                pieces.append(np.frombuffer(self._file.read(size), self._record))
        entries = np.concatenate(pieces)
        first = shelf * SHELF
        rows = min(SHELF, shape[0] - first)
        places = (entries["cell"] - first, entries["gene"])
        return sparse.coo_matrix((entries["value"], places), (rows, shape[1])).tocsr()


def regrouped(blocks: Iterator[csr_matrix], cells: int) -> Iterator[csr_matrix]:
    """The same rows in blocks of ``cells`` rows, in the last one less."""
    held: list[csr_matrix] = []
    number = 0
    for block in blocks:
        held.append(block)
        number += block.shape[0]
        while number >= cells:
            rows = stacked(held)
            yield rows[:cells]
            held, number = [rows[cells:]], number - cells
    if number:
        yield stacked(held)


def stacked(blocks: list[csr_matrix]) -> csr_matrix:
    """Blocks of rows as one matrix; a single one is not copied."""
    return blocks[0] if len(blocks) == 1 else sparse.vstack(blocks, format="csr")

"""Sums over a whole matrix from which every finding follows, in one pass over blocks of cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from countae.counts._check import LARGEST, ROUNDING
from countae.counts._gene_names import mitochondrial, spike_ins
from countae.progress import working
from countae.triage._kinds import TRANSFORMS, CellUnits

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from countae.counts.readers import Reader

SEEDS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03))


@dataclass
class Sums:
    """What one pass leaves of a matrix; see :func:`sums_of`.

    Per cell, (cell,): ``total``, ``expressed`` (genes with a value above zero), ``smallest`` (of
    its values that are not zero; 0 where there is none), ``marked`` (total
    of mitochondrial genes and of spike-ins, (2, cell)), ``cell_hash`` (two hashes of the row,
    (2, cell)). Per gene, (gene,): ``gene_sum``, ``gene_square``, ``gene_expressed``,
    ``gene_by_size`` (sum of value × cell total), ``gene_hash``. Of all stored values: how many
    there are, are negative, are not finite, have a fraction, are too large, are 1, are even;
    their largest, their greatest common divisor, and the first that is no count. ``units`` says
    in how many cells a transform turns the values into multiples of the smallest.
    """

    shape: tuple[int, int]
    total: np.ndarray
    expressed: np.ndarray
    smallest: np.ndarray
    marked: np.ndarray
    cell_hash: np.ndarray
    gene_sum: np.ndarray
    gene_square: np.ndarray
    gene_expressed: np.ndarray
    gene_by_size: np.ndarray
    gene_hash: np.ndarray
    values: int = 0
    negative: int = 0
    not_finite: int = 0
    fractions: int = 0
    too_large: int = 0
    ones: int = 0
    even: int = 0
    largest: float = 0.0
    divisor: int = 0
    first_bad: tuple[int, int, float] | None = None
    units: dict[str, CellUnits] = field(
        default_factory=lambda: {name: CellUnits() for name in TRANSFORMS}
    )

    @property
    def bad(self) -> int:
        """Number of values that are no counts."""
        return self.negative + self.not_finite + self.fractions + self.too_large


def sums_of(reader: Reader, block: int) -> Sums:
    """One pass over the blocks of a matrix, whatever its values are."""
    n_cells, n_genes = reader.shape
    found = Sums(
        reader.shape,
        *(np.zeros(n_cells), np.zeros(n_cells, np.int64), np.zeros(n_cells)),
        np.zeros((2, n_cells)),
        np.zeros((2, n_cells), np.uint64),
        *(np.zeros(n_genes), np.zeros(n_genes), np.zeros(n_genes, np.int64), np.zeros(n_genes)),
        np.zeros((2, n_genes), np.uint64),
    )
    marks = np.stack([mitochondrial(reader.var), spike_ins(reader.var)]).astype(np.float64)
    start = 0
    with working("checking", n_cells, "cells") as work:
        for raw in reader.raw_blocks(block):
            rows = _plain(raw)
            _add_values(found, rows, start)
            _add_cells(found, rows, start, marks)
            _add_genes(found, rows, start)
            start += rows.shape[0]
            work.advance(rows.shape[0])
    return found


def _plain(raw: csr_matrix) -> csr_matrix:
    """A block as float64, entries that stand twice added, without stored zeros."""
    if raw.dtype.kind not in "iufb":
        raise TypeError(f"values of type {raw.dtype}")
    rows = raw.astype(np.float64)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return rows


def _add_values(found: Sums, rows: csr_matrix, start: int) -> None:
    values = rows.data
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        whole = np.abs(values - np.rint(values)) <= ROUNDING
        negative, large = values < 0, values >= LARGEST + 1
    counted = finite & whole & ~negative & ~large
    found.values += values.size
    found.not_finite += int(values.size - finite.sum())
    found.negative += int((finite & negative).sum())
    found.too_large += int((finite & large & ~negative).sum())
    found.fractions += int((finite & ~whole & ~negative & ~large).sum())
    integers = np.rint(values[counted]).astype(np.int64)
    found.ones += int((integers == 1).sum())
    found.even += int((integers % 2 == 0).sum())
    found.divisor = int(np.gcd.reduce(integers, initial=found.divisor))
    found.largest = max(found.largest, float(values[finite].max(initial=0.0)))
    if found.first_bad is None and not counted.all():
        place = int(np.flatnonzero(~counted)[0])
        row = int(np.searchsorted(rows.indptr, place, side="right")) - 1
        found.first_bad = (start + row, int(rows.indices[place]), float(values[place]))
    if not whole.all() and not negative.any() and finite.all():
        for name, unit in found.units.items():
            unit.add(rows, TRANSFORMS[name])


def _add_cells(found: Sums, rows: csr_matrix, start: int, marks: np.ndarray) -> None:
    cells = slice(start, start + rows.shape[0])
    with np.errstate(invalid="ignore"):
        found.total[cells] = _row_sums(rows, rows.data)
        for kind, mark in enumerate(marks):
            found.marked[kind, cells] = _row_sums(rows, rows.data * mark[rows.indices])
    found.expressed[cells] = np.diff(rows.indptr)
    found.smallest[cells] = _by_group(np.minimum, rows.indptr, rows.data)
    for k, seed in enumerate(SEEDS):
        mixed = _mixed(rows.indices, rows.data, seed)
        found.cell_hash[k, cells] = _group_sums(rows.indptr, mixed)


def _add_genes(found: Sums, rows: csr_matrix, start: int) -> None:
    by_gene = rows.tocsc()
    cell, values, indptr = by_gene.indices, by_gene.data, by_gene.indptr
    size = found.total[start : start + rows.shape[0]]
    with np.errstate(invalid="ignore", over="ignore"):
        found.gene_sum += _group_sums(indptr, values)
        found.gene_square += _group_sums(indptr, values**2)
        found.gene_by_size += _group_sums(indptr, values * size[cell])
    found.gene_expressed += np.diff(indptr)
    for k, seed in enumerate(SEEDS):
        mixed = _mixed(cell.astype(np.int64) + start, values, seed)
        found.gene_hash[k] += _group_sums(indptr, mixed)


def _row_sums(rows: csr_matrix, values: np.ndarray) -> np.ndarray:
    return _group_sums(rows.indptr, values)


def _group_sums(indptr: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of each group of consecutive values; 0 for an empty one."""
    return _by_group(np.add, indptr, values)


def _by_group(joined: np.ufunc, indptr: np.ndarray, values: np.ndarray) -> np.ndarray:
    found = np.zeros(len(indptr) - 1, values.dtype)
    filled = np.flatnonzero(np.diff(indptr))
    if filled.size:
        found[filled] = joined.reduceat(values, indptr[filled])
    return found


def _mixed(place: np.ndarray, value: np.ndarray, seed: Any) -> np.ndarray:
    """A hash of each place and value; sums of these, modulo 2^64, do not depend on the order.

    The finaliser is that of SplitMix64 (Steele et al. 2014, doi:10.1145/2660193.2660195), twice.
    """
    mixed = _finalised(place.astype(np.uint64) * seed + seed)
    return _finalised(mixed ^ (value + 0.0).view(np.uint64))


def _finalised(word: np.ndarray) -> np.ndarray:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))

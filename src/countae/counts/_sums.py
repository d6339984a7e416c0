"""Sums over blocks of cells: integers, so that no result depends on where a block ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix


@dataclass
class GeneSums:
    """Sums over some cells per gene; integers in float64, exact below 2^53.

    Attributes
    ----------
    cells : int
    total, square, seen, ones, largest : ndarray, (gene,)
        Σx, Σx², number of cells with x > 0 and with x = 1, and the largest x.
    """

    cells: int
    total: np.ndarray
    square: np.ndarray
    seen: np.ndarray
    ones: np.ndarray
    largest: np.ndarray

    @classmethod
    def none(cls, genes: int) -> GeneSums:
        """Sums over no cell."""
        return cls(0, *np.zeros((5, genes)))

    @classmethod
    def of(cls, blocks: Iterable[csr_matrix], genes: int) -> GeneSums:
        """Sums over blocks of raw counts, (cell, gene), without stored zeros."""
        made = cls.none(genes)
        for block in blocks:
            made.add(block)
        return made

    def add(self, block: csr_matrix) -> None:
        """Count some more cells."""
        gene, x, genes = block.indices, block.data.astype(np.float64), len(self.total)
        self.cells += block.shape[0]
        self.total += np.bincount(gene, weights=x, minlength=genes)
        self.square += np.bincount(gene, weights=x**2, minlength=genes)
        self.seen += np.bincount(gene, minlength=genes)
        self.ones += np.bincount(gene[block.data == 1], minlength=genes)
        np.maximum.at(self.largest, gene, x)

    def __add__(self, other: GeneSums) -> GeneSums:
        """Sums over the cells of both."""
        return GeneSums(
            self.cells + other.cells, self.total + other.total, self.square + other.square,
            self.seen + other.seen, self.ones + other.ones,
            np.maximum(self.largest, other.largest),
        )  # fmt: skip

    def of_genes(self, genes: np.ndarray) -> GeneSums:
        """The same for some genes."""
        names = ("total", "square", "seen", "ones", "largest")
        return GeneSums(self.cells, *(getattr(self, name)[genes] for name in names))

    @property
    def stored(self) -> int:
        """Number of non-zero counts."""
        return int(self.seen.sum())

    @property
    def most(self) -> int:
        """The largest count."""
        return int(self.largest.max(initial=0))


@dataclass(frozen=True)
class CellSums:
    """Sums over genes per cell, (cell,), int64: Σx, genes with x > 0, Σx of mitochondria."""

    total: np.ndarray
    expressed: np.ndarray
    mitochondrial: np.ndarray


def sums(blocks: Iterable[csr_matrix], mitochondrial: np.ndarray) -> tuple[CellSums, GeneSums]:
    """Sums per cell and per gene in one pass.

    Parameters
    ----------
    blocks : iterable of csr_matrix, (cell, gene), int32
    mitochondrial : ndarray, (gene,), bool
        See :func:`countae.counts._gene_names.mitochondrial`.
    """
    marked = mitochondrial.astype(np.int64)
    of_genes, parts = GeneSums.none(len(mitochondrial)), []
    for block in blocks:
        of_genes.add(block)
        total = block.sum(axis=1, dtype=np.int64).A1
        parts.append((total, np.diff(block.indptr), block @ marked))
    return CellSums(*map(np.concatenate, zip(*parts, strict=True))), of_genes

"""Reader: counts of one source, block of cells by block, never all at once."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from countae.counts._check import checked_counts, holds_counts
from countae.errors import CountaeError, CountMatrixError
from countae.progress import working
from countae.registry import shown

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

    from countae.counts.readers._spill import Spill

BLOCK = 2048  # cells; 20,000 genes with a tenth expressed are 33 MB


@dataclass(frozen=True)
class Request:
    """What is to be read: the source as the user named it, its path, and how to read it."""

    source: str
    path: Path
    layer: str = ""
    orientation: str = "auto"

    def without_layer(self) -> None:
        """Raise CountMatrixError where a layer is asked for of a format that holds one matrix."""
        if self.layer:
            raise one_matrix(self.source, self.layer)


class Reader(ABC):
    """Counts of one source, read cell by cell in blocks.

    Attributes
    ----------
    kind : str
        Format, for messages.
    source : str
        What was asked for, for messages.
    place : str
        The part of it that holds the counts: ``X``, ``layer 'counts'``, ``raw.X``.
    layer : str
        The same as the setting ``layer`` names it; empty for the source's main matrix.
    obs, var : DataFrame, indexed by the names of cells and genes, as they are in the file
    shape : (cells, genes)
    rounded : bool
        Whether floats within 1e-6 of integers were met so far.
    truth : dict
        What a simulator of countae wrote of itself; empty for other data.
    notes : list of str
        What was inferred or left out, for the user.
    """

    kind: str = "a count matrix"
    source: str
    place: str = "X"
    layer: str = ""
    obs: pd.DataFrame
    var: pd.DataFrame
    shape: tuple[int, int]
    rounded: bool = False

    def __init__(self, source: str) -> None:
        self.source = source
        self.truth: dict[str, Any] = {}
        self.notes: list[str] = []
        self._spilled: Spill | None = None

    @abstractmethod
    def raw_blocks(self, cells: int = BLOCK) -> Iterator[csr_matrix]:
        """Consecutive cells × all genes as they are stored: any type of number, unchecked.

        Every block but the last has ``cells`` cells. Entries may be unsorted, stored zeros, or
        stand twice (they count as their sum).
        """

    def places(self) -> list[str]:
        """Every part of the source that could hold counts, as ``layer`` names it."""
        return [self.layer]

    def at(self, layer: str) -> Reader:
        """The same source read at another of its ``places``; obs and var are not read again."""
        other = copy.copy(self)
        other.rounded, other.notes, other._spilled = False, [], None
        other._go_to(layer)
        return other

    def _go_to(self, layer: str) -> None:
        """Set what depends on the place."""
        raise one_matrix(self.source, layer)

    @property
    def where(self) -> str:
        """Source and place, for messages."""
        return f"{self.source}: {self.place}"

    def blocks(self, cells: int = BLOCK) -> Iterator[csr_matrix]:
        """Consecutive cells × all genes: checked raw counts.

        Yields
        ------
        csr_matrix, (cell, gene), int32
            Sorted, without duplicates or stored zeros; ``cells`` cells, in the last one less.

        Raises
        ------
        CountMatrixError
            When the matrix is empty, or any value is negative, not finite, not within 1e-6 of an
            integer, or above 2^31 − 1; with the first such cell and gene.
        """
        n_cells, n_genes = self.shape
        if 0 in self.shape:
            raise CountMatrixError(
                f"{self.where} must hold at least one cell and one gene, found {n_cells:,} cells "
                f"× {n_genes:,} genes. Fix: check how the file was filtered or written."
            )
        cell_id, gene_id = self.obs.index.to_numpy(object), self.var.index.to_numpy(object)
        start = values = 0
        with working("reading", n_cells, "cells") as work:
            for raw in self.raw_blocks(cells):
                stop, stored = start + raw.shape[0], raw.nnz
                counts, rounded = checked_counts(
                    raw,
                    where=self.where,
                    cell_id=cell_id[start:stop],
                    gene_id=gene_id,
                    hint=self.where_counts_are,
                    values_before=None if raw.shape[0] == n_cells else values,
                )
                self.rounded |= rounded
                start, values = stop, values + stored
                yield counts
                work.advance(counts.shape[0])

    def where_counts_are(self) -> str:
        """Sentence that names another place of the source that holds counts; may be empty."""
        for layer in self.places():
            if layer != self.layer and self._has_counts_at(layer):
                return f"set `layer` to {layer!r}, which holds raw counts." if layer else (
                    "leave `layer` empty: X holds raw counts."
                )  # fmt: skip
        return ""

    def _has_counts_at(self, layer: str) -> bool:
        """Whether another place holds counts; not if it cannot be read."""
        with suppress(CountaeError):
            return self.at(layer).holds_counts()
        return False

    def holds_counts(self) -> bool:
        """Whether every value is a count, and there is one; reads up to the first that is not."""
        if 0 in self.shape:
            return False
        some = False
        for block in self.raw_blocks():
            if not holds_counts(block.data):
                return False
            some |= block.nnz > 0
        return some


def one_matrix(source: str, layer: str) -> CountMatrixError:
    """The error of asking for a layer where there can be none."""
    return CountMatrixError(
        f"{source}: there is no layer {shown(layer)}: files of this format hold one matrix. Fix: "
        "leave `layer` empty."
    )


@contextmanager
def readable(source: str | Path, kind: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into a CountMatrixError that says so.

    What h5py, zarr, anndata, pandas and the codecs raise on damaged bytes is no closed list: some
    are children of Exception only (``IORegistryError``), and a false size in a header leads to a
    MemoryError. So this is the one place that takes any exception; its cause stays attached.
    """
    try:
        yield
    except CountaeError:
        raise
    except PermissionError as error:
        raise CountMatrixError(
            f"{source}: you may not read it. Fix: change its rights, or name a copy of your own."
        ) from error
    except Exception as error:  # see above
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CountMatrixError(
            f"{source}: not readable as {kind} ({reason}). The file may be cut short or of "
            "another format. Fix: copy or save it again."
        ) from error


def row_blocks(matrix: Any, cells: int) -> Iterator[csr_matrix]:
    """Blocks of rows of a matrix in memory, sparse or dense, as CSR that owns its arrays."""
    for start in range(0, matrix.shape[0], cells):
        rows = matrix[start : start + cells]
        yield rows.tocsr() if sparse.issparse(rows) else as_csr(rows)


def as_csr(rows: np.ndarray) -> csr_matrix:
    """A dense block as CSR; half precision, which SciPy does not know, as single."""
    rows = np.asarray(rows)
    return sparse.csr_matrix(rows.astype(np.float32) if rows.dtype == np.float16 else rows)

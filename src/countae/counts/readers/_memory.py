"""Counts that are in memory already: built-in and simulated data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from countae.counts.readers._base import BLOCK, Reader, row_blocks
from countae.counts.readers._places import RAW, choose, is_truth, place_name, without_x

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix


class MemoryReader(Reader):
    """Counts of an AnnData."""

    def __init__(self, adata: AnnData, source: str, *, layer: str = "") -> None:
        super().__init__(source)
        self.adata = adata
        if not layer and adata.X is None:
            raise without_x(self)
        self.layer = choose(layer, self.places(), source)
        self.place = place_name(layer)
        self.obs, self.var = adata.obs, adata.raw.var if layer == RAW else adata.var
        self.shape = self._matrix.shape
        if is_truth(adata.uns.get("truth"), adata.layers):
            self.truth = adata.uns["truth"]

    def places(self) -> list[str]:
        """``X``, the layers and ``raw.X``."""
        main = [] if self.adata.X is None else [""]
        return [*main, *self.adata.layers, *([RAW] if self.adata.raw is not None else [])]

    def at(self, layer: str) -> MemoryReader:
        """The same AnnData at another place."""
        return MemoryReader(self.adata, self.source, layer=layer)

    def raw_blocks(self, cells: int = BLOCK) -> Iterator[csr_matrix]:
        """Rows of the matrix."""
        matrix = self._matrix
        rows = matrix.tocsr() if sparse.issparse(matrix) else np.asarray(matrix)
        return row_blocks(rows, cells)

    @property
    def _matrix(self) -> Any:
        if self.layer == RAW:
            return self.adata.raw.X
        return self.adata.layers[self.layer] if self.layer else self.adata.X

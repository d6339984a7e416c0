"""Loom files (.loom): genes × cells, dense, compressed; transposed out of core."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countae.counts.readers import _stored, register
from countae.counts.readers._base import BLOCK, Reader, Request
from countae.counts.readers._hdf5 import opened
from countae.counts.readers._names import as_text, check_number, gene_names, numbered
from countae.counts.readers._places import choose, place_name

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

KIND = "a loom file"
CELL_NAMES = ("CellID", "obs_names", "cell_id", "barcode")
GENE_SYMBOLS = ("Gene", "var_names", "gene_symbols", "gene_name")
GENE_IDS = ("Accession", "gene_ids", "gene_id", "GeneID")


@register("loom")
class LoomReader(Reader):
    """Loom file (.loom): the main matrix or one of its layers."""

    kind = KIND

    @staticmethod
    def recognises(path: Path) -> bool:
        """By its ending."""
        return path.suffix.lower() == ".loom"

    @classmethod
    def open(cls, request: Request) -> LoomReader:
        """A reader that transposes once."""
        return cls(request.source, path=request.path, layer=request.layer)

    def __init__(self, source: str, *, path: Path, layer: str = "") -> None:
        super().__init__(source)
        self._file = path
        with opened(path, KIND) as file:
            n_genes, n_cells = map(int, file["matrix"].shape)
            self.shape = (n_cells, n_genes)
            self._places = ["", *(file["layers"] if "layers" in file else [])]
            self.obs = self._table(file.get("col_attrs", {}), n_cells, "cell", CELL_NAMES, ())
            self.var = self._table(
                file.get("row_attrs", {}), n_genes, "gene", GENE_SYMBOLS, GENE_IDS
            )
        self._go_to(layer)

    def places(self) -> list[str]:
        """The main matrix and the layers."""
        return self._places

    def _go_to(self, layer: str) -> None:
        self.layer = choose(layer, self._places, self.source)
        self.place = place_name(layer) if layer else "matrix"

    def raw_blocks(self, cells: int = BLOCK) -> Iterator[csr_matrix]:
        """Cells of the transposed matrix."""
        if self._spilled is None:
            with opened(self._file, KIND) as file:
                matrix = file[f"layers/{self.layer}" if self.layer else "matrix"]
                if matrix.shape != self.shape[::-1]:
                    raise ValueError(f"{self.place} has shape {matrix.shape}")
                self._spilled = _stored.dense_spill(matrix, where=self.where)
        yield from self._spilled.blocks(self.shape, cells)

    def _table(
        self, group: Any, size: int, what: str, names: tuple[str, ...], ids: tuple[str, ...]
    ) -> pd.DataFrame:
        """Attributes with one value per cell or gene, under their names."""
        import pandas as pd

        columns: dict[str, Any] = {}
        for name in group:
            if len(group[name].shape) != 1:
                continue  # an embedding, say
            values = group[name][:]
            check_number(len(values), size, where=f"{self.source}: {name}", what=f"{what}s")
            columns[name] = as_text(values) if values.dtype.kind in "SO" else values
        symbol = next((name for name in names if name in columns), "")
        identifier = next((name for name in ids if name in columns), "")
        if not symbol and not identifier:
            self.notes.append(
                f"The file has no names of {what}s ({' or '.join(names[:2])}); they are numbered."
            )
            return pd.DataFrame(columns, index=numbered(what, size))
        index = as_text(columns.pop(symbol or identifier))
        if symbol and identifier:
            index = gene_names(index, as_text(columns[identifier]))
        return pd.DataFrame(columns, index=index)

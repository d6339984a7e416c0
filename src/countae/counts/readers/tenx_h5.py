"""HDF5 files of Cell Ranger (.h5), of version 2 (a group per genome) and of 3 and later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from countae.counts.readers import _stored, register
from countae.counts.readers._base import BLOCK, Reader, Request
from countae.counts.readers._hdf5 import opened
from countae.counts.readers._names import GENES, as_text, check_number, gene_names, left_out
from countae.errors import CountMatrixError
from countae.registry import did_you_mean, shown

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

KIND = "a 10x HDF5 file"
ARRAYS = ("data", "indices", "indptr", "shape", "barcodes")


@register("tenx_h5")
class TenxH5Reader(Reader):
    """Cell Ranger's HDF5 file (.h5): cells × genes, stored by cells.

    With several genomes, ``layer`` may name one; without, all genes of a file of version 3 are
    read. Features that are no genes (antibodies, guides) are left out.
    """

    kind = KIND

    @staticmethod
    def recognises(path: Path) -> bool:
        """By its ending."""
        return path.suffix.lower() in {".h5", ".hdf5"}

    @classmethod
    def open(cls, request: Request) -> TenxH5Reader:
        """A streaming reader."""
        return cls(request.source, path=request.path, layer=request.layer)

    def __init__(self, source: str, *, path: Path, layer: str = "") -> None:
        super().__init__(source)
        self._file = path
        with opened(path, KIND) as file:
            if "matrix" in file and "features" in file["matrix"]:
                self._groups = {"": "matrix"}
                genome = as_text(file["matrix/features"]["genome"][:])
                self._places = sorted(set(genome) - {""})
            else:
                found = [name for name in file if _is_genome(file[name])]
                self._groups, self._places = {name: name for name in found}, found
            if not self._groups:
                raise ValueError(
                    "it has neither a group `matrix` with `features` nor one per genome"
                )
        self._go_to(layer)

    def places(self) -> list[str]:
        """Empty for all genes, and each genome where there are several."""
        several = self._places if len(self._places) > 1 else []
        return ["", *several] if "" in self._groups or not several else several

    def _go_to(self, layer: str) -> None:
        if layer not in {*self.places(), *self._places}:
            reason = (
                "is no genome of this file" if layer else "is empty, but it has several genomes"
            )
            raise CountMatrixError(
                f"{self.source}: `layer` {reason}. {did_you_mean(layer, self._places)} Fix: set "
                "`layer` to one of them."
            )
        self.layer, self.place = layer, f"genome {shown(layer)}" if layer else "matrix"
        self._group = self._groups.get(layer) or self._groups.get("") or self._places[0]
        with opened(self._file, KIND) as file:
            self._read_names(file[self._group])

    def _read_names(self, group: Any) -> None:
        import pandas as pd

        n_genes, n_cells = map(int, group["shape"][:])
        barcodes = as_text(group["barcodes"][:])
        check_number(len(barcodes), n_cells, where=f"{self.source}: barcodes", what="cells")
        self.obs = pd.DataFrame(index=barcodes)
        features = _features(group)
        for name, values in features.items():
            where = f"{self.source}: {name}"
            check_number(len(values), n_genes, where=where, what="genes")
        self._keep = self._chosen(features)
        kept = {name: values[self._keep] for name, values in features.items()}
        index = gene_names(kept.pop("symbol"), kept["gene_ids"])
        self.var = pd.DataFrame(kept, index=index)
        self._n_genes, self.shape = n_genes, (n_cells, len(self.var))

    def _chosen(self, features: dict[str, np.ndarray]) -> np.ndarray:
        """Which features are read; a note says what is left out."""
        kinds = features.get("feature_types", np.full(len(features["symbol"]), GENES))
        keep = kinds == GENES
        if not keep.any():
            raise CountMatrixError(
                f"{self.source}: must hold features of type {GENES!r}, found only "
                f"{', '.join(map(shown, np.unique(kinds)[:5]))}. Fix: bring the file with genes."
            )
        self.notes += left_out(kinds, keep)
        if self.layer:
            if "genome" in features:
                keep &= features["genome"] == self.layer
        elif len(self._places) > 1:
            self.notes.append(
                f"Genes of {len(self._places)} genomes are read together; `layer` can name one: "
                f"{', '.join(self._places[:5])}."
            )
        return keep

    def raw_blocks(self, cells: int = BLOCK) -> Iterator[csr_matrix]:
        """Rows of the matrix; what 10x calls CSC of genes × cells is CSR of cells × genes."""
        with opened(self._file, KIND) as file:
            group = file[self._group]
            check_number(
                group["indptr"].shape[0] - 1, self.shape[0], where=f"{self.source}: indptr",
                what="cells",
            )  # fmt: skip
            for block in _stored.csr_blocks(
                group["data"], group["indices"], group["indptr"], n_genes=self._n_genes,
                cells=cells, where=self.where,
            ):  # fmt: skip
                yield block if self._keep.all() else block[:, self._keep]


def _is_genome(part: Any) -> bool:
    """Whether a group is a genome's matrix of version 2."""
    return not hasattr(part, "dtype") and all(name in part for name in (*ARRAYS, "genes"))


def _features(group: Any) -> dict[str, np.ndarray]:
    """Columns that describe genes; ``symbol`` among them."""
    if "features" in group:
        table = group["features"]
        columns = {"symbol": "name", "gene_ids": "id", "feature_types": "feature_type"}
        columns["genome"] = "genome"
    else:
        table, columns = group, {"symbol": "gene_names", "gene_ids": "genes"}
    return {ours: as_text(table[theirs][:]) for ours, theirs in columns.items()}

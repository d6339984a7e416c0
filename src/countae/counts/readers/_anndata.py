"""AnnData's layout in a file, HDF5 or zarr: obs and var in memory, the matrix in blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from countae.counts.readers import _stored
from countae.counts.readers._base import BLOCK, Reader
from countae.counts.readers._places import RAW, choose, is_truth, place_name, without_x
from countae.errors import CountMatrixError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

IGNORED = ("uns", "obsm", "varm", "obsp", "varp")  # parts that are not read


class AnnDataReader(Reader):
    """Counts of a file in AnnData's layout."""

    def __init__(self, source: str, *, layer: str = "") -> None:
        super().__init__(source)
        with self._opened() as file:
            layers = [*file["layers"]] if "layers" in file else []
            raw = [RAW] if "raw/X" in file and "raw/var" in file else []
            self._places = ["", *layers, *raw]
            self._parts = {name: _path(name) for name in self._places}
            if _is_absent(file, "X"):
                self._places.remove("")
            self._tables = {
                name: _table(file[name], f"{source}: {name}")
                for name in ("obs", "var", "raw/var")
                if name in file
            }
            self._shapes = {name: _shape(file, path) for name, path in self._parts.items()}
            self.truth = self._read_truth(file, layers)
        self._go_to(layer)

    @abstractmethod
    def _opened(self) -> AbstractContextManager[Any]:
        """The open file, as a group."""

    def places(self) -> list[str]:
        """``X``, the layers and ``raw.X``."""
        return self._places

    def _go_to(self, layer: str) -> None:
        if not layer and "" not in self._places:
            raise without_x(self)
        self.layer = choose(layer, self._places, self.source)
        self.place = place_name(layer)
        self.obs = self._tables["obs"]
        self.var = self._tables["raw/var" if layer == RAW else "var"]
        self.shape = self._shapes[layer]
        names = (len(self.obs), len(self.var))
        if self.shape not in {names, (0, 0)}:
            raise CountMatrixError(
                f"{self.where} has {self.shape[0]:,} cells × {self.shape[1]:,} genes, but there "
                f"are names for {names[0]:,} cells × {names[1]:,} genes. The file is damaged or "
                "was written by hand. Fix: save it again."
            )

    def raw_blocks(self, cells: int = BLOCK) -> Iterator[csr_matrix]:
        """Rows of the matrix; one that is stored by columns is transposed out of core first."""
        with self._opened() as file:
            part = file[self._parts[self.layer]]
            if hasattr(part, "dtype"):
                yield from _stored.dense_blocks(part, cells=cells, where=self.where)
                return
            arrays = part["data"], part["indices"], part["indptr"]
            by_cells = sparse_format(part) == "csr"
            expected = self.shape[0 if by_cells else 1] + 1
            if arrays[2].shape != (expected,):
                raise CountMatrixError(
                    f"{self.where}: indptr must have {expected:,} entries, found "
                    f"{arrays[2].shape}. The file is damaged. Fix: copy or save it again."
                )
            if by_cells:
                yield from _stored.csr_blocks(
                    *arrays, n_genes=self.shape[1], cells=cells, where=self.where
                )
                return
            if self._spilled is None:
                self._spilled = _stored.csc_spill(*arrays, shape=self.shape, where=self.where)
        yield from self._spilled.blocks(self.shape, cells)

    def _read_truth(self, file: Any, layers: list[str]) -> dict[str, Any]:
        """What countae's simulators wrote, or nothing."""
        if "true_mean" not in layers or "uns" not in file or "truth" not in file["uns"]:
            return {}
        from anndata.io import read_elem

        self._check_truth(file["uns"])
        truth = read_elem(file["uns/truth"])
        return truth if is_truth(truth, layers) else {}

    def _check_truth(self, uns: Any) -> None:
        """Raise CountMatrixError where ``uns["truth"]`` must not be read."""


def sparse_format(part: Any) -> str:
    """``csr`` or ``csc``, as anndata wrote it now or in former years."""
    kind = part.attrs.get("encoding-type", part.attrs.get("h5sparse_format", ""))
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    name = kind.removesuffix("_matrix")
    if name not in {"csr", "csc"}:
        raise ValueError(f"{part.name} is neither a CSR nor a CSC matrix, but {kind[:60]!r}")
    return name


def _path(layer: str) -> str:
    return "raw/X" if layer == RAW else f"layers/{layer}" if layer else "X"


def _shape(file: Any, path: str) -> tuple[int, int]:
    """Shape of a matrix in the file; (0, 0) where there is none."""
    if _is_absent(file, path):
        return (0, 0)
    part = file[path]
    if hasattr(part, "dtype"):
        shape = part.shape
    else:
        attrs = part.attrs
        shape = attrs["shape"] if "shape" in attrs else attrs["h5sparse_shape"]
    n_cells, n_genes = map(int, shape)
    return n_cells, n_genes


def _is_absent(file: Any, path: str) -> bool:
    """Whether there is no such matrix; anndata also writes one that says it is none."""
    return path not in file or file[path].attrs.get("encoding-type") == "null"


def _table(part: Any, where: str) -> Any:
    """Table of cells or genes."""
    import pandas as pd
    from anndata.io import read_elem

    table = read_elem(part)
    if not isinstance(table, pd.DataFrame):
        raise CountMatrixError(
            f"{where} must be a table, found {type(table).__name__}. Fix: save the file again "
            "with anndata."
        )
    table.index = table.index.astype(str)
    return table

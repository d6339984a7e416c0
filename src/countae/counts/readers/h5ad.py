"""AnnData's HDF5 files, .h5ad: CSR, CSC or dense, in X, a layer or raw.X."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from countae.counts.readers import register
from countae.counts.readers._anndata import IGNORED, AnnDataReader
from countae.counts.readers._base import Reader, Request, readable
from countae.counts.readers._hdf5 import check_part, opened
from countae.counts.readers._memory import MemoryReader

KIND = ".h5ad"


@register("h5ad")
class H5adReader(AnnDataReader):
    """AnnData's HDF5 file (.h5ad)."""

    kind = KIND

    @staticmethod
    def recognises(path: Path) -> bool:
        """By its ending."""
        return path.suffix.lower() == KIND

    @classmethod
    def open(cls, request: Request) -> Reader:
        """A streaming reader; files in the layout of before 2019 are read whole."""
        with opened(request.path, KIND, ignore=IGNORED) as file:
            former = any(hasattr(file[name], "dtype") for name in ("obs", "var"))
            former |= "raw.X" in file
        if former:
            import anndata

            with readable(request.path, KIND):
                adata = anndata.read_h5ad(request.path)
            return MemoryReader(adata, request.source, layer=request.layer)
        return cls(request.source, layer=request.layer, path=request.path)

    def __init__(self, source: str, *, path: Path, layer: str = "") -> None:
        self._file = path
        super().__init__(source, layer=layer)

    def _opened(self) -> AbstractContextManager[Any]:
        return opened(self._file, KIND, ignore=IGNORED)

    def _check_truth(self, uns: Any) -> None:
        check_part(uns, "truth", self._file)

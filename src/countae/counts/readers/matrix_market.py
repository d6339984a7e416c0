"""Matrix Market files (.mtx, .mtx.gz), with names beside them or without."""

from __future__ import annotations

from pathlib import Path

from countae.counts.readers import register
from countae.counts.readers._base import Request
from countae.counts.readers._mtx import MtxReader


@register("matrix_market")
class MatrixMarketReader(MtxReader):
    """Matrix Market file (.mtx, .mtx.gz); x_barcodes.tsv and x_features.tsv name its axes."""

    @staticmethod
    def recognises(path: Path) -> bool:
        """By its ending."""
        return path.is_file() and path.name.lower().endswith((".mtx", ".mtx.gz"))

    @classmethod
    def open(cls, request: Request) -> MatrixMarketReader:
        """A reader that sorts by cells once."""
        return cls(request, request.path)

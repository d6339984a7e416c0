"""Folders of Cell Ranger: matrix.mtx with barcodes and genes (version 2) or features (3)."""

from __future__ import annotations

from pathlib import Path

from countae.counts.readers import register
from countae.counts.readers._base import Request
from countae.counts.readers._mtx import MtxReader
from countae.errors import CountMatrixError
from countae.registry import shown


@register("tenx_mtx")
class TenxMtxReader(MtxReader):
    """Cell Ranger's folder: matrix.mtx, barcodes.tsv, genes.tsv or features.tsv, also .gz."""

    @staticmethod
    def recognises(path: Path) -> bool:
        """By a Matrix Market file in the folder."""
        return path.is_dir() and bool(_matrices(path))

    @classmethod
    def open(cls, request: Request) -> TenxMtxReader:
        """A reader that sorts by cells once."""
        found = _matrices(request.path)
        if len(found) > 1:
            raise CountMatrixError(
                f"{request.path}: must hold one Matrix Market file, found {len(found)}: "
                f"{', '.join(shown(path.name) for path in found[:3])}. Fix: name one of them as "
                "the source, or several separated by `;`."
            )
        return cls(request, found[0])


def _matrices(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name.endswith((".mtx", ".mtx.gz")))

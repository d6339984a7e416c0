"""AnnData's zarr stores, a folder or a .zip: CSR, CSC or dense, in X, a layer or raw.X."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from countae.counts.readers import register
from countae.counts.readers._anndata import IGNORED, AnnDataReader
from countae.counts.readers._base import Request, readable
from countae.errors import CountMatrixError
from countae.registry import shown

KIND = "a zarr store"
MARKS = (".zgroup", "zarr.json")  # of the two versions of zarr
HARMLESS = {
    "astype", "blosc", "bytes", "bz2", "crc32", "crc32c", "adler32", "delta", "fixedscaleoffset",
    "fletcher32", "gzip", "lz4", "lzma", "packbits", "quantize", "sharding_indexed", "shuffle",
    "transpose", "vlen-bytes", "vlen-utf8", "zlib", "zstd",
}  # fmt: skip


@register("zarr")
class ZarrReader(AnnDataReader):
    """AnnData's zarr store (.zarr, .zarr.zip)."""

    kind = KIND

    @staticmethod
    def recognises(path: Path) -> bool:
        """A folder by what is in it, an archive by its ending."""
        if path.is_dir():
            return any((path / mark).is_file() for mark in MARKS)
        return path.name.lower().endswith(".zarr.zip")

    @classmethod
    def open(cls, request: Request) -> ZarrReader:
        """A streaming reader."""
        return cls(request.source, layer=request.layer, path=request.path)

    def __init__(self, source: str, *, path: Path, layer: str = "") -> None:
        self._file = path
        super().__init__(source, layer=layer)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        import zarr

        with readable(self._file, KIND), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks of zarr on what others may not read
            store: Any
            if self._file.is_dir():
                store = zarr.storage.LocalStore(self._file, read_only=True)
            else:
                store = zarr.storage.ZipStore(self._file, mode="r")
            try:
                group = zarr.open_group(store, mode="r", path=self._top())
                for name in set(group) - set(IGNORED):
                    _check(group[name], self._file)
                yield group
            finally:
                store.close()

    def _top(self) -> str:
        """The only folder of an archive, where the store was packed with its folder; else none."""
        if self._file.is_dir():
            return ""
        with zipfile.ZipFile(self._file) as archive:
            names = archive.namelist()
        folders = {name.split("/")[0] for name in names}
        packed = len(folders) == 1 and not set(MARKS) & set(names)
        return folders.pop() if packed else ""

    def _check_truth(self, uns: Any) -> None:
        _check(uns["truth"], self._file)


def _check(part: Any, path: Path) -> None:
    """Raise CountMatrixError for arrays that are unpacked by anything but known codecs."""
    arrays = [(part.name, part)]
    if not hasattr(part, "dtype"):
        arrays = [
            (f"{part.name}/{name}", member)
            for name, member in part.members(max_depth=None)
            if hasattr(member, "dtype")
        ]
    for name, array in arrays:
        for codec in _codecs(array.metadata.to_dict()):
            if codec.removeprefix("numcodecs.") not in HARMLESS:
                raise CountMatrixError(
                    f"{path}: {shown(name)} is packed by {shown(codec)}, which is not read: "
                    "unpacking objects (pickles) can run any code. Fix: save it with "
                    "adata.write_zarr from a source that you trust."
                )


def _codecs(metadata: dict[str, Any]) -> Iterator[str]:
    """Names of an array's filters and compressors, those inside shards included."""
    packed = [*(metadata.get("codecs") or ()), *(metadata.get("filters") or ())]
    packed += [metadata["compressor"]] if metadata.get("compressor") else []
    for codec in packed:
        entry = codec if isinstance(codec, dict) else _as_dict(codec)
        yield str(entry.get("name", entry.get("id")))
        yield from _codecs(entry.get("configuration") or {})


def _as_dict(codec: Any) -> dict[str, Any]:
    return codec.get_config() if hasattr(codec, "get_config") else codec.to_dict()

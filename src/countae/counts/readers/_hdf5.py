"""HDF5 files opened with suspicion: nothing outside of the file is read, no object is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from countae.counts.readers._base import readable
from countae.counts.readers._heaps import check_heaps
from countae.errors import CountMatrixError
from countae.registry import shown

DEPTH = 20  # of groups within groups
LARGE, RATIO = 2 << 30, 1100  # bytes, and what gzip saves at most


@contextmanager
def opened(path: Path, kind: str, *, ignore: tuple[str, ...] = ()) -> Iterator[Any]:
    """An HDF5 file, closed at the end; parts in ``ignore`` are neither looked at nor read."""
    import h5py

    with readable(path, kind):
        check_heaps(path)
    with readable(path, kind), h5py.File(path, "r") as file:
        for name in set(file) - set(ignore):
            check_part(file, name, path)
        yield file


def check_part(group: Any, name: str, path: Path, depth: int = 0) -> None:
    """Raise CountMatrixError for links to other files and arrays of objects, at any depth."""
    import h5py

    link = group.get(name, getlink=True)
    place = f"{path}: {shown(f'{group.name}/{name}'.replace('//', '/'))}"
    if isinstance(link, h5py.ExternalLink):
        raise _refused(place, f"is a link to the file {shown(link.filename)}")
    if isinstance(link, h5py.SoftLink):
        return  # within the file; what it leads to is met, or refused, under its own name
    if depth > DEPTH:
        raise _refused(place, f"lies in more than {DEPTH} groups within groups")
    part = group[name]
    if isinstance(part, h5py.Group):
        for inner in part:
            check_part(part, inner, path, depth + 1)
    elif isinstance(part, h5py.Dataset):
        _check_array(part, place)


def _check_array(array: Any, place: str) -> None:
    import h5py

    if array.is_virtual or array.external:
        raise _refused(place, "keeps its values in other files")
    if array.dtype.kind == "O" and h5py.check_string_dtype(array.dtype) is None:
        raise _refused(place, "holds objects, neither numbers nor text")
    size = array.size * array.dtype.itemsize if array.size else 0
    if size > LARGE and size > RATIO * array.id.get_storage_size():
        raise _refused(place, f"claims {size:,} bytes, but has hardly any in the file")


def _refused(place: str, found: str) -> CountMatrixError:
    return CountMatrixError(
        f"{place} {found}; this is not read, since a file must hold its own numbers and text and "
        "nothing else. Fix: open the file with anndata or h5py, check it, and save it as a plain "
        "file."
    )

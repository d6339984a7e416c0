"""A check that the HDF5 library does not make: damaged heaps of text, on which it loops forever.

HDF5 keeps text of any length in global heaps (version 1 of the layout: HDF5 File Format
Specification 3.0, III.E). A free object of size 0 in one makes the library, up to 2.0.0 at least,
read the same object again without end, and no signal ends that from Python.
"""

from __future__ import annotations

import mmap
import struct
from functools import lru_cache
from pathlib import Path

from countae.errors import CountMatrixError

MARK = b"GCOL\x01\x00\x00\x00"
LARGEST = 1 << 30  # bytes; in larger files the search would cost more than it saves
PIECE = 4 << 20  # bytes that are searched at a time
OBJECT = struct.Struct("<HHIQ")  # index, references, reserved, size


def check_heaps(path: Path) -> None:
    """Raise CountMatrixError when a heap in the file does not add up; looked at once a file."""
    facts = path.stat()
    _check(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=64)
def _check(path: Path, modified: int, size: int) -> None:
    if not 0 < size <= LARGEST:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start in range(0, size, PIECE):
            piece = data[start : start + PIECE + len(MARK) - 1]
            found = piece.find(MARK)
            while found >= 0:
                _check_heap(data, start + found, path)
                found = piece.find(MARK, found + 1)


def _check_heap(data: mmap.mmap, place: int, path: Path) -> None:
    if not _adds_up(data, place):
        raise CountMatrixError(
            f"{path}: its text is damaged (the HDF5 heap at byte {place:,} does not add up). "
            "Fix: copy or save the file again."
        )


def _adds_up(data: mmap.mmap, start: int) -> bool:
    """Whether the objects of a heap fill it one after the other."""
    if start + 16 > len(data):
        return False
    (size,) = struct.unpack_from("<Q", data, start + 8)
    stop = start + size
    if stop > len(data):
        return False
    place = start + 16
    while place + OBJECT.size <= stop:
        index, _, _, length = OBJECT.unpack_from(data, place)
        step = OBJECT.size + -(-length // 8) * 8 if index else length
        if step < OBJECT.size or place + step > stop:
            return False
        place += step
    return True

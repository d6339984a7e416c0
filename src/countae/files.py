"""Writing results so that a crash never leaves half a file, and reading the JSON ones."""

from __future__ import annotations

import errno
import glob
import itertools
import json
import os
import platform
import re
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countae.errors import ScoreError, StorageError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the system's limit to the size of a file is reached",
}
OLD = "-old"  # ends the name of a folder that is put aside for a new one
_COUNTER = itertools.count()


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` and rename it to ``path`` when the block succeeds.

    What is written may be a file or a folder; a folder of that name from before is put aside
    first and removed last. What processes that were killed while they wrote the same file have
    left is removed before.

    Raises
    ------
    StorageError
        When there is no room for the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = _begin(path)
    _remove_left_ones(path, begin)
    aside = path.with_name(f"{begin}{os.getpid()}-{next(_COUNTER)}{path.suffix}")
    try:
        yield aside
        with _room_for_folder(path, aside):
            os.replace(aside, path)
    except StorageError as error:  # the aside may itself have been written aside
        if error.path != aside:
            raise
        raise _no_room(path, error.reason, error.written) from error
    except (OSError, RuntimeError) as error:  # h5py fails to close a file with the latter
        if reason := lack_of_room(error):
            raise _no_room(path, reason, _size(aside)) from error
        raise
    finally:
        _remove(aside)


def discard(path: Path) -> None:
    """Remove a file, and what processes that were killed while they wrote it have left."""
    path.unlink(missing_ok=True)
    _remove_left_ones(path, _begin(path))


def _begin(path: Path) -> str:
    """How names of what is written aside begin, before the number of the process.

    Machine and process are in the name, so that others can tell whether the writer lives.
    """
    return f".{path.stem}.{uuid.uuid5(uuid.NAMESPACE_DNS, platform.node()).hex[:8]}-"


@contextmanager
def _room_for_folder(path: Path, aside: Path) -> Iterator[None]:
    """Put an earlier folder out of the way of a new one; back, if that cannot take its place."""
    if not (aside.is_dir() and path.is_dir()):
        yield
        return
    old = aside.with_stem(f"{aside.stem}{OLD}")
    os.replace(path, old)
    try:
        yield
    except OSError:
        os.replace(old, path)
        raise
    _remove(old)


def _size(path: Path) -> int:
    """Bytes of a file, or of all in a folder, or 0 where there is none."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def check_places(*paths: Path) -> None:
    """Raise OSError, before long work, where a file can never be written; make its folder."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "not writable", str(path.parent))


def write_together(writers: dict[Path, Callable[[Path], Any]]) -> None:
    """Write several files, each by a function of its path, and rename them when all are there."""
    with ExitStack() as stack:
        for path, write in writers.items():
            write(stack.enter_context(written_aside(path)))


def lack_of_room(error: BaseException) -> str:
    """What is full, when that is why a file could not be written; else nothing."""
    number = getattr(error, "errno", None)
    if number not in NO_ROOM:  # HDF5 names the system's error in its text
        told = re.search(r"errno\W+(\d+)", str(error))
        number = int(told[1]) if told else None
    return NO_ROOM.get(number, "") if number is not None else ""


def _no_room(path: Path, reason: str, written: int) -> StorageError:
    free = shutil.disk_usage(path.parent).free
    old = "What had that name before is as it was. " if path.exists() else ""
    return StorageError(
        f"{path}: could not be written, because {reason}, after {written / 1e6:,.1f} MB of it "
        f"({free / 1e6:,.1f} MB are free there now). {old}Fix: make room in {path.parent}, or "
        "name a folder on another disk, then run the same command again.",
        path,
        reason,
        written,
    )


def _remove_left_ones(path: Path, begin: str) -> None:
    """Remove asides of ``path`` whose process, on this machine, is no more.

    An earlier folder that was put aside while nothing was in its place yet is put back.
    """
    for left in path.parent.glob(f"{glob.escape(begin)}*{glob.escape(path.suffix)}"):
        process = left.name.removeprefix(begin).split("-")[0]
        if process.isdigit() and not _is_alive(int(process)):
            if left.stem.endswith(OLD) and not path.exists():
                os.replace(left, path)
            else:
                _remove(left)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write ``content``, aside first."""
    with written_aside(path) as aside:
        aside.write_bytes(content)


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write ``content`` as readable JSON; a number that is not finite is an error, not ``NaN``."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=2, allow_nan=False, default=_plain) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Content of a JSON file that countae wrote."""
    try:
        return json.loads(Path(path).read_text(), parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:  # no text at all is a ValueError too
        raise ScoreError(
            f"{path}: is no JSON that countae wrote, or is damaged ({error}). Fix: make it again."
        ) from error


def _not_finite(name: str) -> float:
    raise ValueError(f"has the number {name}")


def with_keys(path: str | Path, what: str, *keys: str) -> dict[str, Any]:
    """Content of a JSON file that must have some keys; ScoreError when it lacks one.

    A key with dots leads into inner objects, where ``*`` is every key.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise ScoreError(
            f"{path}: is no {what}, which is an object with names, but holds "
            f"{type(found).__name__}. Fix: name the right file, or make it again."
        )
    missing = [key for key in keys if not _has(found, key)]
    if missing:
        raise ScoreError(
            f"{path}: is no {what} of this version of countae, since it has no "
            f"{', '.join(missing)}. Fix: name the right file, or make it again."
        )
    return found


def _has(found: Any, key: str) -> bool:
    """Whether a key with dots leads to a value, for ``*`` in each of the inner objects."""
    first, _, rest = key.partition(".")
    if not isinstance(found, dict):
        return False
    if first == "*":
        return all(_has(inner, rest) for inner in found.values())
    return first in found and (not rest or _has(found[first], rest))


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a parquet table, each page with its checksum."""
    with written_aside(path) as aside:
        table.to_parquet(aside, index=False, write_page_checksum=True)


def read_table(
    path: str | Path, columns: list[str] | None = None, *, filters: list[Any] | None = None
) -> pd.DataFrame:
    """A parquet table that countae wrote, or some of it; ScoreError when it is damaged.

    ``filters`` are those of :func:`pyarrow.parquet.read_table`.
    """
    import pandas as pd

    try:
        return pd.read_parquet(
            path, columns=columns, filters=filters, page_checksum_verification=True
        )
    except (ValueError, OSError, KeyError, UnicodeDecodeError) as error:
        raise ScoreError(
            f"{path}: is no table that countae wrote, or is damaged ({_short(error)}). Fix: make "
            "it again."
        ) from error


def read_array(path: str | Path, name: str) -> np.ndarray:
    """An array of an .npz file that countae wrote; ScoreError when it is damaged."""
    import numpy as np

    try:
        with open(path, "rb") as opened, np.load(opened) as file:
            return file[name]
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ScoreError(
            f"{path}: is no file of arrays that countae wrote, or is damaged ({_short(error)}). "
            "Fix: make it again."
        ) from error


def array_names(path: str | Path) -> set[str]:
    """Names of the arrays in an .npz file; ScoreError when it is none."""
    import numpy as np

    try:
        with open(path, "rb") as opened, np.load(opened) as file:
            return set(file.files)
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ScoreError(
            f"{path}: must be an .npz file of named arrays, but is not, or is damaged "
            f"({_short(error)}). Fix: make it again."
        ) from error


def provenance(path: str | Path) -> dict[str, Any]:
    """Checksum (BLAKE2b) and bytes of a file, or of all files in a folder with their names."""
    path = Path(path)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest, size = blake2b(digest_size=16), 0
    for file in files:
        if path.is_dir():
            digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as opened:
            while some := opened.read(2**20):
                digest.update(some)
                size += len(some)
    return {"checksum": digest.hexdigest(), "bytes": size}


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _plain(value: Any) -> Any:
    """A NumPy scalar or array as the Python value that JSON knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")

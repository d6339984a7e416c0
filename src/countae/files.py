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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from countae.errors import ScoreError, StorageError

NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the system's limit to the size of a file is reached",
}
_COUNTER = itertools.count()


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` and rename it to ``path`` when the block succeeds.

    What processes that were killed while they wrote the same file have left is removed first.

    Raises
    ------
    StorageError
        When there is no room for the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the machine and the process are in the name, so that others can tell whether it lives
    begin = f".{path.stem}.{uuid.uuid5(uuid.NAMESPACE_DNS, platform.node()).hex[:8]}-"
    _remove_left_ones(path, begin)
    aside = path.with_name(f"{begin}{os.getpid()}-{next(_COUNTER)}{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    except (OSError, RuntimeError) as error:  # h5py closes a file without room with the latter
        reason = lack_of_room(error)
        if not reason:
            raise
        raise StorageError(_no_room(path, aside, reason)) from error
    finally:
        aside.unlink(missing_ok=True)


def lack_of_room(error: BaseException) -> str:
    """What is full, when that is why a file could not be written; else nothing."""
    number = getattr(error, "errno", None)
    if number not in NO_ROOM:  # HDF5 names the system's error in its text
        told = re.search(r"errno\W+(\d+)", str(error))
        number = int(told[1]) if told else None
    return NO_ROOM.get(number, "") if number is not None else ""


def _no_room(path: Path, aside: Path, reason: str) -> str:
    written = aside.stat().st_size if aside.exists() else 0
    free = shutil.disk_usage(path.parent).free
    old = "The file of that name from before is as it was. " if path.exists() else ""
    return (
        f"{path}: could not be written, because {reason}, after {written / 1e6:,.1f} MB of it "
        f"({free / 1e6:,.1f} MB are free there now). {old}Fix: make room in {path.parent}, or "
        "name a folder on another disk, then run the same command again."
    )


def _remove_left_ones(path: Path, begin: str) -> None:
    """Remove asides of ``path`` whose process, on this machine, is no more."""
    for left in path.parent.glob(f"{glob.escape(begin)}*{glob.escape(path.suffix)}"):
        process = left.name.removeprefix(begin).split("-")[0]
        if process.isdigit() and not _is_alive(int(process)):
            left.unlink(missing_ok=True)


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
        return json.loads(Path(path).read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise ScoreError(
            f"{path}: is no JSON that countae wrote, or is damaged ({error}). Fix: make it again."
        ) from error


def _plain(value: Any) -> Any:
    """A NumPy scalar or array as the Python value that JSON knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")

"""Writing results so that a crash never leaves half a file, and reading the JSON ones."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from countae.errors import ScoreError


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` and rename it to ``path`` when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


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

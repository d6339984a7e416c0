"""Sources of counts as a user names them: files, several at once, addresses in the network."""

from __future__ import annotations

import glob
import hashlib
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from countae.errors import ConfigError
from countae.files import written_aside
from countae.progress import working

MADE = ("builtin:", "simulate:")
WEB = ("http://", "https://")
PATIENCE = 60  # seconds without a byte
PIECE = 1 << 20  # bytes


def parts(source: str) -> list[str]:
    """What a source joins: several separated by ``;``, each of which may be a pattern.

    Raises
    ------
    ConfigError
        When a pattern matches no file.
    """
    if source.startswith(MADE) or Path(source).exists():
        return [source]
    found: list[str] = []
    for part in filter(None, (part.strip() for part in source.split(";"))):
        if is_remote(part) or Path(part).exists() or not glob.has_magic(part):
            found.append(part)
            continue
        matches = sorted(glob.glob(part))
        if not matches:
            raise ConfigError(
                f"{part}: no file matches this pattern (from {Path.cwd()}). Fix: correct the "
                "path, or leave out *, ? and [ if they are meant as such."
            )
        found += matches
    return found or [source]


def is_remote(source: str) -> bool:
    """Whether a source lies in the network: ``https://…``, ``s3://…``."""
    return "://" in source


def is_web(source: str) -> bool:
    """Whether ``fetch`` can get a source."""
    return source.startswith(WEB)


def file_name(source: str) -> str:
    """Name of the file at an address, which tells its format."""
    return PurePosixPath(unquote(urlsplit(source).path)).name or "counts.h5ad"


def fetch(address: str, output: str | Path) -> int:
    """Bytes that were fetched from a web address to ``output``, which is whole or not there.

    A ``#sha256=…`` at the end of the address is compared with what came.

    Raises
    ------
    ConfigError
        When the address is none, does not answer, or sends less than it promised or another file.
    """
    if not is_web(address):
        raise ConfigError(f"{address}: only {' and '.join(WEB)} addresses can be fetched.")
    bare, _, fragment = address.partition("#")
    digest, size = hashlib.sha256(), 0
    with written_aside(output) as aside:
        try:
            with (
                urllib.request.urlopen(bare, timeout=PATIENCE) as answer,
                aside.open("wb") as file,
            ):
                promised = answer.headers.get("Content-Length")
                megabytes = int(promised) / 1e6 if promised else None
                with working("fetching", megabytes, "MB") as work:
                    while piece := answer.read(PIECE):
                        digest.update(piece)
                        size += file.write(piece)
                        work.advance(len(piece) / 1e6)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = f"{getattr(error, 'code', '')} {getattr(error, 'reason', error)}".strip()
            raise ConfigError(
                f"{bare}: cannot be fetched ({reason}). Fix: correct the address, or fetch the "
                "file yourself and name its path."
            ) from error
        if promised is not None and size != int(promised):
            raise ConfigError(f"{bare}: sent {size:,} of {int(promised):,} bytes. Fix: try again.")
        expected = fragment.removeprefix("sha256=").lower()
        if expected and expected != digest.hexdigest():
            raise ConfigError(
                f"{bare}: must have the SHA-256 checksum {expected}, but has "
                f"{digest.hexdigest()}. The file was changed or damaged. Fix: make sure which "
                "one you want."
            )
    return size

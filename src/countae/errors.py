"""Errors a user can act on. The command line prints the message alone and exits with 2."""

from __future__ import annotations

from pathlib import Path


class CountaeError(ValueError):
    """Base of every error that is the input's fault, not the program's."""


class CountMatrixError(CountaeError):
    """The counts, or what describes their cells and genes, are not what was promised."""


class UnsuitableError(CountMatrixError):
    """The counts cannot have a stress test, or not with the cells of ``group`` left out."""

    def __init__(self, message: str, group: str = "") -> None:
        super().__init__(message)
        self.group = group


class ConfigError(CountaeError):
    """The configuration or an option is wrong."""


class FitDivergedError(CountaeError):
    """Training produced a value that is not finite."""


class FitInterruptedError(CountaeError):
    """A process that trained together with this one ended."""


class ScoreError(CountaeError):
    """Scores, or the files they come from, do not fit together."""


# what the system says of a place, in words and with the fix
OF_PLACES: dict[type[OSError], str] = {
    FileExistsError: "a folder is needed there, but a file is. Fix: name a folder.",
    NotADirectoryError: "a folder is needed on the way there, but a file is. Fix: name a folder.",
    IsADirectoryError: "a file is needed there, but a folder is. Fix: name a file.",
    FileNotFoundError: "there is nothing of that name. Fix: correct the path.",
    PermissionError: "you may not read or write there. Fix: name a place of your own, or change "
    "its rights.",
}


def told(error: Exception) -> str:
    """An error as a person reads it: our own as it is, one of the system with its place."""
    # of a renaming that failed, the name that was to be
    place = getattr(error, "filename2", None) or getattr(error, "filename", None)
    said = next((text for kind, text in OF_PLACES.items() if isinstance(error, kind)), "")
    return f"{place}: {said}" if place and said else str(error)


class StorageError(CountaeError):
    """There is no room for the file ``path``: why, and how many bytes of it were written."""

    def __init__(self, message: str, path: Path, reason: str, written: int) -> None:
        super().__init__(message)
        self.path, self.reason, self.written = path, reason, written

"""Errors a user can act on. The command line prints the message alone and exits with 2."""

from __future__ import annotations

from pathlib import Path


class CountaeError(ValueError):
    """Base of every error that is the input's fault, not the program's."""


class CountMatrixError(CountaeError):
    """The counts, or what describes their cells and genes, are not what was promised."""


class ConfigError(CountaeError):
    """The configuration or an option is wrong."""


class FitDivergedError(CountaeError):
    """Training produced a value that is not finite."""


class ScoreError(CountaeError):
    """Scores, or the files they come from, do not fit together."""


class StorageError(CountaeError):
    """There is no room for the file ``path``: why, and how many bytes of it were written."""

    def __init__(self, message: str, path: Path, reason: str, written: int) -> None:
        super().__init__(message)
        self.path, self.reason, self.written = path, reason, written

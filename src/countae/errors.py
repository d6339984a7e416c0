"""Errors a user can act on. The command line prints the message alone and exits with 2."""


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
    """There is no room for a file."""

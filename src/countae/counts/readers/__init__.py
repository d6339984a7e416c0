"""Counts from any source, in blocks of cells; one file per format, and a function that picks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from countae.counts.readers._base import BLOCK, Reader
from countae.errors import CountMatrixError
from countae.registry import Registry

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["BLOCK", "Reader", "open_counts"]

registry = Registry(__name__, "format")
register, get, names, check = registry.register, registry.get, registry.names, registry.check


def open_counts(
    source: str, *, layer: str = "", simulate: Callable[[str], AnnData] | None = None
) -> Reader:
    """Reader of ``source``: a path, ``builtin:NAME`` or ``simulate:FAMILY``.

    Parameters
    ----------
    source : str
    layer : str
        Empty for the main matrix, ``raw.X``, or the name of a layer.
    simulate : callable
        Makes the AnnData for a simulator's name (the caller knows size and seed).

    Raises
    ------
    ConfigError
        When the source does not exist.
    CountMatrixError
        When it is of no known format, is damaged, or has no such layer.
    """
    from countae.counts.readers._builtin import builtin
    from countae.counts.readers._memory import MemoryReader

    kind, _, name = source.partition(":")
    if kind == "builtin":
        return MemoryReader(builtin(name), source, layer=layer)
    if kind == "simulate" and simulate is not None:
        return MemoryReader(simulate(name), source, layer=layer)
    return _open_file(source, layer)


def _open_file(source: str, layer: str) -> Reader:
    """Reader of a file."""
    from countae.config import existing_file

    path = existing_file(source, "count matrix (.h5ad)")
    for name in names():
        if get(name).recognises(path):
            return get(name).open(source, path, layer=layer)
    raise CountMatrixError(
        f"{path}: only .h5ad files are read, found {path.suffix or 'no ending'!r}. Fix: read the "
        "file with scanpy and save it with adata.write_h5ad('counts.h5ad')."
    )

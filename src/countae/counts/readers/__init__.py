"""Counts from any source, in blocks of cells; one file per format, and a function that picks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from countae import sources
from countae.config import Source, check_row, existing_file
from countae.counts.readers._base import BLOCK, Reader, Request, readable
from countae.errors import ConfigError, CountMatrixError
from countae.registry import Registry

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["BLOCK", "Reader", "open_counts"]

registry = Registry(__name__, "format")
register, get, names, check = registry.register, registry.get, registry.names, registry.check


def open_counts(
    source: str,
    *,
    layer: str = "",
    orientation: str = "auto",
    simulate: Callable[[str], AnnData] | None = None,
) -> Reader:
    """Reader of ``source``.

    Parameters
    ----------
    source : str
        A path, ``builtin:NAME`` or ``simulate:FAMILY``; several paths separated by ``;``, or a
        pattern like ``donor*/counts.h5``, are one data set.
    layer : str
        Empty for the main matrix, ``raw.X``, or the name of a layer (of a genome in 10x HDF5).
    orientation : {"auto", "cells_in_rows", "genes_in_rows"}
        Of tables and Matrix Market files; other formats know it.
    simulate : callable
        Makes the AnnData for a simulator's name (the caller knows size and seed).

    Raises
    ------
    ConfigError
        When the source does not exist, or there is no such orientation.
    CountMatrixError
        When it is of no known format, is damaged, or has no such layer.
    """
    from countae.counts.readers._builtin import builtin
    from countae.counts.readers._memory import MemoryReader
    from countae.counts.readers._several import SeveralReader

    check_row(Source(source, layer=layer, orientation=orientation))
    kind, _, name = source.partition(":")
    if kind == "builtin":
        return MemoryReader(builtin(name), source, layer=layer)
    if kind == "simulate" and simulate is not None:
        return MemoryReader(simulate(name), source, layer=layer)
    paths = sources.parts(source)
    if len(paths) == 1:
        return _open_path(paths[0], layer, orientation)
    return SeveralReader(source, [_open_path(path, layer, orientation) for path in paths])


def _open_path(source: str, layer: str, orientation: str) -> Reader:
    """Reader of one file or folder."""
    if sources.is_remote(source):
        raise ConfigError(
            f"{source}: only the workflow reads from the network. Fix: `countae fetch ADDRESS "
            "FILE` first (http and https), or run the workflow with this source in datasets.tsv."
        )
    path = Path(source) if Path(source).is_dir() else existing_file(source, "count matrix")
    for name in names():
        if get(name).recognises(path):
            with readable(path, get(name).kind):
                return get(name).open(Request(source, path, layer, orientation))
    found = "a folder with none of them" if path.is_dir() else f"{path.suffix or 'no ending'!r}"
    raise CountMatrixError(
        f"{path}: must be a count matrix in a known format, found {found}. Known: "
        + "; ".join((get(name).__doc__ or "").splitlines()[0].rstrip(".") for name in names())
        + ". Fix: give the file its usual ending, or read it with scanpy and save it with "
        "adata.write_h5ad('counts.h5ad')."
    )

"""Reading counts from a file, from a package, or from a simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from countae.counts._check import (
    check_key,
    check_library_size,
    check_names,
    checked_counts,
    holds_counts,
)
from countae.counts._matrix import CountMatrix
from countae.errors import ConfigError, CountMatrixError
from countae.registry import did_you_mean

if TYPE_CHECKING:
    from anndata import AnnData

RAW = "raw.X"
OWN_COLUMNS = ("library_size", "size_factor", "split")


def read_counts(
    source: str,
    *,
    layer: str = "",
    label_key: str = "",
    batch_key: str = "",
    library_size_key: str = "",
    donor_key: str = "",
    simulate: Callable[[str], AnnData] | None = None,
) -> CountMatrix:
    """Checked raw counts from ``source``.

    Parameters
    ----------
    source : str
        A path to an .h5ad file, ``builtin:NAME``, or ``simulate:FAMILY``.
    layer : str
        Empty for ``X``, ``raw.X``, or the name of a layer.
    label_key, batch_key, library_size_key, donor_key : str
        Columns of obs; empty for none. Without a library size it is the cell's total count.
    simulate : callable
        Makes the AnnData for a simulator's name (the caller knows size and seed).

    Returns
    -------
    CountMatrix
        Counts of all cells and genes; obs and var of the file are kept, its other parts are not.

    Raises
    ------
    ConfigError
        When the source does not exist.
    CountMatrixError
        When what it holds is not what was promised.
    """
    import anndata

    kind, _, name = source.partition(":")
    if kind == "builtin":
        adata = _builtin(name)
    elif kind == "simulate" and simulate is not None:
        adata = simulate(name)
    else:
        adata = read_h5ad(source)

    matrix, var, place = _layer(adata, layer, source)
    cell_id, gene_id = adata.obs_names.to_numpy(object), var.index.to_numpy(object)
    counts, rounded = checked_counts(
        matrix, source=source, place=place, cell_id=cell_id, gene_id=gene_id,
        hint=_where_counts_are(adata, layer),
    )  # fmt: skip
    check_names(cell_id, source=source, what="cell")
    check_names(gene_id, source=source, what="gene")
    keys = {
        "label_key": label_key, "batch_key": batch_key, "library_size_key": library_size_key,
        "donor_key": donor_key,
    }  # fmt: skip
    for setting, key in keys.items():
        if key:
            check_key(adata.obs, key, source=source, setting=setting)

    kept = {name: f"{name}_input" for name in OWN_COLUMNS if name in adata.obs}
    obs = adata.obs.drop(columns=[*kept.values()], errors="ignore").rename(columns=kept)
    library = total = counts.sum(axis=1).A1
    if library_size_key:
        library = adata.obs[library_size_key].to_numpy()
        check_library_size(library, total, source=source, key=library_size_key)
    obs["library_size"] = library.astype(np.float64)
    info = {"source": source, "rounded": rounded} | {k: _renamed(v) for k, v in keys.items()}
    made = anndata.AnnData(counts, obs=obs, var=var, uns={"countae": info})
    if is_simulated(adata):
        made.uns["truth"] = adata.uns["truth"]
        for name in adata.uns["truth"]["layers"]:
            made.layers[name] = adata.layers[name]
    return CountMatrix(made, source)


def is_simulated(adata: AnnData) -> bool:
    """Whether a file carries the truth that countae's simulators write."""
    truth = adata.uns.get("truth")
    if not isinstance(truth, dict) or "likelihood" not in truth:
        return False
    layers = set(truth.get("layers", ()))
    return "true_mean" in layers and layers <= set(adata.layers)


def read_h5ad(path: str | Path, read: Callable[[Path], AnnData] | None = None) -> AnnData:
    """AnnData of an .h5ad file, by AnnData's own function or another.

    Raises
    ------
    ConfigError
        When there is no such file.
    CountMatrixError
        When it is not an HDF5 file in AnnData's layout, or is cut short.
    """
    import anndata

    from countae.config import existing_file

    path = existing_file(path, "count matrix (.h5ad)")
    if path.suffix != ".h5ad":
        raise CountMatrixError(
            f"{path}: only .h5ad files are read, found {path.suffix or 'no ending'!r}. Fix: "
            "read the "
            "file with scanpy and save it with adata.write_h5ad('counts.h5ad')."
        )
    try:
        return (read or anndata.read_h5ad)(path)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CountMatrixError(
            f"{path}: not readable as .h5ad ({error}). The file may be cut short or of another "
            "format. Fix: copy or save it again."
        ) from error


def _renamed(key: str) -> str:
    """Name under which a column of the input is kept."""
    return f"{key}_input" if key in OWN_COLUMNS else key


def _layer(adata: AnnData, layer: str, source: str) -> tuple[Any, Any, str]:
    """Matrix, table of its genes, and a name for messages."""
    if not layer:
        return adata.X if adata.X is not None else np.empty((0, 0)), adata.var, "X"
    if layer == RAW:
        if adata.raw is None:
            raise CountMatrixError(f"{source}: `layer` is {RAW}, but the file has no raw part.")
        return adata.raw.X, adata.raw.var, RAW
    if layer not in adata.layers:
        known = [*adata.layers, *([RAW] if adata.raw is not None else [])]
        raise CountMatrixError(
            f"{source}: there is no layer {layer!r}. {did_you_mean(layer, known)} An empty "
            "`layer` means X."
        )
    return adata.layers[layer], adata.var, f"layer {layer!r}"


def _where_counts_are(adata: AnnData, layer: str) -> str:
    """Proposal of another part of the file that does hold counts."""
    parts = {"": adata.X, **adata.layers}
    if adata.raw is not None:
        parts[RAW] = adata.raw.X
    for name, matrix in parts.items():
        if name != layer and matrix is not None and holds_counts(matrix):
            return f"set `layer` to {name!r}, which holds raw counts." if name else (
                "leave `layer` empty: X holds raw counts."
            )  # fmt: skip
    return ""


def _builtin(name: str) -> AnnData:
    """A data set that comes inside a dependency."""
    if name != "pbmc68k_reduced":
        raise ConfigError(
            f"There is no built-in data set {name!r}. {did_you_mean(name, ['pbmc68k_reduced'])}"
        )
    import anndata
    import scanpy

    reduced = scanpy.datasets.pbmc68k_reduced()
    # raw.X is log1p(counts · 10,000 / n_counts): undone, every value is within 0.1 of an integer
    per_cell = reduced.obs["n_counts"].to_numpy(np.float64)[:, None] / 1e4
    counts = reduced.raw.X.astype(np.float64).expm1().multiply(per_cell).tocsr()
    whole = np.rint(counts.data)
    if np.abs(counts.data - whole).max() > 0.1:
        raise CountMatrixError(
            "builtin:pbmc68k_reduced: the raw counts could not be recovered from this scanpy "
            "version's file. Fix: install the scanpy version of the lock."
        )
    counts.data = whole
    return anndata.AnnData(
        counts, obs=reduced.obs[["bulk_labels", "n_counts"]].copy(), var=reduced.raw.var[[]].copy()
    )

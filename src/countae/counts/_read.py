"""Reading counts from a file, from a package, or from a simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from countae.counts._check import check_key, check_library_size, check_names
from countae.counts._matrix import CountMatrix
from countae.counts.readers import open_counts
from countae.counts.readers._spill import stacked
from countae.errors import CountMatrixError

if TYPE_CHECKING:
    from anndata import AnnData

OWN_COLUMNS = ("library_size", "size_factor", "split")


def read_counts(
    source: str,
    *,
    layer: str = "",
    label_key: str = "",
    batch_key: str = "",
    library_size_key: str = "",
    donor_key: str = "",
    orientation: str = "auto",
    simulate: Callable[[str], AnnData] | None = None,
) -> CountMatrix:
    """Checked raw counts from ``source``.

    Parameters
    ----------
    source : str
        See :func:`countae.counts.readers.open_counts`.
    layer : str
        Empty for ``X``, ``raw.X``, or the name of a layer.
    label_key, batch_key, library_size_key, donor_key : str
        Columns of obs; empty for none. Without a library size it is the cell's total count.
    orientation, simulate
        As in :func:`countae.counts.readers.open_counts`.

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

    reader = open_counts(source, layer=layer, orientation=orientation, simulate=simulate)
    counts = stacked([*reader.blocks()])
    check_names(reader.obs.index.to_numpy(object), source=source, what="cell")
    check_names(reader.var.index.to_numpy(object), source=source, what="gene")
    keys = {
        "label_key": label_key, "batch_key": batch_key, "library_size_key": library_size_key,
        "donor_key": donor_key,
    }  # fmt: skip
    for setting, key in keys.items():
        if key:
            check_key(reader.obs, key, source=source, setting=setting)

    kept = {name: f"{name}_input" for name in OWN_COLUMNS if name in reader.obs}
    obs = reader.obs.drop(columns=[*kept.values()], errors="ignore").rename(columns=kept)
    library = total = counts @ np.ones(counts.shape[1], np.int64)  # faster than sum
    if library_size_key:
        library = reader.obs[library_size_key].to_numpy()
        check_library_size(library, total, source=source, key=library_size_key)
    obs["library_size"] = library.astype(np.float64)
    info = {"source": source, "rounded": reader.rounded}
    info |= {name: _renamed(key) for name, key in keys.items()}
    if reader.notes:
        info["notes"] = reader.notes
    made = anndata.AnnData(counts, obs=obs, var=reader.var, uns={"countae": info})
    if reader.truth:
        made.uns["truth"] = reader.truth
        for name in reader.truth["layers"]:
            made.layers[name] = stacked([*reader.at(name).raw_blocks()]).toarray()
    return CountMatrix(made, source)


def read_h5ad(path: str | Path) -> AnnData:
    """AnnData of an .h5ad file.

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
        return anndata.read_h5ad(path)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CountMatrixError(
            f"{path}: not readable as .h5ad ({error}). The file may be cut short or of another "
            "format. Fix: copy or save it again."
        ) from error


def _renamed(key: str) -> str:
    """Name under which a column of the input is kept."""
    return f"{key}_input" if key in OWN_COLUMNS else key

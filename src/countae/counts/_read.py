"""Reading counts from a file, from a package, or from a simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from countae.counts._check import check_key, check_library_size, check_names
from countae.counts._matrix import CountMatrix
from countae.counts.readers import open_counts
from countae.counts.readers._base import readable
from countae.counts.readers._spill import stacked
from countae.errors import CountMatrixError

if TYPE_CHECKING:
    from anndata import AnnData

    from countae.counts.readers import Reader

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
    reader = open_counts(source, layer=layer, orientation=orientation, simulate=simulate)
    keys = {
        "label_key": label_key, "batch_key": batch_key, "library_size_key": library_size_key,
        "donor_key": donor_key,
    }  # fmt: skip
    check_tables(reader, keys)
    counts = stacked([*reader.blocks()])
    made = tables(reader, keys, counts @ np.ones(counts.shape[1], np.int64))  # faster than sum
    made.X = counts
    for name in reader.truth.get("layers", ()):
        made.layers[name] = truth_layer(reader, name)
    return CountMatrix(made, source)


def check_tables(reader: Reader, keys: dict[str, str]) -> None:
    """Raise CountMatrixError when names repeat or a column that was named has no values."""
    check_names(reader.obs.index.to_numpy(object), source=reader.source, what="cell")
    check_names(reader.var.index.to_numpy(object), source=reader.source, what="gene")
    for setting, key in keys.items():
        if key:
            check_key(reader.obs, key, source=reader.source, setting=setting)


def tables(reader: Reader, keys: dict[str, str], total: np.ndarray) -> AnnData:
    """Tables of all cells and genes with library sizes and provenance, without counts.

    Parameters
    ----------
    reader : Reader
        That has read all blocks.
    keys : dict
        Names of columns of obs by setting; empty for none.
    total : ndarray, (cell,)
        Each cell's total count, which is its library size unless ``keys`` names another.
    """
    import anndata

    kept = {name: f"{name}_input" for name in OWN_COLUMNS if name in reader.obs}
    obs = reader.obs.drop(columns=[*kept.values()], errors="ignore").rename(columns=kept)
    library = total
    if key := keys["library_size_key"]:
        library = reader.obs[key].to_numpy()
        check_library_size(library, total, source=reader.source, key=key)
    obs["library_size"] = library.astype(np.float64)
    info = {"source": reader.source, "rounded": reader.rounded}
    info |= {name: _renamed(key) for name, key in keys.items()}
    if reader.notes:
        info["notes"] = reader.notes
    uns = {"countae": info} | ({"truth": reader.truth} if reader.truth else {})
    return anndata.AnnData(obs=obs, var=reader.var, uns=uns)


def truth_layer(
    reader: Reader,
    name: str,
    cells: np.ndarray | slice = slice(None),
    genes: np.ndarray | slice = slice(None),
) -> Any:
    """Layer of the truth of some cells and genes: dense, or CSR where it is a mask."""
    blocks, start = [], 0
    for block in reader.at(name).raw_blocks():
        inside = cells if isinstance(cells, slice) else cells[start : start + block.shape[0]]
        blocks.append(block[inside][:, genes])
        start += block.shape[0]
    joined = stacked(blocks)
    return joined if joined.dtype == bool else joined.toarray()


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
    with readable(path, ".h5ad"):
        return (read or anndata.read_h5ad)(path)


def _renamed(key: str) -> str:
    """Name under which a column of the input is kept."""
    return f"{key}_input" if key in OWN_COLUMNS else key

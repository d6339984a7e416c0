"""Data sets that come inside a dependency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from countae.errors import ConfigError, CountMatrixError
from countae.registry import did_you_mean

if TYPE_CHECKING:
    from anndata import AnnData


def builtin(name: str) -> AnnData:
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

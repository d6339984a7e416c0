"""Made-up files under the names that the pages of docs/ use."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import count_files as made
import h5py
import numpy as np
from made_up_verdict import VERDICT
from scipy import io, sparse


def write(folder: Path) -> Path:
    """Write every file that a page names into ``folder``."""
    content = made.example(80, 40)
    adata = made.anndata_of(content)
    adata.raw = adata.copy()
    adata.layers["counts"] = adata.X.copy()
    adata.obs["cell_type"] = adata.obs["batch"] = ["a", "b"] * 40
    for name in ("counts", "for_scvi"):
        adata.write_h5ad(folder / f"{name}.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata.write_zarr(folder / "counts.zarr")
    shutil.make_archive(str(folder / "counts.zarr"), "zip", folder / "counts.zarr")
    made.tenx_h5_v3(content, folder).rename(folder / "filtered_feature_bc_matrix.h5")
    made.tenx_h5_v2(content, folder).rename(folder / "two_genomes.h5")
    with h5py.File(folder / "two_genomes.h5", "r+") as file:
        file.copy("GRCh38", "mm10")
    made.tenx_mtx_v3(content, folder).rename(folder / "filtered_feature_bc_matrix")
    made.matrix_market(content, folder)
    for path in [*folder.glob("x.mtx"), *folder.glob("x_*.txt")]:
        path.rename(folder / path.name.replace("x", "counts", 1))
    io.mmwrite(folder / "unnamed.mtx", sparse.coo_matrix(content.counts.T), symmetry="general")
    made.loom(content, folder).rename(folder / "counts.loom")
    with h5py.File(folder / "counts.loom", "r+") as file:
        file["layers/spliced"] = content.counts.T.astype(np.uint16)
    made.table(content, folder / "genes_by_cells.csv", ",", transposed=True)
    made.table(content, folder / "cells_by_genes.tsv.gz", "\t", transposed=False)
    for k in (1, 2):
        (folder / f"donor{k}").mkdir()
        one = made.example(80, 40 - k, seed=k)
        made.tenx_h5_v3(one, folder).rename(folder / f"donor{k}" / "filtered.h5")
    (folder / "results" / "mine").mkdir(parents=True)
    (folder / "results" / "mine" / "verdict.json").write_text(json.dumps(VERDICT))
    return folder

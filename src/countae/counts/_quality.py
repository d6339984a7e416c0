"""Quality filter, gene choice, and what a matrix looks like: the triage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from countae.counts._matrix import CountMatrix
from countae.errors import ConfigError, CountMatrixError
from countae.registry import did_you_mean

SMALLEST_BATCH = 20  # training cells; with fewer, genes are chosen over all batches together
LOESS_SPANS = (0.3, 0.5, 1.0)
UMI_SHARE_OF_ONES = 0.25  # of non-zero values: 10x has 0.5–0.7, full-length reads below 0.1


def cells_to_keep(
    matrix: CountMatrix,
    *,
    min_counts_per_cell: int,
    min_genes_per_cell: int,
    max_mitochondrial_fraction: float,
) -> tuple[np.ndarray, dict[str, int]]:
    """Cells that pass the filter, (cell,) bool, and how many each threshold removed.

    Raises
    ------
    CountMatrixError
        When no cell is left, or an all-zero cell is (its size factor would be zero).
    """
    counts = matrix.counts
    total, expressed = counts.sum(axis=1).A1, counts.getnnz(axis=1)
    mitochondrial = np.char.startswith(np.char.upper(matrix.gene_id.astype(str)), "MT-")
    share = counts[:, mitochondrial].sum(axis=1).A1 / np.maximum(total, 1)
    fails = {
        "min_counts_per_cell": total < min_counts_per_cell,
        "min_genes_per_cell": expressed < min_genes_per_cell,
        "max_mitochondrial_fraction": share > max_mitochondrial_fraction,
    }
    keep = ~np.any(list(fails.values()), axis=0)
    if not keep.any():
        raise CountMatrixError(
            f"{matrix.source}: the quality filter removes all {len(keep):,} cells ("
            + ", ".join(f"{name}: {bad.sum():,}" for name, bad in fails.items())
            + f"). The median cell has {np.median(total):,.0f} counts in "
            f"{np.median(expressed):,.0f} "
            "genes. Fix: lower the thresholds in `quality`."
        )
    empty = keep & (total == 0)
    if empty.any():
        raise CountMatrixError(
            f"{matrix.source}: {empty.sum():,} cells have no counts at all; first: "
            f"{matrix.cell_id[empty][0]!r}. An empty cell has no library size. Fix: set "
            "quality.min_counts_per_cell to at least 1."
        )
    return keep, {name: int(bad.sum()) for name, bad in fails.items()}


def genes_to_keep(
    matrix: CountMatrix,
    train: np.ndarray,
    *,
    wanted: str,
    min_cells_per_gene: int,
    gene_selection: str,
) -> tuple[np.ndarray, dict[str, int]]:
    """Genes to model, (gene,) bool, chosen on training cells only, and how many were removed.

    Parameters
    ----------
    matrix : CountMatrix
    train : ndarray, (cell,), bool
    wanted : str
        ``all``, a number of highly variable genes, or a path to a list of genes.
    min_cells_per_gene : int
    gene_selection : str
        ``seurat_v3`` or ``pearson_residuals`` (scanpy).

    Raises
    ------
    CountMatrixError
        When no gene is left, or a gene without any count in the training cells is.
    ConfigError
        When the gene list does not exist or names genes that the matrix does not have.
    """
    seen = matrix.rows(train).getnnz(axis=0)
    enough = seen >= min_cells_per_gene
    removed = {"min_cells_per_gene": int((~enough).sum())}
    keep = enough & _listed(matrix, wanted) if not wanted.isdigit() and wanted != "all" else enough
    if not keep.any():
        raise CountMatrixError(
            f"{matrix.source}: no gene is seen in at least {min_cells_per_gene} of the "
            f"{train.sum():,} training cells. Fix: lower quality.min_cells_per_gene or bring "
            "more cells."
        )
    silent = keep & (seen == 0)
    if silent.any():
        raise CountMatrixError(
            f"{matrix.source}: {silent.sum():,} genes have no count in any training cell; first: "
            f"{matrix.gene_id[silent][0]!r}. Nothing can be learnt of them. Fix: set "
            "quality.min_cells_per_gene to at least 1."
        )
    if wanted.isdigit() and int(wanted) < keep.sum():
        removed["not_highly_variable"] = int(keep.sum()) - int(wanted)
        chosen = _highly_variable(matrix.subset(train, keep), int(wanted), gene_selection)
        keep[np.flatnonzero(keep)[~chosen]] = False
    return keep, removed


def describe(counts: csr_matrix, library_size: np.ndarray, protocol: str) -> dict[str, Any]:
    """What a raw matrix looks like: depth, zeros, overdispersion and likely protocol."""
    ones = float((counts.data == 1).mean()) if counts.nnz else 0.0
    mean = counts.mean(axis=0).A1
    variance = counts.astype(np.float64).power(2).mean(axis=0).A1 - mean**2
    inferred = "umi" if ones >= UMI_SHARE_OF_ONES else "reads"
    return {
        "cells": counts.shape[0],
        "genes": counts.shape[1],
        "zero_fraction": 1.0 - counts.nnz / (counts.shape[0] * counts.shape[1]),
        "largest_count": int(counts.data.max(initial=0)),
        "median_library_size": float(np.median(library_size)),
        "library_size_range": [float(library_size.min()), float(library_size.max())],
        "overdispersed_gene_share": float((variance > 1.1 * mean).mean()),
        "share_of_ones_among_nonzeros": ones,
        "protocol": inferred if protocol == "auto" else protocol,
        "protocol_source": "inferred from the counts" if protocol == "auto" else "configuration",
    }


def _highly_variable(matrix: CountMatrix, number: int, method: str) -> np.ndarray:
    """Scanpy's choice of highly variable genes, (gene,) bool."""
    import scanpy

    adata = matrix.adata.copy()
    adata.X = adata.X.astype(np.float32)
    batch_key = matrix.info.get("batch_key") or None
    # the loess of seurat_v3 crashes the process on a batch of one or two cells
    if batch_key and adata.obs[batch_key].value_counts().min() < SMALLEST_BATCH:
        batch_key = None
    select = (
        scanpy.pp.highly_variable_genes
        if method == "seurat_v3"
        else scanpy.experimental.pp.highly_variable_genes
    )
    # scanpy's loess has no solution at its own span (0.3) where many genes share a mean
    options = [{"span": span} for span in LOESS_SPANS] if method == "seurat_v3" else [{}]
    for option in options:
        try:
            select(adata, flavor=method, n_top_genes=number, batch_key=batch_key, **option)
            break
        except ValueError as error:
            failure = error
    else:
        raise CountMatrixError(
            f"{matrix.source}: scanpy's {method} could not choose {number:,} of "
            f"{adata.n_vars:,} genes "
            f"on {adata.n_obs:,} training cells ({failure}). Few cells or small batches leave "
            "its fit "
            "without a solution. Fix: set genes.gene_selection to the other method, `genes` to "
            "all, "
            "or leave `batch_key` empty."
        ) from failure
    return adata.var["highly_variable"].to_numpy(bool)


def _listed(matrix: CountMatrix, path: str) -> np.ndarray:
    """Genes named in a file, one a line, (gene,) bool."""
    from countae.config import existing_file

    listed = [
        line.strip() for line in existing_file(Path(path), "gene list").read_text().splitlines()
    ]
    listed = [name for name in listed if name]
    unknown = sorted(set(listed) - set(matrix.gene_id))
    if unknown or not listed:
        raise ConfigError(
            f"{path}: {len(unknown):,} of {len(listed):,} genes are not in {matrix.source}"
            + (
                f"; first: {unknown[0]!r}. {did_you_mean(unknown[0], matrix.gene_id)}"
                if unknown
                else ". Fix: write one gene name a line."
            )
        )
    return np.isin(matrix.gene_id, listed)

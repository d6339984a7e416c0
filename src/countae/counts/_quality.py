"""Quality filter, gene choice, and what a matrix looks like: the triage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from countae.counts._sums import CellSums, GeneSums
from countae.errors import ConfigError, CountMatrixError
from countae.registry import did_you_mean

GENE_LIST = "gene list (`genes` is a number, all, or a file with a name on each line)"
UMI_SHARE_OF_ONES = 0.25  # of non-zero values: 10x has 0.5–0.7, full-length reads below 0.1


def cells_to_keep(
    sums: CellSums,
    *,
    source: str,
    cell_id: np.ndarray,
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
    total, expressed = sums.total, sums.expressed
    share = sums.mitochondrial / np.maximum(total, 1)
    fails = {
        "min_counts_per_cell": total < min_counts_per_cell,
        "min_genes_per_cell": expressed < min_genes_per_cell,
        "max_mitochondrial_fraction": share > max_mitochondrial_fraction,
    }
    keep = ~np.any(list(fails.values()), axis=0)
    if not keep.any():
        raise CountMatrixError(
            f"{source}: the quality filter removes all {len(keep):,} cells ("
            + ", ".join(f"{name}: {bad.sum():,}" for name, bad in fails.items())
            + f"). The median cell has {np.median(total):,.0f} counts in "
            f"{np.median(expressed):,.0f} "
            "genes. Fix: lower the thresholds in `quality`."
        )
    empty = keep & (total == 0)
    if empty.any():
        raise CountMatrixError(
            f"{source}: {empty.sum():,} cells have no counts at all; first: "
            f"{str(cell_id[empty][0])!r}. An empty cell has no library size. Fix: set "
            "quality.min_counts_per_cell to at least 1."
        )
    return keep, {name: int(bad.sum()) for name, bad in fails.items()}


def genes_to_keep(
    seen: np.ndarray,
    *,
    source: str,
    gene_id: np.ndarray,
    n_train: int,
    wanted: str,
    min_cells_per_gene: int,
    gene_selection: str,
    choose: Callable[[np.ndarray, int], np.ndarray],
) -> tuple[np.ndarray, dict[str, int]]:
    """Genes to model, (gene,) bool, chosen on training cells only, and how many were removed.

    Parameters
    ----------
    seen : ndarray, (gene,)
        Training cells that show each gene.
    source : str
    gene_id : ndarray of str
    n_train : int
        Training cells.
    wanted : str
        ``all``, a number of highly variable genes, or a path to a list of genes.
    min_cells_per_gene : int
    gene_selection : str
        ``seurat_v3`` or ``pearson_residuals``, for messages.
    choose : callable
        That choice, bool, of a number of genes among those with some indices.

    Raises
    ------
    CountMatrixError
        When no gene is left, or a gene without any count in the training cells is.
    ConfigError
        When the gene list does not exist or names genes that the matrix does not have.
    """
    keep = seen >= min_cells_per_gene
    removed = {"min_cells_per_gene": int((~keep).sum())}
    if not wanted.isdigit() and wanted != "all":
        keep = keep & _listed(gene_id, wanted, source)
    if not keep.any():
        raise CountMatrixError(
            f"{source}: no gene is seen in at least {min_cells_per_gene} of the {n_train:,} "
            "training cells. Fix: lower quality.min_cells_per_gene or bring more cells."
        )
    silent = keep & (seen == 0)
    if silent.any():
        raise CountMatrixError(
            f"{source}: {silent.sum():,} genes have no count in any training cell; first: "
            f"{str(gene_id[silent][0])!r}. Nothing can be learnt of them. Fix: set "
            "quality.min_cells_per_gene to at least 1."
        )
    if wanted.isdigit() and int(wanted) < keep.sum():
        among, number = np.flatnonzero(keep), int(wanted)
        removed["not_highly_variable"] = len(among) - number
        try:
            keep[among[~choose(among, number)]] = False
        except CountMatrixError:
            raise
        except ValueError as error:
            raise _no_choice(error, source, gene_selection, number, len(among), n_train) from error
    return keep, removed


def _no_choice(
    error: ValueError, source: str, method: str, number: int, genes: int, cells: int
) -> CountMatrixError:
    """What to say when no highly variable genes can be found."""
    return CountMatrixError(
        f"{source}: scanpy's {method} could not choose {number:,} of {genes:,} genes on "
        f"{cells:,} training cells ({error}). Few cells or small batches leave its fit without a "
        "solution. Fix: set genes.gene_selection to the other method, `genes` to all, or leave "
        "`batch_key` empty."
    )


def describe(sums: GeneSums, library_size: np.ndarray, protocol: str) -> dict[str, Any]:
    """What a raw matrix looks like: depth, zeros, overdispersion and likely protocol."""
    cells, genes = sums.cells, len(sums.total)
    ones = float(sums.ones.sum() / sums.stored) if sums.stored else 0.0
    mean = sums.total / cells
    variance = sums.square / cells - mean**2
    inferred = "umi" if ones >= UMI_SHARE_OF_ONES else "reads"
    return {
        "cells": cells,
        "genes": genes,
        "zero_fraction": 1.0 - sums.stored / (cells * genes),
        "largest_count": sums.most,
        "median_library_size": float(np.median(library_size)),
        "library_size_range": [float(library_size.min()), float(library_size.max())],
        "overdispersed_gene_share": float((variance > 1.1 * mean).mean()),
        "share_of_ones_among_nonzeros": ones,
        "protocol": inferred if protocol == "auto" else protocol,
        "protocol_source": "inferred from the counts" if protocol == "auto" else "configuration",
    }


def _listed(gene_id: np.ndarray, path: str, source: str) -> np.ndarray:
    """Genes named in a file, one a line, (gene,) bool."""
    from countae.config import existing_file

    listed = [
        line.strip() for line in existing_file(Path(path), GENE_LIST).read_text().splitlines()
    ]
    listed = [name for name in listed if name]
    unknown = sorted(set(listed) - set(gene_id))
    if unknown or not listed:
        raise ConfigError(
            f"{path}: {len(unknown):,} of {len(listed):,} genes are not in {source}"
            + (
                f"; first: {unknown[0]!r}. {did_you_mean(unknown[0], gene_id)}"
                if unknown
                else ". Fix: write one gene name a line."
            )
        )
    return np.isin(gene_id, listed)

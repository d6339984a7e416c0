"""Highly variable genes from blocks of training cells: scanpy's choice in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, vstack

from countae.errors import CountMatrixError

SMALLEST_BATCH = 20  # training cells; with fewer, genes are chosen over all batches together
LOESS_SPANS = (0.3, 0.5, 1.0)
MOST_IN_MEMORY = 200_000_000  # non-zero counts of training cells
Blocks = Callable[[], Iterator[tuple[csr_matrix, np.ndarray]]]


def batch_codes(names: np.ndarray | None, cells: int) -> np.ndarray:
    """Index of each training cell's batch, (cell,); all 0 where a batch is too small.

    The loess of seurat_v3 crashes the process on a batch of one or two cells.
    """
    if names is None:
        return np.zeros(cells, np.int64)
    _, code, number = np.unique(names, return_inverse=True, return_counts=True)
    return np.zeros(cells, np.int64) if number.min() < SMALLEST_BATCH else code


@dataclass(frozen=True)
class BatchSums:
    """Σx and Σx² per batch and gene, (batch, gene), float64, and the number of cells, (batch,)."""

    cells: np.ndarray
    total: np.ndarray
    square: np.ndarray

    @classmethod
    def none(cls, code: np.ndarray, genes: int) -> BatchSums:
        """Sums over no counts yet of cells whose batches are ``code``, (cell,)."""
        cells = np.bincount(code)
        return cls(cells, *np.zeros((2, len(cells), genes)))

    def add(self, block: csr_matrix, code: np.ndarray) -> None:
        """Add counts of some of the cells, of the batches ``code``, (cell,)."""
        place = _batch_and_gene(block, code)
        x = block.data.astype(np.float64)
        np.add.at(self.total.reshape(-1), place, x)
        np.add.at(self.square.reshape(-1), place, x**2)

    def mean_and_variance(self, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and unbiased variance of some genes, each (batch, gene)."""
        n = self.cells[:, None]
        mean = self.total[:, genes] / n
        variance = self.square[:, genes] / n - mean**2
        return mean, variance * (n / np.maximum(n - 1, 1))


def seurat_v3(blocks: Blocks, sums: BatchSums, genes: np.ndarray, number: int) -> np.ndarray:
    r"""Genes that scanpy's ``seurat_v3`` chooses among ``genes``, (some genes,), bool.

    Per batch, a loess of log₁₀ variance on log₁₀ mean gives each gene's expected standard
    deviation :math:`\hatσ`; counts are cut at :math:`\bar x + \hatσ \sqrt n` and the variance of
    :math:`(x - \bar x) / \hatσ` ranks the genes. Over batches, genes are sorted by their median
    rank where they are among the first ``number``, then by how often they are.

    Parameters
    ----------
    blocks : callable
        Makes a pass over the training cells: counts, (cell, gene), and the batch of each cell.
    sums : BatchSums
        Of these cells, all genes.
    genes : ndarray of int
        Among which to choose.
    number : int

    Raises
    ------
    ValueError
        When the loess has no solution at any span.

    Reference: Stuart et al. 2019, doi:10.1016/j.cell.2019.05.031, Methods.
    """
    mean, variance = sums.mean_and_variance(genes)
    deviation = _expected_deviation(mean, variance)
    cut = mean + deviation * np.sqrt(sums.cells)[:, None]
    total, square = _cut_sums(blocks, cut, genes, sums.total.shape[1])
    n = sums.cells[:, None]
    normed = (1 / ((n - 1) * deviation**2)) * (n * mean**2 + square - 2 * total * mean)
    return _first_by_median_rank(normed, number)


def _expected_deviation(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Standard deviation that the trend over genes gives, (batch, gene)."""
    for span in LOESS_SPANS:  # at scanpy's own, 0.3, none exists where many genes share a mean
        try:
            trends = [_trend(m, v, span) for m, v in zip(mean, variance, strict=True)]
            return np.sqrt(10 ** np.stack(trends))
        except ValueError as error:
            failure = error
    raise failure


def _trend(mean: np.ndarray, variance: np.ndarray, span: float) -> np.ndarray:
    """Loess of log10 variance on log10 mean, (gene,); 0 for a gene that is constant."""
    from skmisc.loess import loess

    varies, fitted = variance > 0, np.zeros(len(mean))
    model = loess(np.log10(mean[varies]), np.log10(variance[varies]), span=span, degree=2)
    model.fit()
    fitted[varies] = model.outputs.fitted_values
    return fitted


def _cut_sums(
    blocks: Blocks, cut: np.ndarray, genes: np.ndarray, n_genes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of min(x, cut) and of its square, (batch, gene), in a pass over the cells."""
    limit = np.full((len(cut), n_genes), np.inf)
    limit[:, genes] = cut
    total, square = np.zeros((2, *limit.shape))
    for block, code in blocks():
        place = _batch_and_gene(block, code)
        x = np.minimum(block.data, limit.reshape(-1)[place])
        # added one by one, as scanpy does, so that no bit depends on where a block ends
        np.add.at(total.reshape(-1), place, x)
        np.add.at(square.reshape(-1), place, x**2)
    return total[:, genes], square[:, genes]


def _batch_and_gene(block: csr_matrix, code: np.ndarray) -> np.ndarray:
    """Row-major index of each stored count in an array (batch, gene)."""
    return np.repeat(code * block.shape[1], np.diff(block.indptr)) + block.indices


def _first_by_median_rank(normed: np.ndarray, number: int) -> np.ndarray:
    """The rule by which scanpy joins batches, (gene,), bool."""
    import pandas as pd

    rank = np.argsort(np.argsort(-normed, axis=1), axis=1).astype(np.float32)
    rank[rank >= number] = np.nan
    among_first = (~np.isnan(rank)).sum(axis=0)
    median = np.ma.median(np.ma.masked_invalid(rank), axis=0).filled(np.nan)
    table = pd.DataFrame({"rank": median, "batches": among_first})
    order = table.sort_values(
        ["rank", "batches"], ascending=[True, False], na_position="last"
    ).index
    return np.isin(np.arange(len(table)), order[:number])


def pearson_residuals(
    blocks: Blocks, sums: BatchSums, genes: np.ndarray, number: int, *, source: str
) -> np.ndarray:
    """Scanpy's choice by Pearson residuals, (some genes,), bool; the counts are in memory.

    Raises
    ------
    CountMatrixError
        When there are too many for that.
    """
    import anndata
    import scanpy

    parts, codes, stored = [], [], 0
    for block, code in blocks():
        parts.append(block[:, genes])
        codes.append(code)
        stored += parts[-1].nnz
        if stored > MOST_IN_MEMORY:
            raise CountMatrixError(
                f"{source}: genes.gene_selection pearson_residuals needs the training counts in "
                f"memory, at most {MOST_IN_MEMORY:,} of them that are not zero, but there are "
                "more. Fix: set genes.gene_selection to seurat_v3, which reads them in blocks, or "
                "name a list of genes."
            )
    adata = anndata.AnnData(vstack(parts).astype(np.float32).tocsr())
    adata.obs["batch"] = np.concatenate(codes).astype(str)
    batch_key = "batch" if len(sums.cells) > 1 else None
    scanpy.experimental.pp.highly_variable_genes(
        adata, flavor="pearson_residuals", n_top_genes=number, batch_key=batch_key
    )
    return adata.var["highly_variable"].to_numpy(bool)

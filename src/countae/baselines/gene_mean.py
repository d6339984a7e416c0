"""The null: every gene at its training mean times the cell's size factor."""

from __future__ import annotations

import numpy as np

from countae.baselines import baseline
from countae.counts import CountMatrix
from countae.split import visible_size_factor


@baseline("gene_mean")
class GeneMean:
    """Expected count = size factor of the visible counts × the gene's mean in training cells.

    It has no noise of its own: it is scored as ``|poisson``, ``|nb`` and ``|zinb``.
    """

    title = "Gene mean × library size"
    native = False

    def mean(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
        """Expected raw counts of hidden entries, (cell, gene)."""
        per_gene = matrix.gene_share * matrix.reference_size
        return hidden_size_factors(matrix, cells) * per_gene


def hidden_size_factors(matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
    """Size factor of each entry from the counts visible while it is hidden, (cell, gene)."""
    counts, fold = matrix.counts[cells].toarray().astype(np.float64), matrix.fold[cells]
    size_factor = np.empty(counts.shape)
    for k in range(matrix.n_folds):
        in_fold = fold == k
        of_fold = visible_size_factor(
            counts=counts,
            hidden=in_fold,
            library_size=matrix.library_size[cells, None],
            gene_share=matrix.gene_share,
            reference_size=matrix.reference_size,
        )
        size_factor = np.where(in_fold, of_fold, size_factor)
    return size_factor

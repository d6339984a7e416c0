"""The null: every gene at its training mean times the cell's size factor."""

from __future__ import annotations

import numpy as np

from countae import protocols
from countae.baselines import baseline
from countae.baselines._base import Baseline
from countae.counts import CountMatrix


@baseline("gene_mean")
class GeneMean(Baseline):
    """Expected count = size factor of the visible counts × the gene's mean in training cells.

    It has no noise of its own: it is scored as ``|poisson``, ``|nb`` and ``|zinb``.
    """

    title = "Gene mean × library size"

    def mean(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
        """Expected raw counts of hidden entries, (cell, gene)."""
        per_gene = matrix.gene_share * matrix.reference_size
        return protocols.get(matrix.protocol)(matrix).size_factor(cells) * per_gene

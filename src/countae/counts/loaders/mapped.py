"""Rows where they lie, in memory or in a mapped file; nothing is copied."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from countae.counts.loaders import register
from countae.counts.loaders._base import Loader


@register("mapped")
class Mapped(Loader):
    """The counts themselves: the operating system reads what a step touches."""

    def rows(self, cells: np.ndarray) -> tuple[csr_matrix, np.ndarray]:
        """Counts of all cells, and ``cells``."""
        return self.counts, cells

"""What every loader answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix


class Loader(ABC):
    """Reads the rows of a step.

    Parameters
    ----------
    counts : csr_matrix, (cell, gene)
        Raw counts, in memory or mapped.
    """

    def __init__(self, counts: Any) -> None:
        self.counts = counts

    @abstractmethod
    def rows(self, cells: np.ndarray) -> tuple[csr_matrix, np.ndarray]:
        """Counts of ``cells``, in any order: a CSR matrix, and which of its rows are theirs.

        What it returns stays as it is when other cells are read.
        """

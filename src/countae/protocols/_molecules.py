"""What protocols share that hide molecules: each count is split into a seen and a hidden part."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from scipy.sparse import csr_matrix

from countae.counts import CountMatrix
from countae.errors import CountMatrixError
from countae.protocols._base import Protocol, Rows, Task


class HiddenMolecules(Protocol):
    """Half of each cell's molecules are seen; the other half is predicted, for every entry.

    The halves have the same expectation, so that losses on transformed counts need no correction
    and one size factor, that of the visible half, serves input and target. ``counts.h5ad`` holds
    one fixed split (``countae hide``), which is scored; training draws a new one in each step.
    """

    def __init__(
        self,
        matrix: CountMatrix,
        device: torch.device | str = "cpu",
        levels: dict[str, list[str]] | None = None,
        dtype: torch.dtype = torch.float32,
        loader: str = "mapped",
    ) -> None:
        super().__init__(matrix, device, levels, dtype, loader)
        if "visible" not in matrix.adata.layers:
            raise CountMatrixError(
                f"{matrix.source}: the protocol {self.name!r} needs counts of which half is "
                "hidden, but the file has no layer `visible`. Fix: make it with `countae hide "
                f"COUNTS OUTPUT --protocol {self.name}`."
            )

    @abstractmethod
    def split(self, counts: csr_matrix, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Visible part of each stored count of ``counts``, the rows ``cells``; (stored,)."""

    def training_task(self, cells: np.ndarray, generator: torch.Generator) -> Task:
        read = self.rows(cells)
        counts = read.matrix[read.cells].astype(np.int32, copy=False)
        seed = torch.randint(2**62, (1,), generator=generator).item()
        rng = np.random.default_rng(int(seed))
        visible = counts.copy()
        visible.data = self.split(counts, cells, rng)
        rest = self.unmodelled(cells)
        # genes that are not modelled are thinned too: they are part of the library
        library = visible.sum(axis=1).A1 + rng.binomial(rest, 0.5)
        return self._task(cells, visible, counts - visible, library)

    def held_out_tasks(self, cells: np.ndarray) -> Iterator[Task]:
        counts, visible = self.matrix.rows(cells), self.matrix.visible(cells)
        yield self._task(cells, visible, counts - visible, self._visible_library(cells))

    def whole(self, cells: np.ndarray) -> Task:
        # what was seen in training is half a cell, so that is what the network may be given
        return next(iter(self.held_out_tasks(cells)))

    def size_factor(self, cells: np.ndarray) -> np.ndarray:
        return self.full_size_factor(cells)[:, None]

    def full_size_factor(self, cells: np.ndarray) -> np.ndarray:
        return np.maximum(self._visible_library(cells), 1.0) / self.matrix.reference_size

    def _visible_library(self, cells: np.ndarray) -> np.ndarray:
        return self.matrix.obs["visible_library_size"].to_numpy(np.float64)[cells]

    def unmodelled(self, cells: np.ndarray) -> np.ndarray:
        """Counts of each cell outside the modelled genes."""
        modelled = self.matrix.rows(cells).sum(axis=1).A1
        return np.rint(np.maximum(self.matrix.library_size[cells] - modelled, 0)).astype(np.int64)

    def _task(
        self, cells: np.ndarray, visible: csr_matrix, target: csr_matrix, library: np.ndarray
    ) -> Task:
        size_factor = (np.maximum(library, 1.0) / self.matrix.reference_size).astype(np.float32)
        seen, wanted = (Rows(part, np.arange(len(size_factor))) for part in (visible, target))
        return Task(seen, None, size_factor, wanted, self.device, *self.groups(cells), self.dtype)

"""Masked entries: every count of a held-out cell is predicted once while hidden."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from countae.counts import CountMatrix
from countae.protocols import register
from countae.protocols._base import Protocol, Rows, Task
from countae.split import size_without, visible_size_factor

LEVELS = 2**16


@register("masked")
class Masked(Protocol):
    """Each entry is hidden in one of K folds, from the input and from the library size.

    In training a random 1/K share of the entries is hidden anew in each step. Given the hidden
    counts' own mean and noise, no predictor beats the distribution that made them: a loss that
    wins here tells the story of the counts.

    A stress test may show a network other counts than it must predict (``layers["shown"]`` and
    ``obs["shown_library_size"]``), or the size of another cell (``obs["sized_by"]``, its row).
    """

    name = "masked"
    title = "Masked entries"
    question = "Which loss predicts counts that it has not seen?"
    reference = "10.48550/arXiv.1901.11365"

    def __init__(
        self,
        matrix: CountMatrix,
        device: torch.device | str = "cpu",
        levels: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__(matrix, device, levels)
        self._counts = matrix.counts
        self._shown = matrix.adata.layers.get("shown", matrix.counts)
        library = matrix.obs.get("shown_library_size", matrix.obs["library_size"])
        self._library_size = library.to_numpy(np.float64)
        self._sized_by = np.asarray(matrix.obs.get("sized_by", np.arange(len(matrix.obs))))
        self._gene_share, self._reference_size = matrix.gene_share, matrix.reference_size

    def training_task(self, cells: np.ndarray, generator: torch.Generator) -> Task:
        seed = torch.randint(2**62, (1,), generator=generator).item()
        shape = (len(self._gene_share), len(cells))
        # sixteen random bits per entry: right to 1e-4, at a fifth of what a float costs
        words = np.random.default_rng(int(seed)).integers(
            2**64, size=-(-shape[0] * shape[1] // 4), dtype=np.uint64
        )
        drawn = words.view(np.uint16)[: shape[0] * shape[1]].reshape(shape)
        return self._task(cells, drawn < round(LEVELS / self.matrix.n_folds))

    def held_out_tasks(self, cells: np.ndarray) -> Iterator[Task]:
        fold = np.ascontiguousarray(self.matrix.fold_of(cells).T)
        for k in range(self.matrix.n_folds):
            yield self._task(cells, fold == k)

    def whole(self, cells: np.ndarray) -> Task:
        seen, wanted = self._rows(cells)
        size_factor = self.full_size_factor(cells).astype(np.float32)
        return Task(seen, None, size_factor, wanted, self.device, *self.groups(cells))

    def size_factor(self, cells: np.ndarray) -> np.ndarray:
        by, fold = self._sized_by[cells], self.matrix.fold_of(cells)
        counts = self._shown[by].astype(np.int32, copy=False).toarray()
        size_factor = np.empty(counts.shape)
        for k in range(self.matrix.n_folds):
            of_fold = visible_size_factor(
                counts=counts,
                hidden=fold == k,
                library_size=self._library_size[by, None],
                gene_share=self.matrix.gene_share,
                reference_size=self.matrix.reference_size,
            )
            np.copyto(size_factor, of_fold, where=fold == k)
        return size_factor

    def full_size_factor(self, cells: np.ndarray) -> np.ndarray:
        return self._library_size[self._sized_by[cells]] / self._reference_size

    def _task(self, cells: np.ndarray, hidden: np.ndarray) -> Task:
        """A task from the hidden entries, (gene, cell), bool."""
        from countae.kernels import entry_lists  # numba takes a third of a second to import

        shown, by = self._shown, self._sized_by[cells]
        sums = np.empty((2, len(cells)))
        entry_lists.hidden_total(shown.indptr, shown.indices, shown.data, by, hidden, sums[0])
        entry_lists.hidden_share(hidden, self._gene_share, sums[1])
        size_factor = size_without(
            *sums,
            library_size=self._library_size[by],
            reference_size=self._reference_size,
        )
        seen, wanted = self._rows(cells)
        exposure = size_factor.astype(np.float32)
        return Task(seen, hidden, exposure, wanted, self.device, *self.groups(cells))

    def _rows(self, cells: np.ndarray) -> tuple[Rows, Rows]:
        """Counts that are shown, and those to predict: the same unless a stress test differs."""
        rows = Rows(self._counts, cells)
        return (rows if self._shown is self._counts else Rows(self._shown, cells)), rows

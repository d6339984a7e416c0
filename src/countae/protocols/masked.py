"""Masked entries: every count of a held-out cell is predicted once while hidden."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from countae.counts import CountMatrix
from countae.protocols import register
from countae.protocols._base import Protocol, Task
from countae.split import visible_size_factor


@register("masked")
class Masked(Protocol):
    """Each entry is hidden in one of K folds, from the input and from the library size.

    In training a random 1/K share of the entries is hidden anew in each step. Given the hidden
    counts' own mean and noise, no predictor beats the distribution that made them: a loss that
    wins here tells the story of the counts.
    """

    name = "masked"
    title = "Masked entries"
    question = "Which loss predicts counts that it has not seen?"
    reference = "10.48550/arXiv.1901.11365"

    def __init__(self, matrix: CountMatrix, device: torch.device | str = "cpu") -> None:
        super().__init__(matrix, device)
        self._library_size = matrix.library_size
        self._gene_share = self.place(matrix.gene_share)

    def training_task(self, cells: np.ndarray, generator: torch.Generator) -> Task:
        counts, library_size = self._cells(cells)
        hidden = torch.rand(counts.shape, generator=generator) < 1 / self.matrix.n_folds
        return self._task(cells, counts, library_size, hidden)

    def held_out_tasks(self, cells: np.ndarray) -> Iterator[Task]:
        counts, library_size = self._cells(cells)
        fold = torch.from_numpy(self.matrix.fold[cells])
        for k in range(self.matrix.n_folds):
            yield self._task(cells, counts, library_size, fold == k)

    def whole(self, cells: np.ndarray) -> Task:
        counts, library_size = self._cells(cells)
        size_factor = library_size / self.matrix.reference_size
        return Task(counts, None, size_factor, counts, None, self.batch(cells))

    def size_factor(self, cells: np.ndarray) -> np.ndarray:
        counts, fold = self.matrix.counts[cells].toarray(), self.matrix.fold[cells]
        size_factor = np.empty(counts.shape)
        for k in range(self.matrix.n_folds):
            of_fold = visible_size_factor(
                counts=counts,
                hidden=fold == k,
                library_size=self._library_size[cells, None],
                gene_share=self.matrix.gene_share,
                reference_size=self.matrix.reference_size,
            )
            np.copyto(size_factor, of_fold, where=fold == k)
        return size_factor

    def full_size_factor(self, cells: np.ndarray) -> np.ndarray:
        return self.matrix.size_factor[cells]

    def _cells(self, cells: np.ndarray) -> tuple[Tensor, Tensor]:
        return self.dense(self.matrix.counts[cells]), self.place(self._library_size[cells, None])

    def _task(
        self, cells: np.ndarray, counts: Tensor, library_size: Tensor, hidden: Tensor
    ) -> Task:
        """A task from counts on the device and the hidden entries on the CPU.

        The index of the hidden entries is found on the CPU, where the mask was drawn, so that no
        step waits for a GPU.
        """
        entries = hidden.reshape(-1).nonzero().squeeze(1).to(self.device, non_blocking=True)
        mask = hidden.to(self.device, counts.dtype, non_blocking=True)
        size_factor = visible_size_factor(
            counts=counts,
            hidden=mask,
            library_size=library_size,
            gene_share=self._gene_share,
            reference_size=self.matrix.reference_size,
        )
        return Task(counts, mask, size_factor, counts, entries, self.batch(cells))

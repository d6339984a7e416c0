"""Masked entries: every count of a held-out cell is predicted once while hidden."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from countae.counts import CountMatrix
from countae.devices import rows_of, sent
from countae.kernels.precision import widened
from countae.protocols import register
from countae.protocols._base import Protocol, Rows, Task, placed
from countae.protocols._steps import Share, Step, is_real
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
        dtype: torch.dtype = torch.float32,
        loader: str = "mapped",
    ) -> None:
        super().__init__(matrix, device, levels, dtype, loader)
        self._other = matrix.adata.layers.get("shown")
        self._shown = matrix.counts if self._other is None else self._other
        library = matrix.obs.get("shown_library_size", matrix.obs["library_size"])
        self._library_size = library.to_numpy(np.float64)
        self._sized_by = matrix.obs["sized_by"].to_numpy() if "sized_by" in matrix.obs else None
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

    def training_step(self, cells: np.ndarray, generator: torch.Generator, share: Share) -> Step:
        """On a GPU the mask is drawn there, for all cells of the step in every process."""
        if self.device.type == "cpu":
            return super().training_step(cells, generator, share)
        seed = int(torch.randint(2**62, (1,), generator=generator).item())  # from the CPU's
        return self.step_there(cells, seed, share)

    def step_there(self, cells: np.ndarray, seed: int, share: Share) -> Step:
        """A share of a step, with everything but the stored counts made on the device."""
        own, shape = cells[share.own], (share.cells, len(self._gene_share))
        drawn = torch.rand(shape, generator=self.generator(seed), device=self.device)
        mask = drawn < 1 / self.matrix.n_folds
        mask[share.real :] = False
        seen, asked = self._rows(own)
        sized = self._sized(own, seen)
        counts = self._there(seen, share)
        target = counts if asked is seen else self._there(asked, share)
        total = counts if sized is seen else self._there(sized, share)
        real = is_real(share, counts)
        wanted = rows_of(mask, share.rows) & (real > 0)[:, None]
        hidden = wanted.to(self.dtype)
        category, batch = self.groups(own)
        return Step(
            counts=counts, target=target, size_factor=self._size_factor(total, hidden, own),
            hidden=hidden, wanted=wanted, number=mask.sum().to(self.dtype), real=real,
            condition=None if category is None else placed(category, self.device, self.dtype),
            batch=sent(torch.from_numpy(batch), self.device),
        )  # fmt: skip

    def _there(self, rows: Rows, share: Share) -> Tensor:
        """Counts on the device, (cell, gene), by tensors of one shape in every step."""
        return rows.by_place(share.room, self.device, self.dtype)

    def _size_factor(self, counts: Tensor, hidden: Tensor, cells: np.ndarray) -> Tensor:
        """Size factor of each cell from its visible counts, (cell, 1), on the device."""
        counts, hidden = widened(counts, hidden)
        library = self._library_size[self._sizing(cells)]
        size_factor = size_without(
            (counts * hidden).sum(dim=1),
            (hidden * self._shares).sum(dim=1),
            library_size=placed(library, self.device, counts.dtype),
            reference_size=self._reference_size,
        )
        return size_factor[:, None].to(self.dtype)

    @cached_property
    def _shares(self) -> Tensor:
        """Share of each gene in the library, (gene,), on the device."""
        (like,) = widened(torch.empty(0, device=self.device))
        return placed(self._gene_share, self.device, like.dtype)

    def generator(self, seed: int) -> torch.Generator | None:
        """Of random numbers on the device."""
        return torch.Generator(self.device).manual_seed(seed)

    def held_out_tasks(self, cells: np.ndarray) -> Iterator[Task]:
        fold = np.ascontiguousarray(self.matrix.fold_of(cells).T)
        for k in range(self.matrix.n_folds):
            yield self._task(cells, fold == k)

    def whole(self, cells: np.ndarray) -> Task:
        seen, wanted = self._rows(cells)
        size_factor = self.full_size_factor(cells).astype(np.float32)
        return Task(seen, None, size_factor, wanted, self.device, *self.groups(cells), self.dtype)

    def size_factor(self, cells: np.ndarray) -> np.ndarray:
        by, fold = self._sizing(cells), self.matrix.fold_of(cells)
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
        return self._library_size[self._sizing(cells)] / self._reference_size

    def _task(self, cells: np.ndarray, hidden: np.ndarray) -> Task:
        """A task from the hidden entries, (gene, cell), bool."""
        from countae.kernels import entry_lists  # numba takes a third of a second to import

        seen, wanted = self._rows(cells)
        sized, sums = self._sized(cells, seen), np.empty((2, len(cells)))
        shown = sized.matrix
        entry_lists.hidden_total(
            shown.indptr, shown.indices, shown.data, sized.cells, hidden, sums[0]
        )
        entry_lists.hidden_share(hidden, self._gene_share, sums[1])
        size_factor = size_without(
            *sums,
            library_size=self._library_size[self._sizing(cells)],
            reference_size=self._reference_size,
        )
        exposure = size_factor.astype(np.float32)
        return Task(seen, hidden, exposure, wanted, self.device, *self.groups(cells), self.dtype)

    def _sizing(self, cells: np.ndarray) -> np.ndarray:
        """Cells whose library sizes ``cells`` have."""
        return cells if self._sized_by is None else self._sized_by[cells]

    def _sized(self, cells: np.ndarray, seen: Rows) -> Rows:
        """Counts from which the sizes of ``cells`` come: those ``seen`` unless a test differs."""
        return seen if self._sized_by is None else Rows(self._shown, self._sizing(cells))

    def _rows(self, cells: np.ndarray) -> tuple[Rows, Rows]:
        """Counts that are shown, and those to predict: the same unless a stress test differs."""
        rows = self.rows(cells)
        return (rows if self._other is None else Rows(self._other, cells)), rows

"""What every hold-out protocol answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from countae.counts import CountMatrix, loaders
from countae.counts.loaders._base import Loader
from countae.devices import sent
from countae.protocols._conditions import one_hot
from countae.protocols._steps import Share, Step

BLOCK = 1024  # cells predicted at once outside training
MOST_IN_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Rows:
    """Rows ``cells`` of raw counts ``matrix``, CSR; nothing is copied until it is needed."""

    matrix: csr_matrix
    cells: np.ndarray

    def dense(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
        """The counts, (cell, gene); what goes to a device is sparse, and made dense there."""
        if device.type == "cpu":
            return placed(self.matrix[self.cells].toarray(), device, dtype)
        return self.in_room(self.stored, device, dtype)

    def in_room(self, room: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """The same by way of ``room`` stored counts, so that all steps' tensors have one shape.

        What is not needed of the room goes to one more entry, which is left out. Where a step was
        filled up by its fullest cells they may need more than it.
        """
        if device.type == "cpu":
            return self.dense(device, dtype)
        return self.by_place(room, device, dtype)

    def by_place(self, room: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """The same on any device: places and counts are sent and scattered there."""
        from countae.kernels import entry_lists  # numba takes a third of a second to import

        size, room = len(self.cells) * self.matrix.shape[1], max(room, self.stored)
        whole = torch.int32 if size < MOST_IN_INT32 else torch.int64
        pinned = device.type == "cuda"  # written where the GPU will read it
        place = torch.empty(room, dtype=whole, pin_memory=pinned)
        count = torch.empty(room, dtype=torch.float32, pin_memory=pinned)
        entry_lists.flat_entries(
            self.matrix.indptr, self.matrix.indices, self.matrix.data, self.cells,
            self.matrix.shape[1], place.numpy(), count.numpy(),
        )  # fmt: skip
        flat = torch.zeros(size + 1, dtype=dtype, device=device)
        flat.scatter_(0, sent(place, device).long(), sent(count, device).to(dtype))
        return flat[:-1].view(len(self.cells), -1)

    @property
    def stored(self) -> int:
        """Number of stored counts."""
        return int((self.matrix.indptr[self.cells + 1] - self.matrix.indptr[self.cells]).sum())

    def some(self, rows: slice | np.ndarray) -> Rows:
        """Some of the rows."""
        return Rows(self.matrix, self.cells[rows])


@dataclass(frozen=True)
class Task:
    """What a network may see of some cells, and which counts it is to predict.

    ``seen`` are raw counts, of which those where ``mask``, (gene, cell), bool, is true must not
    be looked at; without a mask nothing is hidden. ``exposure``, (cell,), float32, is the size
    factor from visible counts only and belongs to ``wanted``, the raw counts to predict.
    ``category``, (cell, category), float32, is 1 at the categories that the network is told of
    each cell; None for none. ``batch_code`` is the index of each cell's batch, (cell,), int64.
    The other members are the same as tensors on ``device``, dense and of type ``dtype`` where they
    are counts, made when asked for.
    """

    seen: Rows
    mask: np.ndarray | None
    exposure: np.ndarray
    wanted: Rows
    device: torch.device
    category: np.ndarray | None
    batch_code: np.ndarray
    dtype: torch.dtype = torch.float32

    @cached_property
    def counts(self) -> Tensor:
        """Counts of ``seen``, (cell, gene)."""
        return self.seen.dense(self.device, self.dtype)

    @cached_property
    def target(self) -> Tensor:
        """Counts to predict, (cell, gene)."""
        if self.wanted is self.seen:
            return self.counts
        return self.wanted.dense(self.device, self.dtype)

    @cached_property
    def size_factor(self) -> Tensor:
        """Size factor of each cell, (cell, 1)."""
        return placed(self.exposure[:, None], self.device, self.dtype)

    @cached_property
    def condition(self) -> Tensor | None:
        """Categories of each cell, (cell, category), or None."""
        if self.category is None:
            return None
        return placed(self.category, self.device, self.dtype)

    @cached_property
    def batch(self) -> Tensor:
        """Index of each cell's batch, (cell,), int64."""
        return sent(torch.from_numpy(self.batch_code), self.device)

    @cached_property
    def hidden(self) -> Tensor | None:
        """1 where a count must not be looked at, (cell, gene), or None."""
        return None if self.mask is None else placed(self.mask.T, self.device, self.dtype)

    @cached_property
    def entries(self) -> Tensor | None:
        """Row-major index of the entries to predict, or None for all of them.

        Found on the CPU, where the mask was drawn, so that no step waits for a GPU.
        """
        if self.mask is None:
            return None
        return sent(torch.from_numpy(np.flatnonzero(self.mask.T)), self.device)

    def some(self, rows: slice | np.ndarray) -> Task:
        """The same for some of the cells."""
        seen = self.seen.some(rows)
        return Task(
            seen,
            None if self.mask is None else self.mask[:, rows],
            self.exposure[rows],
            seen if self.wanted is self.seen else self.wanted.some(rows),
            self.device,
            None if self.category is None else self.category[rows],
            self.batch_code[rows],
            self.dtype,
        )


class Protocol(ABC):
    """A way to hide counts of a prepared matrix; makes tasks for a device.

    Parameters
    ----------
    matrix : CountMatrix
        From ``countae prepare``, or from ``countae hide`` for a protocol that hides molecules.
    device : torch.device or str
    levels : dict of list of str, optional
        Categories that the network is told, by column of obs (``_conditions.levels_of``).
    dtype : torch.dtype
        Of what is not whole numbers.
    loader : str
        What reads counts (:mod:`countae.counts.loaders`); the numbers are the same.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    question: ClassVar[str]
    reference: ClassVar[str]

    def __init__(
        self,
        matrix: CountMatrix,
        device: torch.device | str = "cpu",
        levels: dict[str, list[str]] | None = None,
        dtype: torch.dtype = torch.float32,
        loader: str = "mapped",
    ) -> None:
        self.matrix, self.device, self.dtype = matrix, torch.device(device), dtype
        self._loader: Loader = loaders.get(loader)(matrix.counts)
        self._category = one_hot(matrix, levels) if levels else None
        self._batch = matrix.batch

    @abstractmethod
    def training_task(self, cells: np.ndarray, generator: torch.Generator) -> Task:
        """A task with freshly hidden counts."""

    @abstractmethod
    def held_out_tasks(self, cells: np.ndarray) -> Iterator[Task]:
        """Tasks with the counts that are hidden for scoring; together they cover every entry."""

    @abstractmethod
    def whole(self, cells: np.ndarray) -> Task:
        """Everything visible that a user would give the network; never scored."""

    @abstractmethod
    def size_factor(self, cells: np.ndarray) -> np.ndarray:
        """Exposure of each target count from visible counts, (cell, gene) or (cell, 1)."""

    @abstractmethod
    def full_size_factor(self, cells: np.ndarray) -> np.ndarray:
        """Exposure of the target counts with nothing hidden, (cell,): where training starts."""

    def rows(self, cells: np.ndarray) -> Rows:
        """Raw counts of ``cells``."""
        return Rows(*self._loader.rows(cells))

    def blocks(self, cells: np.ndarray) -> list[np.ndarray]:
        """``cells`` in pieces small enough to predict at once."""
        return np.array_split(cells, -(-len(cells) // BLOCK))

    def training_step(self, cells: np.ndarray, generator: torch.Generator, share: Share) -> Step:
        """What a process trains on in a step: its share of a training task's cells."""
        return Step.of(self.training_task(cells, generator), share)

    def share(self, real: int, most: int, rank: int = 0, processes: int = 1) -> Share:
        """Which of a step's ``real`` cells a process has, where no step has more than ``most``.

        On a GPU every step is filled up to the same number of cells for each process.
        """
        if self.device.type == "cpu":
            return Share.exact(real, rank, processes)
        room = int(self._most_stored[-(-most // processes) - 1])
        return Share.filled(real, most, rank, processes, room)

    @cached_property
    def _most_stored(self) -> np.ndarray:
        """Stored counts that 1, 2, … cells have at most, (cell,)."""
        return np.cumsum(np.sort(np.diff(self.matrix.counts.indptr))[::-1], dtype=np.int64)

    def groups(self, cells: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """Categories of ``cells`` that the network is told, or None, and the batch of each."""
        told = None if self._category is None else self._category[cells]
        return told, self._batch[cells]

    def dense(self, counts: csr_matrix) -> Tensor:
        """Counts on the device."""
        return placed(counts.toarray(), self.device, self.dtype)


def placed(values: np.ndarray, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """An array as a tensor on a device, in row-major order.

    In memory of Torch's own, since the bits of a product depend on where its factors begin.
    """
    made = torch.empty(values.shape, dtype=dtype)
    made.numpy()[...] = values
    return sent(made, device)

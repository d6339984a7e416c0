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

from countae.counts import CountMatrix
from countae.protocols._conditions import one_hot

BLOCK = 1024  # cells predicted at once outside training


@dataclass(frozen=True)
class Rows:
    """Rows ``cells`` of raw counts ``matrix``, CSR; nothing is copied until it is needed."""

    matrix: csr_matrix
    cells: np.ndarray

    def dense(self, device: torch.device) -> Tensor:
        """The counts, (cell, gene), float32."""
        return placed(self.matrix[self.cells].toarray(), device)


@dataclass(frozen=True)
class Task:
    """What a network may see of some cells, and which counts it is to predict.

    ``seen`` are raw counts, of which those where ``mask``, (gene, cell), bool, is true must not
    be looked at; without a mask nothing is hidden. ``exposure``, (cell,), float32, is the size
    factor from visible counts only and belongs to ``wanted``, the raw counts to predict.
    ``category``, (cell, category), float32, is 1 at the categories that the network is told of
    each cell; None for none. The other members are the same as dense float32 tensors on
    ``device``, made when asked for.
    """

    seen: Rows
    mask: np.ndarray | None
    exposure: np.ndarray
    wanted: Rows
    device: torch.device
    category: np.ndarray | None = None

    @cached_property
    def counts(self) -> Tensor:
        """Counts of ``seen``, (cell, gene)."""
        return self.seen.dense(self.device)

    @cached_property
    def target(self) -> Tensor:
        """Counts to predict, (cell, gene)."""
        return self.counts if self.wanted is self.seen else self.wanted.dense(self.device)

    @cached_property
    def size_factor(self) -> Tensor:
        """Size factor of each cell, (cell, 1)."""
        return placed(self.exposure[:, None], self.device)

    @cached_property
    def condition(self) -> Tensor | None:
        """Categories of each cell, (cell, category), or None."""
        return None if self.category is None else placed(self.category, self.device)

    @cached_property
    def hidden(self) -> Tensor | None:
        """1 where a count must not be looked at, (cell, gene), or None."""
        return None if self.mask is None else placed(self.mask.T, self.device)

    @cached_property
    def entries(self) -> Tensor | None:
        """Row-major index of the entries to predict, or None for all of them.

        Found on the CPU, where the mask was drawn, so that no step waits for a GPU.
        """
        if self.mask is None:
            return None
        return torch.from_numpy(np.flatnonzero(self.mask.T)).to(self.device, non_blocking=True)


class Protocol(ABC):
    """A way to hide counts of a prepared matrix; makes tasks for a device.

    Parameters
    ----------
    matrix : CountMatrix
        From ``countae prepare``, or from ``countae hide`` for a protocol that hides molecules.
    device : torch.device or str
    levels : dict of list of str, optional
        Categories that the network is told, by column of obs (``_conditions.levels_of``).
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
    ) -> None:
        self.matrix, self.device = matrix, torch.device(device)
        self._category = one_hot(matrix, levels) if levels else None

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

    def blocks(self, cells: np.ndarray) -> list[np.ndarray]:
        """``cells`` in pieces small enough to predict at once."""
        return np.array_split(cells, -(-len(cells) // BLOCK))

    def category(self, cells: np.ndarray) -> np.ndarray | None:
        """1 at the categories of ``cells``, (cell, category), float32; None without conditions."""
        return None if self._category is None else self._category[cells]

    def dense(self, counts: csr_matrix) -> Tensor:
        """Counts as float32 on the device."""
        return placed(counts.toarray(), self.device)


def placed(values: np.ndarray, device: torch.device) -> Tensor:
    """An array as a float32 tensor on a device, in row-major order."""
    made = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return made.to(device, non_blocking=True)

"""What every hold-out protocol answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from countae.counts import CountMatrix

BLOCK = 1024  # cells predicted at once outside training


@dataclass(frozen=True)
class Task:
    """What a network may see of some cells, and which counts it is to predict.

    ``counts`` are raw counts, (cell, gene); where ``hidden`` is 1 they must not be looked at.
    ``size_factor``, (cell, 1), comes from visible counts only and is the exposure of ``target``,
    the raw counts to predict, (cell, gene). ``entries`` is the row-major index of the entries to
    predict, or None for all of them. ``batch`` is the index of each cell's batch, (cell,).
    """

    counts: Tensor
    hidden: Tensor | None
    size_factor: Tensor
    target: Tensor
    entries: Tensor | None
    batch: Tensor


class Protocol(ABC):
    """A way to hide counts of a prepared matrix; makes dense float32 tasks on a device.

    Parameters
    ----------
    matrix : CountMatrix
        From ``countae prepare``, or from ``countae hide`` for a protocol that hides molecules.
    device : torch.device or str
    """

    name: ClassVar[str]
    title: ClassVar[str]
    question: ClassVar[str]
    reference: ClassVar[str]

    def __init__(self, matrix: CountMatrix, device: torch.device | str = "cpu") -> None:
        self.matrix, self.device = matrix, torch.device(device)
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

    def blocks(self, cells: np.ndarray) -> list[np.ndarray]:
        """``cells`` in pieces small enough to predict at once."""
        return np.array_split(cells, -(-len(cells) // BLOCK))

    def dense(self, counts: csr_matrix) -> Tensor:
        """Counts as float32 on the device."""
        return self.place(counts.toarray().astype(np.float32))

    def batch(self, cells: np.ndarray) -> Tensor:
        """Index of each cell's batch, (cell,), int64, on the device."""
        return torch.from_numpy(self._batch[cells]).to(self.device, non_blocking=True)

    def place(self, values: np.ndarray) -> Tensor:
        """An array as a float32 tensor on the device."""
        return torch.from_numpy(values.astype(np.float32, copy=False)).to(
            self.device, non_blocking=True
        )

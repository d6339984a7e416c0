"""What baselines answer, and what those share that learn from other cells.

They see what a network sees. A cell whose counts are predicted is shown with the entries of one
fold hidden: these are 0 and marked, and its size factor comes from its visible counts. Cells to
learn from are training cells with nothing hidden. A training cell, which is asked about because
noise is fitted on it, is predicted from the other training cells, four fifths of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix

from countae import protocols
from countae.counts import CountMatrix
from countae.noise import fit_noise
from countae.noise_heads import thinned
from countae.predict import Prediction
from countae.protocols._base import Protocol, Task

PARTS = 5  # of the training cells, each predicted from the others
MOST_CELLS = 10_000  # to learn from
JUDGE = "nb"  # noise under which a baseline's setting is chosen


class Baseline(ABC):
    """A reference that is no autoencoder: means for entries while they are hidden.

    ``native`` says whether it has a distribution of its own, ``prediction``; any other is scored
    with the noise families around its means only.
    """

    title: ClassVar[str]
    native: ClassVar[bool] = False

    @abstractmethod
    def mean(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
        """Expected raw counts of ``cells``, (cell, gene), each while it is hidden."""

    def prediction(self, matrix: CountMatrix, cells: np.ndarray) -> Prediction:
        """Its own distribution of every entry, if ``native``."""
        raise TypeError(f"{type(self).__name__} has no distribution of its own")

    def latent(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray | None:
        """Coordinates of ``cells`` with nothing hidden, (cell, axis), or None without any."""
        return None


@dataclass(frozen=True)
class Seen:
    """What may be looked at of some cells.

    ``counts`` are raw, (cell, gene), float64, 0 where ``hidden``, (cell, gene), bool, is true;
    ``size_factor``, (cell, 1), is that of the visible counts.
    """

    counts: np.ndarray
    size_factor: np.ndarray
    hidden: np.ndarray

    @classmethod
    def of(cls, task: Task) -> Seen:
        """The visible part of a task."""
        counts = task.seen.matrix[task.seen.cells].toarray().astype(np.float64)
        hidden = np.zeros(counts.shape, dtype=bool) if task.mask is None else task.mask.T
        counts[hidden] = 0.0
        return cls(counts, task.exposure[:, None].astype(np.float64), hidden)

    @property
    def logged(self) -> np.ndarray:
        """log1p(count / size factor), (cell, gene); 0 where hidden."""
        return np.log1p(self.counts / self.size_factor)

    @property
    def rate(self) -> np.ndarray:
        """Mean count of each gene per unit of size factor, (gene,), > 0; nothing hidden."""
        # a gene without any count in these cells is given one
        return np.maximum(self.counts.sum(axis=0), 1.0) / self.size_factor.sum()


Predictor = Callable[[Seen], np.ndarray]


class Learner(Baseline):
    """A baseline that learns from training cells, with one setting chosen among a few.

    The choice is that of the validation cells: the setting with the best log score of their
    hidden entries under NB noise, as networks stop by the validation cells' loss.
    """

    settings: ClassVar[tuple[Any, ...]]

    def __init__(self) -> None:
        self._known: tuple[CountMatrix, Any] | None = None

    @abstractmethod
    def learn(self, reference: Seen, setting: Any) -> Predictor:
        """A function from what is seen of cells to a value for each of their entries."""

    def mean(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
        return self.to_mean(matrix, cells, self.values(matrix, cells))

    def to_mean(self, matrix: CountMatrix, cells: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Expected raw counts from the learnt function's values; by default these are means."""
        return values

    def values(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
        """The learnt function's value for every entry while it is hidden, (cell, gene)."""
        return self._values(matrix, cells, self.setting(matrix))

    def setting(self, matrix: CountMatrix) -> Any:
        """The setting that the validation cells choose."""
        if self._known is None or self._known[0] is not matrix:
            several = len(self.settings) > 1
            chosen = self._chosen(matrix) if several else self.settings[0]
            self._known = matrix, chosen
        return self._known[1]

    def _chosen(self, matrix: CountMatrix) -> Any:
        cells = thinned(np.flatnonzero(matrix.part == "validation"))
        counts = matrix.target(cells).toarray().astype(np.float64)
        size = hold_out(matrix).size_factor(cells)

        def log_score(setting: Any) -> float:
            mean = self.to_mean(matrix, cells, self._values(matrix, cells, setting))
            noise = fit_noise(JUDGE, counts=counts, mean=mean, size_factor=size)
            return -float(noise.around(mean, size).log_pmf(counts).mean())

        return min(self.settings, key=log_score)

    def _values(self, matrix: CountMatrix, cells: np.ndarray, setting: Any) -> np.ndarray:
        from threadpoolctl import threadpool_limits

        data, found = hold_out(matrix), np.empty((len(cells), matrix.counts.shape[1]))
        with threadpool_limits(limits=torch.get_num_threads()):
            for rows, reference in taught(matrix, cells):
                predict = self.learn(Seen.of(data.whole(reference)), setting)
                for block in data.blocks(rows):
                    values = np.empty((len(block), found.shape[1]))
                    for task in data.held_out_tasks(cells[block]):
                        wanted = True if task.mask is None else task.mask.T
                        np.copyto(values, predict(Seen.of(task)), where=wanted)
                    found[block] = values
        return found


def averaged(weight: np.ndarray | csr_matrix, reference: Seen) -> np.ndarray:
    """Counts per unit of size factor of weighted cells and one average cell, (row, gene), > 0.

    ``weight`` is (row, reference cell).
    """
    total = weight @ reference.counts + reference.rate
    return total / (weight @ reference.size_factor + 1.0)


def hold_out(matrix: CountMatrix) -> Protocol:
    """The hold-out protocol of a matrix."""
    return protocols.get(matrix.protocol)(matrix)


def taught(matrix: CountMatrix, cells: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places in ``cells`` and the training cells to learn from for them: never from themselves."""
    train = np.flatnonzero(matrix.part == "train")
    part = np.full(len(matrix.obs), -1)
    part[train] = np.arange(len(train)) % PARTS
    for number in np.unique(part[cells]):
        yield np.flatnonzero(part[cells] == number), some(train[part[train] != number])


def some(cells: np.ndarray) -> np.ndarray:
    """Cells to learn from, evenly chosen when there are more than are needed."""
    return cells[:: -(-len(cells) // MOST_CELLS)]

"""What one thread of a fused step does: all cells of a batch, and some of the genes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from countae.kernels import chosen_products as products
from countae.kernels import entry_lists as lists
from countae.protocols._base import Task

TILE = 128  # cells of which all rows of a layer stay in a core's cache
MOST_ENTRIES = 2**15  # at once, so that their lanes stay there too
Listed = tuple[np.ndarray, np.ndarray, np.ndarray]  # start, cell, value
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class Threads:
    """A fixed number of threads; compiled loops release Python's lock."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._others = ThreadPoolExecutor(number - 1) if number > 1 else None

    def each(self, function: Callable[[_Given], _Made], items: Iterable[_Given]) -> list[_Made]:
        """``function`` of every item, in their order; the first in the calling thread."""
        first, *others = items
        pool = self._others
        waiting = [pool.submit(function, item) for item in others] if pool else []
        return [function(first), *(future.result() for future in waiting)]


class Buffers:
    """Arrays that are made once and used again; fresh memory costs more than work done in it."""

    def __init__(self) -> None:
        self._kept: dict[str, np.ndarray] = {}

    def get(self, name: str, *shape: int, dtype: Any = np.float32) -> np.ndarray:
        """An array of that shape with any content, valid until ``name`` is asked for again."""
        size, kept = math.prod(shape), self._kept.get(name)
        if kept is None or kept.size < size:
            kept = self._kept[name] = np.empty(size + size // 4, dtype)
        return kept[:size].reshape(shape)


@dataclass(frozen=True)
class Tile:
    """Lists of entries of some cells and of a share's genes; see ``kernels.chosen_products``.

    ``start``, ``cell`` and ``count`` are those to predict, if some are hidden; ``seen_start``,
    ``seen_cell`` and ``seen`` are the stored counts that may be looked at, as log1p(x / size).
    """

    cells: slice
    start: np.ndarray
    cell: np.ndarray
    count: np.ndarray
    seen_start: np.ndarray
    seen_cell: np.ndarray
    seen: np.ndarray

    def parts(self) -> Iterator[Part]:
        """The entries to predict, so many genes at a time that their lanes stay in the cache."""
        first, genes = 0, len(self.start) - 1
        while first < genes:
            full = np.searchsorted(self.start, self.start[first] + MOST_ENTRIES, side="right") - 1
            last = max(first + 1, int(full))
            at = slice(self.start[first], self.start[last])
            start = self.start[first : last + 1] - self.start[first]
            yield Part(self.cells, first, last, start, self.cell[at], self.count[at])
            first = last


@dataclass(frozen=True)
class Part:
    """Entries to predict of a tile's genes ``first`` to ``last`` − 1."""

    cells: slice
    first: int
    last: int
    start: np.ndarray
    cell: np.ndarray
    count: np.ndarray


class Share:
    """Some genes, and buffers for what is computed of them."""

    def __init__(self, first: int, last: int) -> None:
        self.genes, self.buffers = slice(first, last), Buffers()
        self.tiles: list[Tile] = []
        self._wanted: tuple[np.ndarray, np.ndarray, np.ndarray]

    def gather(self, task: Task) -> None:
        """List the entries of a task, tile by tile."""
        if task.mask is None:
            self._wanted = self._stored(task.wanted, self.genes, slice(None), "wanted")
        cells = len(task.exposure)
        starts = range(0, cells, TILE)
        self.tiles = [self._tile(task, k, slice(i, min(i + TILE, cells)))
                      for k, i in enumerate(starts)]  # fmt: skip

    def enter(self, weight: np.ndarray, mean: np.ndarray, cells: int) -> np.ndarray:
        """Sum over the genes of ``(feature + mean) × weight[gene]``, (cell, width).

        ``weight`` is (gene, width); a hidden entry's feature is 0, that of an unseen count −mean.
        """
        weight, mean = weight[self.genes], mean[self.genes]
        out = self.buffers.get("entered", cells, weight.shape[1])
        out[:] = 0
        for tile in self.tiles:
            for start, cell, value in self._features(tile, mean):
                products.add_to_rows(start, cell, value, weight, out[tile.cells])
        return out

    def leave(self, grad: np.ndarray, mean: np.ndarray, out: np.ndarray) -> None:
        """Gradient of the weights of ``enter`` from that of its result, into ``out``."""
        out, mean = out[self.genes], mean[self.genes]
        np.multiply.outer(-mean, grad.sum(axis=0), out=out)
        for tile in self.tiles:
            for start, cell, value in self._features(tile, mean):
                products.add_to_weights(start, cell, value, grad[tile.cells], out)

    def _features(self, tile: Tile, mean: np.ndarray) -> Iterator[Listed]:
        """Lists of what features are above −``mean``: seen counts, and means where hidden."""
        yield tile.seen_start, tile.seen_cell, tile.seen
        if len(tile.cell):
            means = self.buffers.get("means", len(tile.cell))
            products.spread(tile.start, mean, means)
            yield tile.start, tile.cell, means

    def block(
        self, begin: int, width: int, cells: int, lanes: int
    ) -> tuple[slice, np.ndarray, np.ndarray, Share] | None:
        """Some of the genes, with buffers for their counts and lanes; None where none are left."""
        first = self.genes.start + begin
        if first >= self.genes.stop:
            return None
        genes = slice(first, min(first + width, self.genes.stop))
        shape = (genes.stop - first, cells)
        get = self.buffers.get
        return genes, get("block_counts", *shape), get("block_lanes", lanes, *shape), self

    def dense_counts(self, genes: slice, out: np.ndarray) -> None:
        """Counts to predict of some of the genes and all cells, (gene, cell)."""
        start, cell, count = self._wanted
        at = slice(genes.start - self.genes.start, genes.stop - self.genes.start + 1)
        lists.dense_counts(start[at], cell, count, out)

    def _tile(self, task: Task, number: int, cells: slice) -> Tile:
        start, cell, seen = self._stored(task.seen, self.genes, cells, f"seen{number}")
        size, none = task.exposure[cells], np.empty(0, np.int32)
        if task.mask is None:
            lists.log_counts(cell, size, seen)
            return Tile(cells, none, none, none, start, cell, seen)
        hidden = task.mask[self.genes, cells]
        number_hidden = int(np.count_nonzero(hidden))
        get, genes = self.buffers.get, len(hidden)
        hidden_start = get(f"start{number}", genes + 1, dtype=np.int64)
        hidden_cell = get(f"cell{number}", number_hidden + 1, dtype=np.int32)
        lists.hidden_entries(hidden, hidden_start, hidden_cell)
        count = get(f"count{number}", number_hidden)
        lists.hidden_counts(hidden_start, hidden_cell, start, cell, seen, hidden, count)
        lists.log_counts(cell, size, seen)
        lists.blind(start, cell, hidden, seen)
        return Tile(cells, hidden_start, hidden_cell[:-1], count, start, cell, seen)

    def _stored(
        self, rows: Any, genes: slice, cells: slice, name: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """List of the stored counts of some rows and genes: start, cell, count."""
        matrix, get, room = rows.matrix, self.buffers.get, 0
        start = get(f"{name}_start", genes.stop - genes.start + 1, dtype=np.int64)
        while True:
            cell, count = get(f"{name}_cell", room, dtype=np.int32), get(f"{name}_count", room)
            found = lists.nonzero_entries(
                matrix.indptr, matrix.indices, matrix.data, rows.cells[cells], genes.start,
                start, cell, count,
            )  # fmt: skip
            if found <= room:
                return start, cell[:found], count[:found]
            room = found

"""What is held out: cells that are never fitted, and entries hidden from the network in turn."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae.errors import CountMatrixError

PARTS = ("train", "validation", "test")
MINIMUM_CELLS = 5
LEAST_VISIBLE = 1e-6  # of the library; a share of 0 comes out as ±1e-7 in single precision
FOLD_MEMORY = 2**26  # bytes of folds that are kept
FOLD_BLOCK = 256  # cells per random stream: folds do not depend on how many cells are read at once


def split_cells(
    batch: np.ndarray,
    *,
    test_fraction: float,
    validation_fraction: float,
    seed: int,
    max_test_cells: int,
    max_validation_cells: int,
) -> np.ndarray:
    """Part of each cell, in the same proportions within every batch.

    Held-out cells are predicted whole, several times, so there is an end to their number; what
    is beyond it is trained on.

    Parameters
    ----------
    batch : ndarray, (cell,)
        Batch of each cell; one value for all when there are no batches.
    test_fraction, validation_fraction : float in (0, 1)
    seed : int
    max_test_cells, max_validation_cells : int

    Returns
    -------
    ndarray, (cell,), str: ``train``, ``validation`` or ``test``

    Raises
    ------
    CountMatrixError
        When a part would have fewer than five cells.
    """
    n_cells = len(batch)
    n_test = min(round(n_cells * test_fraction), max_test_cells)
    n_validation = min(round(n_cells * validation_fraction), max_validation_cells)
    smallest = min(n_test, n_validation, n_cells - n_test - n_validation)
    if smallest < MINIMUM_CELLS:
        raise CountMatrixError(
            f"The split needs at least {MINIMUM_CELLS} cells for training, validation and test "
            "each, "
            f"but {n_cells} cells with test_fraction {test_fraction} and validation_fraction "
            f"{validation_fraction} leave {max(smallest, 0)} for one of them. Fix: bring more "
            "cells, "
            "relax the quality filter, or change `split`."
        )
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(n_cells)
    place = np.empty(n_cells)
    for value in np.unique(batch):
        members = shuffled[batch[shuffled] == value]
        place[members] = (np.arange(len(members)) + rng.random()) / len(members)
    part = np.full(n_cells, "train", dtype=object)
    order = np.argsort(place, kind="stable")
    part[order[:n_test]] = "test"
    part[order[n_test : n_test + n_validation]] = "validation"
    return part.astype(str)


def draw_folds(cells: np.ndarray, *, n_genes: int, n_folds: int, seed: int) -> np.ndarray:
    """Fold of each entry of ``cells``, (cell, gene), uint8 in 0 … n_folds − 1.

    Folds are independent and uniform. Those of a cell depend on its place in the matrix, the
    number of genes and the seed alone, so they need not be stored.
    """
    fold = np.empty((len(cells), n_genes), dtype=np.uint8)
    block, row = np.divmod(cells, FOLD_BLOCK)
    order = np.argsort(block, kind="stable")
    present, starts = np.unique(block[order], return_index=True)
    for number, places in zip(present, np.split(order, starts[1:]), strict=True):
        rng = np.random.Generator(np.random.Philox(key=[seed, int(number)]))
        drawn = rng.integers(n_folds, size=(FOLD_BLOCK, n_genes), dtype=np.uint8)
        fold[places] = drawn[row[places]]
    return fold


class KeptFolds:
    """Folds that were drawn before, as many as fit: those of held-out cells are asked again."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], np.ndarray] = {}
        self._room = FOLD_MEMORY

    def of(self, cells: np.ndarray, *, n_genes: int, n_folds: int, seed: int) -> np.ndarray:
        """See :func:`draw_folds`; read-only."""
        key = seed, n_folds, n_genes, cells.dtype.char, cells.tobytes()
        found = self._kept.get(key)
        if found is None:
            found = draw_folds(cells, n_genes=n_genes, n_folds=n_folds, seed=seed)
            found.flags.writeable = False
            if found.nbytes <= self._room:
                self._room -= found.nbytes
                self._kept[key] = found
        return found


def visible_size_factor(
    *, counts: Any, hidden: Any, library_size: Any, gene_share: Any, reference_size: float
) -> Any:
    r"""Size factor from what the network may see, so that hidden counts do not leak through it.

    .. math:: s_i = \frac{l_i - \sum_{j\,hidden} x_{ij}}{1 - \sum_{j\,hidden} q_j} \Big/ l_{ref}

    with :math:`q_j` the gene's share of all training counts. At least one visible count is
    assumed, since a size of zero would promise that nothing is ever seen. Where all genes of the
    library are hidden at once, as happens in panels of a few genes, nothing is known of the cell:
    it gets the size of the average cell, 1.

    Parameters
    ----------
    counts, hidden : array or tensor, (cell, gene); raw counts, and 1 where an entry is hidden
    library_size : array or tensor, (cell, 1), the cell's total over all genes
    gene_share : array or tensor, (gene,), expected share of each gene in the library
    reference_size : float, the training cells' median library size

    Returns
    -------
    array or tensor, (cell, 1), > 0; about 1 in a typical cell
    """
    return size_without(
        (counts * hidden).sum(-1)[:, None],
        (hidden * gene_share).sum(-1)[:, None],
        library_size=library_size,
        reference_size=reference_size,
    )


def size_without(
    hidden_count: Any, hidden_share: Any, *, library_size: Any, reference_size: float
) -> Any:
    """The same from sums over each cell's hidden entries, of the shape of ``library_size``."""
    visible = library_size - hidden_count
    share = 1.0 - hidden_share
    unseen = share <= LEAST_VISIBLE
    size = visible.clip(1.0) / (share * ~unseen + unseen) / reference_size
    return size * ~unseen + unseen  # times 1 plus 0 keeps every bit of the others

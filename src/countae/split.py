"""What is held out: cells that are never fitted, and entries hidden from the network in turn."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae.errors import CountMatrixError

PARTS = ("train", "validation", "test")
MINIMUM_CELLS = 5
LEAST_VISIBLE = 1e-6  # of the library; a share of 0 comes out as ±1e-7 in single precision
FOLD_BLOCK = 256  # cells per random stream: folds do not depend on how many cells are read at once


def split_cells(
    batch: np.ndarray, *, test_fraction: float, validation_fraction: float, seed: int
) -> np.ndarray:
    """Part of each cell, in the same proportions within every batch.

    Parameters
    ----------
    batch : ndarray, (cell,)
        Batch of each cell; one value for all when there are no batches.
    test_fraction, validation_fraction : float in (0, 1)
    seed : int

    Returns
    -------
    ndarray, (cell,), str: ``train``, ``validation`` or ``test``

    Raises
    ------
    CountMatrixError
        When a part would have fewer than five cells.
    """
    n_cells = len(batch)
    n_test, n_validation = (round(n_cells * f) for f in (test_fraction, validation_fraction))
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


def draw_folds(shape: tuple[int, int], *, n_folds: int, seed: int) -> np.ndarray:
    """Fold of each entry, (cell, gene), uint8 in 0 … n_folds − 1, independent and uniform."""
    fold = np.empty(shape, dtype=np.uint8)
    for block, start in enumerate(range(0, shape[0], FOLD_BLOCK)):
        rng = np.random.Generator(np.random.Philox(key=[seed, block]))
        fold[start : start + FOLD_BLOCK] = rng.integers(
            n_folds, size=(FOLD_BLOCK, shape[1]), dtype=np.uint8
        )[: shape[0] - start]
    return fold


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

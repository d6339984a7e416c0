"""Categories of cells, such as batches, that a network is told besides the counts."""

from __future__ import annotations

import numpy as np

from countae.counts import CountMatrix
from countae.counts._check import check_key
from countae.errors import CountMatrixError


def levels_of(matrix: CountMatrix, columns: list[str], cells: np.ndarray) -> dict[str, list[str]]:
    """Categories of some columns of obs in ``cells``, sorted: those that a network can learn.

    Raises
    ------
    CountMatrixError
        When a column is not there, or has no value for some cell.
    """
    for column in columns:
        check_key(matrix.obs, column, source=matrix.source, setting="network.conditions")
    return {c: np.unique(matrix.obs[c].to_numpy(str)[cells]).tolist() for c in columns}


def one_hot(matrix: CountMatrix, levels: dict[str, list[str]]) -> np.ndarray:
    """1 at each cell's category of each column, (cell, category), float32.

    Raises
    ------
    CountMatrixError
        When a column is not there, or a cell's category is none of ``levels``: a network has
        learnt nothing of it, and zeros would be a category that it has never met.
    """
    parts = []
    for column, known in levels.items():
        check_key(matrix.obs, column, source=matrix.source, setting="network.conditions")
        found = matrix.obs[column].to_numpy(str)
        same = found[:, None] == np.array(known)
        new = np.flatnonzero(~same.any(axis=1))
        if new.size:
            first = f"{str(found[new[0]])!r} at cell {matrix.cell_id[new[0]]!r}"
            raise CountMatrixError(
                f"{matrix.source}: `network.conditions` names the obs column {column!r}, of which "
                f"every category must be in the training cells, but {new.size:,} of "
                f"{len(found):,} cells have others; first: {first}, known are {len(known):,}. "
                "Numbers are no categories, and small batches can miss the training cells. Fix: "
                "set `batch_key` to this column, so that each part of the split has every batch, "
                "join rare categories, or leave the column out."
            )
        parts.append(same.astype(np.float32))
    return np.concatenate(parts, axis=1)

"""Changed copies of prepared counts: other counts, or other cells to train on."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from countae import split
from countae.counts import CountMatrix
from countae.errors import UnsuitableError
from countae.prepare import mark

LEFT_OUT = "left_out"  # part of cells that are neither trained on nor scored
FEWEST_CELLS = 3  # remaining training cells that must show a gene
LARGEST_COUNT = 2**31 - 1


def with_counts(matrix: CountMatrix, counts: csr_matrix, library: np.ndarray) -> CountMatrix:
    """The same cells with other counts and library sizes; what training sees is summed anew.

    Parameters
    ----------
    matrix : CountMatrix
    counts : csr_matrix, (cell, gene), int
    library : ndarray, (cell,)
        Sizes below 1 become 1: a cell that lost all its counts still has a library of one.
    """
    import anndata

    own = matrix.with_own_tables().adata
    own.obs["library_size"] = np.maximum(library, 1.0)
    changed = csr_matrix(counts.astype(np.int32))
    changed.eliminate_zeros()
    made = anndata.AnnData(changed, obs=own.obs, var=own.var, uns=own.uns, layers=own.layers)
    return marked(CountMatrix(made, matrix.source), matrix.part)


def with_parts(matrix: CountMatrix, part: np.ndarray) -> CountMatrix:
    """The same counts with another split, of genes that the remaining training cells show.

    Cells stay in their places, since the folds in which their entries are hidden depend on these.

    Raises
    ------
    UnsuitableError
        When fewer than five cells are left for training, validation or test.
    """
    left = {name: int((part == name).sum()) for name in split.PARTS}
    if min(left.values()) < split.MINIMUM_CELLS:
        raise UnsuitableError(
            f"{matrix.source}: a stress test that leaves cells out needs at least "
            f"{split.MINIMUM_CELLS} cells of each part, but leaves "
            f"{', '.join(f'{n} for {name}' for name, n in left.items())}. Fix: lower its level, "
            "join small groups, or leave the test out."
        )
    before, now = (_seen(matrix, names == "train") for names in (matrix.part, part))
    kept = now >= np.minimum(FEWEST_CELLS, before)
    made = matrix.with_own_tables() if kept.all() else matrix.subset(slice(None), kept)
    return marked(made, part)


def marked(made: CountMatrix, part: np.ndarray) -> CountMatrix:
    """The matrix with its split, and sizes and gene shares from its own training cells."""
    held_out = {"folds": made.n_folds, "split_seed": made.info["split_seed"]}
    mark(made, part, held_out, total=made.rows(part == "train").sum(axis=0).A1)
    return made


def checked(counts: np.ndarray, source: str) -> np.ndarray:
    """The counts; UnsuitableError when one is too large to be stored."""
    if counts.size and counts.max() > LARGEST_COUNT:
        raise UnsuitableError(
            f"{source}: a stress test makes counts up to {counts.max():.3g}, but at most "
            f"{LARGEST_COUNT:,} can be stored. Fix: lower `stress.outlier_factor`, or the level."
        )
    return counts


def _seen(matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
    """Number of cells that show each gene, (gene,)."""
    return matrix.rows(cells).getnnz(axis=0)

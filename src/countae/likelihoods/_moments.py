"""Moment estimates per gene: the common starting point of every loss (none may start better)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.sparse import csr_matrix

from countae.likelihoods._base import GeneMoments

if TYPE_CHECKING:
    from countae.counts import Targets

THETA_BOUNDS = (1e-2, 1e3)
ZERO_PROBABILITY_BOUNDS = (0.01, 0.9)
CELLS_AT_A_TIME = 4096


def gene_moments(*, counts: csr_matrix | Targets, size_factor: np.ndarray) -> GeneMoments:
    r"""Moments of raw counts given size factors.

    With :math:`m_{ij} = s_i r_j` and :math:`r_j = \sum_i x_{ij} / \sum_i s_i`, the inverse
    dispersion solves :math:`\sum_i (x_{ij}-m_{ij})^2 - x_{ij} = \sum_i m_{ij}^2/θ_j`, and the
    zero probability is the share of zeros beyond that negative binomial's, as a share of its
    non-zeros. Both are kept inside bounds from which training can move either way.

    Parameters
    ----------
    counts : csr_matrix or Targets, (cell, gene), raw counts of training cells
        A gene without any is given one. They are read in blocks, whose size changes no sum.
    size_factor : ndarray, (cell,), > 0

    Returns
    -------
    GeneMoments
    """
    size = np.asarray(size_factor, dtype=np.float64)
    found, nonzero, square, with_size, log1p_mean = _sums(counts, size)
    # where molecules are hidden, a rare gene may have none among the hidden ones
    total, square_size = np.maximum(found, 1.0), np.square(size).sum()
    mean = total / size.sum()
    squares = square - 2 * mean * with_size + mean**2 * square_size
    excess = np.maximum(squares - total, 0.0)
    with np.errstate(divide="ignore"):
        theta = np.clip(mean**2 * square_size / excess, *THETA_BOUNDS)

    zero_share = 1.0 - nonzero / counts.shape[0]
    middles = np.quantile(size, (np.arange(32) + 0.5) / 32)[:, None]
    nb_zero = np.exp(-theta * np.log1p(middles * mean / theta)).mean(axis=0)
    zero_probability = np.clip((zero_share - nb_zero) / (1 - nb_zero), *ZERO_PROBABILITY_BOUNDS)

    log1p_mean[log1p_mean == 0] = np.log(2) / counts.shape[0]
    return GeneMoments(
        mean=torch.as_tensor(mean),
        log1p_mean=torch.as_tensor(log1p_mean),
        inverse_dispersion=torch.as_tensor(theta),
        zero_probability=torch.as_tensor(zero_probability),
    )


def _sums(counts: csr_matrix | Targets, size: np.ndarray) -> np.ndarray:
    """Sums per gene of x, [x > 0], x², x s and log1p(x / s) / n, (5, gene)."""
    cells, genes = counts.shape
    sums = np.zeros((5, genes))
    for start in range(0, cells, CELLS_AT_A_TIME):
        block = counts[start : start + CELLS_AT_A_TIME]
        gene, x = block.indices, block.data.astype(np.float64)
        s = np.repeat(size[start : start + CELLS_AT_A_TIME], np.diff(block.indptr))
        # added one by one, so that the result does not depend on where a block ends
        values = (x, x != 0, x**2, x * s, np.log1p(x * (1 / s)) * (1 / cells))
        for row, value in zip(sums, values, strict=True):
            np.add.at(row, gene, value)
    return sums

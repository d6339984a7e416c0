"""Moment estimates per gene: the common starting point of every loss (none may start better)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix

from countae.likelihoods._base import GeneMoments

THETA_BOUNDS = (1e-2, 1e3)
ZERO_PROBABILITY_BOUNDS = (0.01, 0.9)


def gene_moments(*, counts: csr_matrix, size_factor: np.ndarray) -> GeneMoments:
    r"""Moments of raw counts given size factors.

    With :math:`m_{ij} = s_i r_j` and :math:`r_j = \sum_i x_{ij} / \sum_i s_i`, the inverse
    dispersion solves :math:`\sum_i (x_{ij}-m_{ij})^2 - x_{ij} = \sum_i m_{ij}^2/θ_j`, and the
    zero probability is the share of zeros beyond that negative binomial's, as a share of its
    non-zeros. Both are kept inside bounds from which training can move either way.

    Parameters
    ----------
    counts : csr_matrix, (cell, gene), raw counts of training cells
        A gene without any is given one.
    size_factor : ndarray, (cell,), > 0

    Returns
    -------
    GeneMoments
    """
    counts = counts.astype(np.float64)
    size = np.asarray(size_factor, dtype=np.float64)
    # where molecules are hidden, a rare gene may have none among the hidden ones
    total, square_size = np.maximum(counts.sum(axis=0).A1, 1.0), np.square(size).sum()
    mean = total / size.sum()
    squares = counts.power(2).sum(axis=0).A1 - 2 * mean * (counts.T @ size) + mean**2 * square_size
    excess = np.maximum(squares - total, 0.0)
    with np.errstate(divide="ignore"):
        theta = np.clip(mean**2 * square_size / excess, *THETA_BOUNDS)

    zero_share = 1.0 - counts.astype(bool).sum(axis=0).A1 / counts.shape[0]
    middles = np.quantile(size, (np.arange(32) + 0.5) / 32)[:, None]
    nb_zero = np.exp(-theta * np.log1p(middles * mean / theta)).mean(axis=0)
    zero_probability = np.clip((zero_share - nb_zero) / (1 - nb_zero), *ZERO_PROBABILITY_BOUNDS)

    scaled = counts.multiply(1.0 / size[:, None]).tocsr()
    log1p_mean = scaled.log1p().mean(axis=0).A1
    log1p_mean[log1p_mean == 0] = np.log(2) / counts.shape[0]
    return GeneMoments(
        mean=torch.as_tensor(mean),
        log1p_mean=torch.as_tensor(log1p_mean),
        inverse_dispersion=torch.as_tensor(theta),
        zero_probability=torch.as_tensor(zero_probability),
    )

"""Noise per gene around given means: maximum of the likelihood times a prior, gene by gene.

The prior of the log inverse dispersion is normal around its trend against the mean; its width is
what the genes' spread around the trend exceeds their standard errors by. The prior of the zero
logit is normal around −4 with standard deviation 2.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from countae.kernels.newton import Derivatives, maximise_per_gene
from countae.likelihoods._base import Likelihood

WIDE = 3.0  # standard deviation of the prior before the trend is known
NARROWEST_TREND = 0.1
ZERO_LOGIT_PRIOR = (-4.0, 2.0)
ROUGH, FINE = 0.1, 3e-3  # on log and logit scales, where a gene's own error is .05 and more
TREND_WINDOW = 0.15  # share of genes in the running median
MOST_CELLS = 4000  # more would not move a gene's noise by a fraction of its error


def thinned(cells: np.ndarray) -> np.ndarray:
    """Some of the cells, evenly chosen, when there are more than noise needs."""
    return cells[:: -(-len(cells) // MOST_CELLS)]


def fit_heads(
    likelihood: Likelihood, counts: np.ndarray, mean: np.ndarray
) -> tuple[dict[str, Tensor], np.ndarray]:
    """Maximum a posteriori of the noise heads, and the standard error of the first.

    Parameters
    ----------
    likelihood : Likelihood
        With ``noise_heads``.
    counts, mean : ndarray, (cell, gene)
        Raw counts, and the means around which the noise is fitted, held fixed.

    Returns
    -------
    dict by head of Tensor, (gene,), float64
    ndarray, (gene,)
    """
    names = likelihood.noise_heads or ()
    start = np.zeros((len(names), counts.shape[1]))
    start[1:] = ZERO_LOGIT_PRIOR[0]
    centre, width = start.copy(), np.full_like(start, WIDE)
    width[1:] = ZERO_LOGIT_PRIOR[1]
    log_likelihood = likelihood.noise_derivatives(counts, mean)
    rough = _posterior(log_likelihood, centre, width)
    free, curvature = maximise_per_gene(rough, start, tolerance=ROUGH)
    centre[0], width[0] = _trend(free[0], curvature, mean.mean(axis=0))
    fine = _posterior(log_likelihood, centre, width)
    best, curvature = maximise_per_gene(fine, free, tolerance=FINE)
    return dict(zip(names, map(torch.as_tensor, best), strict=True)), curvature**-0.5


def _posterior(log_likelihood: Derivatives, centre: np.ndarray, width: np.ndarray) -> Derivatives:
    """The log-likelihood plus the logarithm of normal priors, (head, gene) each."""

    def derivatives(
        raw: np.ndarray, genes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        value, gradient, hessian = log_likelihood(raw, genes)
        precision = width[:, genes] ** -2
        pull = precision * (raw - centre[:, genes])
        value = value - 0.5 * (pull * (raw - centre[:, genes])).sum(axis=0)
        return value, gradient - pull, hessian - np.eye(len(raw))[..., None] * precision

    return derivatives


def _trend(found: np.ndarray, curvature: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, float]:
    """Running median of a gene parameter against the mean, and the spread of genes around it.

    Genes whose own standard error exceeds 1 say little of either and are left out, unless that
    leaves fewer than twenty.
    """
    square_error, level = 1 / curvature, np.log(mean)
    usable = square_error < 1.0
    if usable.sum() < 20:
        usable[:] = True
    order = np.flatnonzero(usable)[np.argsort(level[usable])]
    half = max(10, round(TREND_WINDOW * len(order) / 2))
    smooth = np.array(
        [np.median(found[order[max(0, i - half) : i + half + 1]]) for i in range(len(order))]
    )
    spread = 1.4826 * np.median(np.abs(found[order] - smooth))  # from the median deviation
    width = max(spread**2 - np.median(square_error[order]), NARROWEST_TREND**2) ** 0.5
    return np.interp(level, level[order], smooth), width

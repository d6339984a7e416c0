"""Noise per gene around given means: maximum of the likelihood times a prior, gene by gene.

The first head, a log inverse dispersion or a log spread, is drawn towards its trend against the
mean (:mod:`countae.kernels.around_trend`). The prior of the zero logit is normal around −4 with
standard deviation 2.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from countae.kernels.around_trend import WIDE, most_probable
from countae.kernels.unseen import blocks, widening
from countae.likelihoods._base import Likelihood

ZERO_LOGIT_PRIOR = (-4.0, 2.0)
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
    centre = np.full((len(names), counts.shape[1]), ZERO_LOGIT_PRIOR[0])
    centre[0] = likelihood.noise_guess(counts, mean)
    width = np.full_like(centre, ZERO_LOGIT_PRIOR[1])
    width[0] = WIDE
    log_likelihood = likelihood.noise_derivatives(counts, mean)
    best, curvature = most_probable(log_likelihood, centre, width, mean.mean(axis=0))
    return dict(zip(names, map(torch.as_tensor, best), strict=True)), curvature**-0.5


def for_unseen(
    likelihood: Likelihood, raw: dict[str, Tensor], counts: np.ndarray, mean: np.ndarray
) -> dict[str, Tensor]:
    """The noise heads with the first moved by one number for all genes, towards more variance.

    Parameters
    ----------
    likelihood : Likelihood
        With ``noise_heads``.
    raw : dict by head of Tensor, (gene,)
        From :func:`fit_heads`.
    counts, mean : ndarray, (cell, gene)
        Raw counts, and means > 0, of cells that the means were not learnt from.

    Returns
    -------
    dict by head of Tensor, (gene,), float64
    """
    first = (likelihood.noise_heads or ())[0]
    level = torch.as_tensor(mean.mean(axis=0, keepdims=True))

    def variance(by: float) -> float:
        moved = raw | {first: raw[first] + by}
        return float(likelihood.variance(**likelihood.from_mean(level, **moved)).sum())

    by = widening(
        [likelihood.noise_derivatives(counts[b], mean[b]) for b in blocks(len(counts))],
        np.stack([*raw.values()]), sign=1.0 if variance(1.0) > variance(0.0) else -1.0,
    )  # fmt: skip
    return raw | {first: raw[first] + by}

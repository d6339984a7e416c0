"""The best constants of a loss's heads, gene by gene, by Newton's method on the loss itself."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from countae.kernels.autograd import by_autograd
from countae.kernels.newton import maximise_per_gene
from countae.likelihoods._base import Likelihood
from countae.likelihoods._moments import THETA_BOUNDS, ZERO_PROBABILITY_BOUNDS

MOST_CELLS = 500  # they tell a number per gene well enough to start with
STEPS = 12
FINE = 0.02  # on log and logit scales
BOUNDS = {
    "log_inverse_dispersion": np.log(THETA_BOUNDS),
    "zero_logit": np.log(ZERO_PROBABILITY_BOUNDS) - np.log1p(-np.array(ZERO_PROBABILITY_BOUNDS)),
    "zero_intercept": (-12.0, 12.0),
    "zero_slope": (-2.0, 0.0),  # extra zeros that do not rise with the expression
}


def best_heads(
    likelihood: Likelihood,
    counts: np.ndarray,
    size_factor: np.ndarray,
    start: dict[str, Tensor],
    bounds: dict[str, tuple[float, float]] | None = None,
) -> dict[str, Tensor]:
    """Head values, (gene,), at which the summed loss is lowest, or nearly; never above ``start``.

    For heads on log and logit scales. θ and π stay within bounds from which training can move
    either way.

    Parameters
    ----------
    likelihood : Likelihood
        Its ``loss`` of a gene depends on that gene's heads only.
    counts : ndarray, (cell, gene), raw counts
    size_factor : ndarray, (cell, 1)
    start : dict of Tensor, (gene,), float64
    bounds : dict of (lowest, highest), optional
        By head, where they are others than the usual ones.
    """
    some = slice(None, None, -(-len(counts) // MOST_CELLS))
    x, size = torch.as_tensor(counts[some]), torch.as_tensor(size_factor[some])
    names = [*start]

    def minus_loss(raw: Tensor, genes: Tensor) -> Tensor:
        parameters = likelihood.constrain(dict(zip(names, raw, strict=True)), size)
        return -likelihood.loss(x[:, genes], **parameters).sum(dim=0)

    known = BOUNDS | (bounds or {})
    limits = np.array([known.get(name, (-np.inf, np.inf)) for name in names])
    at = np.clip(np.stack([start[name].numpy() for name in names]).T, *limits.T).T
    best, _ = maximise_per_gene(
        by_autograd(minus_loss), at, tolerance=FINE, iterations=STEPS, bounds=(*limits.T,)
    )
    return dict(zip(names, map(torch.as_tensor, best), strict=True))

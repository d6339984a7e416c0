"""Where training starts: the best that one mean and one noise per gene can do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.sparse import csr_matrix

from countae import likelihoods
from countae.counts import Targets
from countae.likelihoods._base import GeneMoments, Likelihood
from countae.likelihoods._moments import THETA_BOUNDS, ZERO_PROBABILITY_BOUNDS, gene_moments
from countae.noise_heads import fit_heads, thinned


def best_constants(
    likelihood: Likelihood, *, counts: csr_matrix | Targets, size_factor: np.ndarray
) -> GeneMoments:
    """Moments, with θ, π and heads that are better than those of moments where these are found.

    θ and π are at their maximum around the gene's mean, found by the recipe of the control, so
    that no network starts behind it; moments are far off for reads. They are those of the family
    that a loss names (``start_noise``); it may then better its heads by a look at the counts
    (``best_start``).

    Parameters
    ----------
    likelihood : Likelihood
    counts : csr_matrix or Targets, (cell, gene), raw counts of training cells
        A gene without any is given one.
    size_factor : ndarray, (cell,), > 0
    """
    moments = gene_moments(counts=counts, size_factor=size_factor)
    noise = None if likelihood.start_noise is None else likelihoods.get(likelihood.start_noise)()
    looks = type(likelihood).best_start is not Likelihood.best_start
    if noise is None and not looks:
        return moments
    cells = thinned(np.arange(len(size_factor)))
    some, size = counts[cells].toarray().astype(np.float64), size_factor[cells, None]
    if noise is not None:
        moments = _with_noise(moments, noise, some, size)
    return replace(moments, heads=likelihood.best_start(some, size, moments))


def _with_noise(
    moments: GeneMoments, noise: Likelihood, counts: np.ndarray, size_factor: np.ndarray
) -> GeneMoments:
    """Moments with θ and π at their maximum around the gene's mean, within bounds."""
    raw, _ = fit_heads(noise, counts, size_factor * moments.mean.numpy())
    theta = raw["log_inverse_dispersion"].exp().clamp(*THETA_BOUNDS)
    if "zero_logit" not in raw:
        return replace(moments, inverse_dispersion=theta)
    zero = torch.sigmoid(raw["zero_logit"]).clamp(*ZERO_PROBABILITY_BOUNDS)
    return replace(moments, inverse_dispersion=theta, zero_probability=zero)

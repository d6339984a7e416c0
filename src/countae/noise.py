"""Post-hoc noise: each family fitted gene by gene around the same means, whoever made them.

Crossing every network with every noise family separates the quality of the mean (rows) from
that of the noise (columns). The recipe is the same for every network and baseline:

1. The mean is scaled per gene to the counts, c_j = (Σ x + 10)/(Σ m + 10), since a squared error
   on logarithms predicts medians; a mean below 1/1,000 of the gene's own average is lifted to
   it, since a squared error may predict zero or less. The mean is then held fixed.
2. Parameters are the maximum of the likelihood times a prior. The prior of the log inverse
   dispersion is normal around its trend against the mean; its width is what the genes' spread
   around the trend exceeds their standard errors by. The prior of the zero logit is normal
   around −4 with standard deviation 2. The normal noise of a squared error, one spread per gene,
   has the size of the residuals.

Fitted on train and validation entries predicted while hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from countae import likelihoods
from countae.kernels.newton import Derivatives, maximise_per_gene
from countae.likelihoods._base import Likelihood
from countae.predict import Prediction

PSEUDO_COUNT = 10.0
LOWEST_MEAN = 1e-3  # of the gene's average at the cell's size
WIDE = 3.0  # standard deviation of the prior before the trend is known
NARROWEST_TREND = 0.1
ZERO_LOGIT_PRIOR = (-4.0, 2.0)
ROUGH, FINE = 0.1, 3e-3  # on log and logit scales, where a gene's own error is .05 and more
TREND_WINDOW = 0.15  # share of genes in the running median


@dataclass(frozen=True)
class Noise:
    """One noise family fitted around given means.

    ``scale`` and ``gene_mean`` are (gene,); ``raw`` holds the family's ``noise_heads``, (gene,);
    ``standard_error`` is that of the log inverse dispersion, (gene,), or empty.
    """

    family: Likelihood
    scale: np.ndarray
    gene_mean: np.ndarray
    raw: dict[str, Tensor]
    standard_error: np.ndarray

    def around(
        self, mean: np.ndarray, size_factor: np.ndarray, genes: slice = slice(None)
    ) -> Prediction:
        """The family's distribution around ``mean``, (cell, some genes).

        ``size_factor`` is (cell,), (cell, 1) or (cell, gene) of all genes.
        """
        per_entry = size_factor.ndim == 2 and size_factor.shape[1] > 1
        size = size_factor[:, genes] if per_entry else size_factor
        adjusted = adjusted_mean(mean, size, self.gene_mean[genes], self.scale[genes])
        raw = {name: value[genes] for name, value in self.raw.items()}
        return Prediction.of(self.family, self.family.from_mean(adjusted, **raw))


def noise_families() -> list[str]:
    """Likelihoods that can be put around any mean, simplest first."""
    members = [likelihoods.get(name) for name in likelihoods.names()]
    families = [m for m in members if m.noise_heads is not None or m.noise_from_residuals]
    return [member.name for member in sorted(families, key=lambda member: member.complexity)]


def fit_noise(
    family: str, *, counts: np.ndarray, mean: np.ndarray, size_factor: np.ndarray
) -> Noise:
    """Noise parameters per gene for the given means.

    Parameters
    ----------
    family : str
        One of :func:`noise_families`.
    counts, mean : ndarray, (cell, gene)
        Raw counts, and what was predicted for them while they were hidden.
    size_factor : ndarray, (cell,) or (cell, gene)
        From visible counts only, where these were hidden.

    Returns
    -------
    Noise
    """
    likelihood = likelihoods.get(family)()
    # a gene without any count in these cells is given one, so that no mean is zero
    gene_mean = np.maximum(counts.sum(axis=0), 1.0) / size_factor.sum(axis=0)
    scale = (counts.sum(axis=0) + PSEUDO_COUNT) / (mean.sum(axis=0) + PSEUDO_COUNT)
    m = adjusted_mean(mean, size_factor, gene_mean, scale)
    raw: dict[str, Tensor] = {}
    error = np.zeros(0)
    if likelihood.noise_heads:
        raw, error = _fit_heads(likelihood, counts, m.numpy())
    elif likelihood.noise_from_residuals:
        raw = likelihood.residual_noise(torch.as_tensor(counts, dtype=m.dtype), m)
    return Noise(likelihood, scale, gene_mean, raw, error)


def adjusted_mean(
    mean: np.ndarray, size_factor: np.ndarray, gene_mean: np.ndarray, scale: np.ndarray
) -> Tensor:
    """Means scaled per gene and lifted off zero, (cell, gene), float64."""
    size = size_factor if size_factor.ndim == 2 else size_factor[:, None]
    lowest = LOWEST_MEAN * size * gene_mean
    return torch.as_tensor(np.maximum(scale * mean, lowest))


def _fit_heads(
    likelihood: Likelihood, counts: np.ndarray, mean: np.ndarray
) -> tuple[dict[str, Tensor], np.ndarray]:
    """Maximum a posteriori of the noise heads, and the standard error of the first."""
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

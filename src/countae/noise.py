"""Post-hoc noise: each family fitted gene by gene around the same means, whoever made them.

Crossing every network with every noise family separates the quality of the mean (rows) from
that of the noise (columns). The recipe is the same for every network and baseline:

1. The mean is scaled per gene to the counts, c_j = (Σ x + 10)/(Σ m + 10), since a squared error
   on logarithms predicts medians; a mean below 1/1,000 of the gene's own average is lifted to
   it, since a squared error may predict zero or less. The mean is then held fixed.
2. Parameters are the maximum of the likelihood times a prior (:mod:`countae.noise_heads`).
3. Noise is widened, in all genes alike, by what the validation cells show that it is too narrow
   for cells that the means were not learnt from (:mod:`countae.kernels.unseen`).

Fitted on train and validation entries predicted while hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from countae import likelihoods
from countae.counts import CountMatrix
from countae.likelihoods._base import Likelihood
from countae.noise_heads import fit_heads, for_unseen, thinned
from countae.predict import Prediction

PSEUDO_COUNT = 10.0
LOWEST_MEAN = 1e-3  # of the gene's average at the cell's size


@dataclass(frozen=True)
class Noise:
    """One noise family fitted around given means.

    ``scale`` and ``gene_mean`` are (gene,); ``raw`` holds the family's ``noise_heads``, (gene,);
    ``standard_error`` is that of the first of these, (gene,), or empty.
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


def noise_cells(matrix: CountMatrix) -> np.ndarray:
    """Train and validation cells, thinned evenly when there are more than noise needs."""
    return thinned(matrix.fitted)


def noise_families() -> list[str]:
    """Likelihoods that can be put around any mean, simplest first."""
    members = [likelihoods.get(name) for name in likelihoods.names()]
    families = [member for member in members if member.noise_heads is not None]
    return [member.name for member in sorted(families, key=lambda member: member.complexity)]


def fit_noise(
    family: str,
    *,
    counts: np.ndarray,
    mean: np.ndarray,
    size_factor: np.ndarray,
    unseen: np.ndarray | None = None,
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
    unseen : ndarray, (cell,), bool, optional
        Cells that whoever predicts them has not learnt from, by which noise is widened.

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
        raw, error = fit_heads(likelihood, counts, m.numpy())
        if unseen is not None and unseen.any():
            raw = for_unseen(likelihood, raw, counts[unseen], m.numpy()[unseen])
    return Noise(likelihood, scale, gene_mean, raw, error)


def adjusted_mean(
    mean: np.ndarray, size_factor: np.ndarray, gene_mean: np.ndarray, scale: np.ndarray
) -> Tensor:
    """Means scaled per gene and lifted off zero, (cell, gene), float64."""
    size = size_factor if size_factor.ndim == 2 else size_factor[:, None]
    lowest = LOWEST_MEAN * size * gene_mean
    return torch.as_tensor(np.maximum(scale * mean, lowest))

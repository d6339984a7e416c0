"""Poisson: counts whose only noise is sampling."""

from __future__ import annotations

import numpy as np
import torch
from scipy import special
from torch import Tensor

from countae.kernels.count_pmf import log_poisson
from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, GeneMoments, Likelihood, to_numpy, to_tensor


@register("poisson")
class Poisson(Likelihood):
    r"""Poisson, :math:`P(x) = e^{-μ} μ^x / x!`; variance equals the mean.

    ``mean`` is μ > 0, (cell, gene), the size factor included.
    Reference: Sarkar & Stephens 2021, doi:10.1038/s41588-021-00873-4.

    >>> import torch
    >>> from countae.likelihoods import Poisson
    >>> Poisson().distribution(mean=2.0).log_prob(torch.tensor([0.0, 1.0, 2.0])).exp()
    tensor([0.1353, 0.2707, 0.2707])
    """

    name = "poisson"
    title = "Poisson"
    reference = "10.1038/s41588-021-00873-4"
    complexity = 0
    heads = {"log_mean": "entry"}
    parameters = ("mean",)
    noise_heads = ()

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        return {"log_mean": moments.mean.log()}

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        return {"mean": size_factor * raw["log_mean"].exp()}

    def log_pmf(self, counts: Tensor, *, mean: Tensor) -> Tensor:
        return log_poisson(counts, mean)

    def compiled_loss(self) -> CompiledLoss | None:
        from countae.kernels.fused_counts import (
            poisson,
        )  # numba takes a third of a second to import

        return CompiledLoss(tuple(self.heads), poisson)

    def cdf(self, counts: Tensor, *, mean: Tensor) -> Tensor:
        x = to_numpy(counts)
        value = special.gammaincc(np.maximum(x, 0) + 1, to_numpy(mean))
        return to_tensor(np.where(x < 0, 0.0, value), mean)

    def recursion(self, *, mean: Tensor) -> tuple[Tensor, ...]:
        zero = torch.exp(-mean)
        return zero, zero * mean, torch.zeros_like(mean), mean

    def mean(self, *, mean: Tensor) -> Tensor:
        return mean

    def variance(self, *, mean: Tensor) -> Tensor:
        return mean

    def sample(self, rng: np.random.Generator, *, mean: Tensor) -> Tensor:
        return to_tensor(rng.poisson(to_numpy(mean)), mean)

    def from_mean(self, mean: Tensor) -> dict[str, Tensor]:
        return {"mean": mean}

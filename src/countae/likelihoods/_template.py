"""Geometric: the negative binomial of inverse dispersion 1, in the form of a new loss."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from countae.likelihoods import register
from countae.likelihoods._base import GeneMoments, Likelihood, to_numpy, to_tensor


@register("_template")
class Template(Likelihood):
    r"""Geometric, :math:`P(x) = \frac{1}{1+μ} \bigl(\frac{μ}{1+μ}\bigr)^x`; variance μ + μ².

    ``mean`` is μ > 0, (cell, gene), the size factor included.
    Reference: Johnson, Kemp & Kotz 2005, Univariate Discrete Distributions, section 5.2.

    >>> from countae.likelihoods import Template
    >>> Template().distribution(mean=3.0).prob_zero
    tensor(0.2500)
    """

    name = "_template"
    title = "A new loss (_template)"
    reference = "isbn:978-0-471-27246-5"
    complexity = 1  # rank in the order of simplicity (docs/method.md): Poisson 0, NB 1, ZINB 6
    heads = {"log_mean": "entry"}  # what the network puts out: per "entry", or per "gene"
    parameters = ("mean",)  # what `constrain` makes of it; arguments of all methods below

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        return {"log_mean": moments.mean.log()}

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        return {"mean": size_factor * raw["log_mean"].exp()}

    def log_pmf(self, counts: Tensor, *, mean: Tensor) -> Tensor:
        # the training loss is its negative; define `loss` as well where it is another
        # x log μ − (x + 1) log(1 + μ) would cancel where both are large
        return -counts * torch.log1p(1 / mean) - torch.log1p(mean)

    def cdf(self, counts: Tensor, *, mean: Tensor) -> Tensor:
        value = -torch.expm1(-(counts.clamp(min=0) + 1) * torch.log1p(1 / mean))
        return torch.where(counts < 0, torch.zeros_like(value), value)

    def mean(self, *, mean: Tensor) -> Tensor:
        return mean

    def variance(self, *, mean: Tensor) -> Tensor:
        return mean + mean * mean

    def sample(self, rng: np.random.Generator, *, mean: Tensor) -> Tensor:
        return to_tensor(rng.geometric(1 / (1 + to_numpy(mean))) - 1, mean)

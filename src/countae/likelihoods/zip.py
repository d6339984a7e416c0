"""Zero-inflated Poisson: Poisson counts, some of them replaced by zeros."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, GeneMoments, Likelihood, to_numpy, to_tensor
from countae.likelihoods._best_start import best_heads
from countae.likelihoods.poisson import Poisson

_POISSON = Poisson()


@register("zip")
class ZeroInflatedPoisson(Likelihood):
    r"""Zero-inflated Poisson: 0 with probability :math:`π`, else Poisson(μ).

    .. math:: P(0) = π + (1-π) e^{-μ}, \quad P(x) = (1-π) e^{-μ} μ^x / x!

    ``mean`` is the Poisson component's mean μ > 0 (the count's own mean is (1−π)μ) and
    ``zero_logit`` is logit π, one per gene and cell. Both broadcast to (cell, gene). The only
    spread beyond sampling comes from extra zeros: variance (1−π)μ(1 + πμ).
    Reference: Lambert 1992, doi:10.2307/1269547.

    >>> from countae.likelihoods import ZeroInflatedPoisson
    >>> ZeroInflatedPoisson().distribution(mean=2.0, zero_logit=-1.0).prob_zero
    tensor(0.3679)
    """

    name = "zip"
    title = "Zero-inflated Poisson (ZIP)"
    reference = "10.2307/1269547"
    complexity = 3
    heads = {"log_mean": "entry", "zero_logit": "entry"}
    parameters = ("mean", "zero_logit")

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        zero = moments.zero_probability
        return {
            "log_mean": moments.mean.log() - torch.log1p(-zero),
            "zero_logit": torch.logit(zero),
        }

    def best_start(
        self, counts: np.ndarray, size_factor: np.ndarray, moments: GeneMoments
    ) -> dict[str, Tensor]:
        return best_heads(self, counts, size_factor, self.start(moments))

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        return {"mean": size_factor * raw["log_mean"].exp(), "zero_logit": raw["zero_logit"]}

    def log_pmf(self, counts: Tensor, *, mean: Tensor, zero_logit: Tensor) -> Tensor:
        from_poisson = logsigmoid(-zero_logit) + _POISSON.log_pmf(counts, mean=mean)
        at_zero = torch.logaddexp(logsigmoid(zero_logit), from_poisson)
        return torch.where(counts == 0, at_zero, from_poisson)

    def compiled_loss(self) -> CompiledLoss:
        from countae.kernels.fused_counts import zip_  # numba takes a third of a second to import

        return CompiledLoss(tuple(self.heads), zip_)

    def cdf(self, counts: Tensor, *, mean: Tensor, zero_logit: Tensor) -> Tensor:
        poisson = _POISSON.cdf(counts, mean=mean)
        value = torch.sigmoid(zero_logit) + torch.sigmoid(-zero_logit) * poisson
        return torch.where(counts < 0, torch.zeros_like(poisson), value)

    def prob_zero(self, *, mean: Tensor, zero_logit: Tensor) -> Tensor:
        return torch.sigmoid(zero_logit) + torch.sigmoid(-zero_logit) * torch.exp(-mean)

    def recursion(self, *, mean: Tensor, zero_logit: Tensor) -> tuple[Tensor, ...]:
        zero, one, a, b = _POISSON.recursion(mean=mean)
        extra, rest = torch.sigmoid(zero_logit), torch.sigmoid(-zero_logit)
        return extra + rest * zero, rest * one, a, b

    def mean(self, *, mean: Tensor, zero_logit: Tensor) -> Tensor:
        return torch.sigmoid(-zero_logit) * mean

    def variance(self, *, mean: Tensor, zero_logit: Tensor) -> Tensor:
        return torch.sigmoid(-zero_logit) * mean * (1 + torch.sigmoid(zero_logit) * mean)

    def sample(self, rng: np.random.Generator, *, mean: Tensor, zero_logit: Tensor) -> Tensor:
        mean, zero = torch.broadcast_tensors(mean, torch.sigmoid(zero_logit))
        poisson = _POISSON.sample(rng, mean=mean)
        return poisson * to_tensor(rng.random(poisson.shape) >= to_numpy(zero), poisson)

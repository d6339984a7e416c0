"""Absolute error on raw counts: Laplace noise, whose location is a median."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from countae.kernels.special import LOG_TWO, log1mexp
from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss
from countae.likelihoods._cut_density import OnCounts


@register("l1")
class AbsoluteError(OnCounts):
    r"""Absolute error on raw counts, :math:`|x - m|` with m = size factor × exp(network output).

    Scored as the Laplace density that it assumes, :math:`e^{-|x-m|/s}/2s`, cut into integers.
    ``scale`` s is each gene's most probable one of entries predicted while hidden; the
    variance is 2s². The best m is a median: in genes that are zero in more than half of the cells
    it is zero, whatever scale of counts is used, so expect no denoising there.
    Reference: Koenker & Bassett 1978, doi:10.2307/1913643.

    >>> from countae.likelihoods import AbsoluteError
    >>> AbsoluteError().distribution(location=2.0, scale=1.5, size_factor=1.0).prob_zero
    tensor(0.1839)
    """

    name = "l1"
    title = "Absolute error on counts (L1)"
    reference = "10.2307/1913643"

    def compiled_loss(self) -> CompiledLoss:
        from countae.kernels.fused_residuals import l1  # numba takes a third of a second to import

        return CompiledLoss(("log_location",), l1)

    def penalty(self, residual: Tensor) -> Tensor:
        return residual.abs()

    def log_scale_of(self, mean_loss: Tensor) -> Tensor:
        return mean_loss.log()

    def log_below(self, value: Tensor, spread: Tensor) -> Tensor:
        tail = -value.abs() - LOG_TWO
        return torch.where(value > 0, log1mexp(tail), tail)

    def unit_variance(self, spread: Tensor) -> Tensor:
        return torch.full_like(spread, 2.0)

    def draw(self, rng: np.random.Generator, spread: np.ndarray) -> np.ndarray:
        return rng.laplace(size=spread.shape)

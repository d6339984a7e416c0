"""ZINB whose extra zeros follow the expression, by a logistic curve per gene."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, GeneMoments, no_noise
from countae.likelihoods._best_start import best_heads
from countae.likelihoods.zinb import ZeroInflatedNegativeBinomial


@no_noise
@register("zinb_logistic")
class ZeroInflatedNegativeBinomialLogistic(ZeroInflatedNegativeBinomial):
    r"""ZINB(μ, θ, π) of ``zinb`` with :math:`\mathrm{logit}\,π_{ij} = a_j + b_j \log μ_{ij}`.

    ``zero_intercept`` a and ``zero_slope`` b are one per gene; :math:`μ_{ij}` is the NB part's
    mean at the cell's depth. b = 0 is ``zinb_gene``; b = −1 for all genes is splatter's dropout,
    with which b starts: extra zeros are rarer the higher the expression.
    Reference: Zappia et al. 2017, doi:10.1186/s13059-017-1305-0 (Methods, dropout); ZIFA, Pierson
    et al. 2015, doi:10.1186/s13059-015-0805-z (zeros that follow the mean).

    >>> from countae.likelihoods import ZeroInflatedNegativeBinomialLogistic
    >>> claim = ZeroInflatedNegativeBinomialLogistic().distribution(
    ...     mean=2.0, inverse_dispersion=0.5, zero_logit=0.0
    ... )
    >>> claim.variance
    tensor(6.)
    """

    name = "zinb_logistic"
    title = "ZINB, zero probability logistic in the mean"
    reference = "10.1186/s13059-017-1305-0"
    complexity = 5
    heads = {
        "log_mean": "entry", "log_inverse_dispersion": "gene",
        "zero_intercept": "gene", "zero_slope": "gene",
    }  # fmt: skip
    start_noise = "zinb"

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        """The zero probability of the moments at the gene's mean, and a slope of −1."""
        usual = super().start(moments)
        slope = torch.full_like(usual["log_mean"], -1.0)
        intercept = usual.pop("zero_logit") - slope * usual["log_mean"]
        return usual | {"zero_intercept": intercept, "zero_slope": slope}

    def best_start(
        self, counts: np.ndarray, size_factor: np.ndarray, moments: GeneMoments
    ) -> dict[str, Tensor]:
        return best_heads(self, counts, size_factor, self.start(moments))

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        log_mean = size_factor.log() + raw["log_mean"]
        return {
            "mean": log_mean.exp(),
            "inverse_dispersion": raw["log_inverse_dispersion"].exp(),
            "zero_logit": raw["zero_intercept"] + raw["zero_slope"] * log_mean,
        }

    def compiled_loss(self) -> CompiledLoss:
        from countae.kernels.fused_counts import (
            zinb_logistic,
        )  # numba takes a third of a second to import

        return CompiledLoss(tuple(self.heads), zinb_logistic)

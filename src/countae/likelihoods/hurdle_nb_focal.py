"""Hurdle NB whose zeros are learnt by a focal loss, which looks at the hard cases."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss
from countae.likelihoods.hurdle_nb import HurdleNegativeBinomial, log_truncated


@register("hurdle_nb_focal")
class HurdleNegativeBinomialFocal(HurdleNegativeBinomial):
    r"""The hurdle NB with a focal loss in place of the cross-entropy of zero or not.

    .. math:: -(1 - q)^γ \log q, \quad γ = 2,

    with q the probability given to what was seen, zero or not; positive counts add the truncated
    NB's term as in ``hurdle_nb``. Most entries are zeros that are easily told; the factor takes
    their weight away. It is no proper loss: its best q is not the probability of a zero but nearer
    to ½, so that the claim, the same mass function as that of ``hurdle_nb``, has too few zeros
    in rare genes and too many in others, and scores worse by design. What it should be read for is
    the mean of positive counts and the latent space. At the best q the true probability is known,

    .. math:: \mathrm{logit}\,P(0) = \log φ'(1 - q) / φ'(q), \quad φ(q) = -(1-q)^γ \log q,

    and the variant ``recalibrated`` is scored with it.
    References: Lin et al. 2017, doi:10.1109/ICCV.2017.324, eq. 4; that it is not proper, and the
    way back: Charoenphakdee et al. 2021, doi:10.1109/CVPR46437.2021.00516.

    >>> from countae.likelihoods import HurdleNegativeBinomialFocal
    >>> claim = HurdleNegativeBinomialFocal().distribution(
    ...     mean=2.0, inverse_dispersion=0.5, prob_zero_logit=0.0
    ... )
    >>> claim.prob_zero
    tensor(0.5000)
    """

    name = "hurdle_nb_focal"
    title = "Hurdle negative binomial, focal loss of zeros"
    reference = "10.1109/ICCV.2017.324"
    focus: ClassVar[float] = 2.0

    def loss(self, counts: Tensor, **parameters: Tensor) -> Tensor:
        logit, mean = parameters["prob_zero_logit"], parameters["mean"]
        of_seen = torch.where(counts == 0, logit, -logit)
        focal = softplus(-of_seen) * torch.exp(self.focus * logsigmoid(-of_seen))
        truncated = log_truncated(counts, mean, parameters["inverse_dispersion"])
        return focal - torch.where(counts == 0, torch.zeros_like(truncated), truncated)

    def compiled_loss(self) -> CompiledLoss:
        from countae.kernels.fused_counts import (
            hurdle_nb_focal,
        )  # numba takes a third of a second to import

        return CompiledLoss(tuple(self.heads), hurdle_nb_focal)

    def variants(self, parameters: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """``recalibrated``: the probability of a zero at which the focal loss has its best q."""
        logit = parameters["prob_zero_logit"]
        true_logit = self._log_slope(-logit) - self._log_slope(logit)
        return {"recalibrated": parameters | {"prob_zero_logit": true_logit}}

    def _log_slope(self, logit: Tensor) -> Tensor:
        """Logarithm of −φ′ at the probability with this logit."""
        from_logarithm = math.log(self.focus) + softplus(-logit).log()
        return (self.focus - 1) * logsigmoid(-logit) + torch.logaddexp(-logit, from_logarithm)

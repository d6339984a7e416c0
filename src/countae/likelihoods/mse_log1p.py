"""Squared error on log1p-normalised counts: the habit of the field."""

from __future__ import annotations

import torch
from torch import Tensor

from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, GeneMoments
from countae.likelihoods._squared_error import SquaredError


@register("mse_log1p")
class MseLog1p(SquaredError):
    r"""Squared error on :math:`g(x) = \log(1 + x/s_i)`, with :math:`s_i` the size factor.

    The size factor is the library size over the training cells' median, so this is scanpy's
    ``normalize_total`` (to the median) followed by ``log1p``. The distribution is the Gaussian
    on the integers of :class:`SquaredError`. ``mean`` is the usual back-transform
    :math:`s_i(e^m - 1)`, which is the median and underestimates the expected count.
    Reference: Ahlmann-Eltze & Huber 2023, doi:10.1038/s41592-023-01814-1 (the transform).

    >>> from countae.likelihoods import MseLog1p
    >>> MseLog1p().distribution(location=1.0, scale=0.5, size_factor=1.0).prob_zero
    tensor(0.1172)
    """

    name = "mse_log1p"
    title = "Squared error on log1p counts (MSE)"
    reference = "10.1038/s41592-023-01814-1"
    logarithmic = True
    size_in_target = True

    def compiled_loss(self) -> CompiledLoss | None:
        from countae.kernels.fused_residuals import (
            mse_log1p,
        )  # numba takes a third of a second to import

        return CompiledLoss(("location",), mse_log1p)

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        return {"location": moments.log1p_mean, "log_scale": 0.5 * moments.log1p_mean.log()}

    def transform(self, counts: Tensor, size_factor: Tensor) -> Tensor:
        return torch.log1p(counts / size_factor)

    def inverse(self, value: Tensor, size_factor: Tensor) -> Tensor:
        return size_factor * torch.expm1(value)

    def variance(self, *, location: Tensor, scale: Tensor, size_factor: Tensor) -> Tensor:
        """Variance of the log-normal that the Gaussian on the log scale implies."""
        square = scale.square()
        return size_factor.square() * torch.exp(2 * location + square) * torch.expm1(square)

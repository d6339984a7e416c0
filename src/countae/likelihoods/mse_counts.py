"""Squared error on raw counts: Gaussian noise of one size, whatever the count."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from countae.kernels import cut_normal
from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss
from countae.likelihoods._cut_density import OnCounts
from countae.likelihoods._squared_error import SquaredError

STEPS = 5  # of the secant method; enough for six digits
SLOPES = (0.3, 3.0)  # of the log variance in the log spread; 2 for a normal that is not cut
SMALLEST_MOVE = 1e-6  # of the log spread; a slope over less is rounding
LOWEST = math.log(cut_normal.SMALLEST_SPREAD)


@register("mse_counts")
class MseCounts(OnCounts, SquaredError):
    r"""Squared error on raw counts, :math:`(x - m)^2` with m = size factor × exp(network output).

    Scored as the Gaussian on the integers of :class:`SquaredError`, with g the identity.
    Reference: Bishop 2006, Pattern Recognition and Machine Learning, eq. 1.62 (least squares is
    Gaussian maximum likelihood).
    """

    name = "mse_counts"
    title = "Squared error on counts (MSE)"
    reference = "isbn:978-0-387-31073-2"
    noise_from_residuals = True

    def compiled_loss(self) -> CompiledLoss:
        from countae.kernels.fused_residuals import (
            mse_counts,
        )  # numba takes a third of a second to import

        return CompiledLoss(("log_location",), mse_counts)

    def from_mean(self, mean: Tensor, log_scale: Tensor) -> dict[str, Tensor]:
        # cutting at zero raises the expected count above the location
        scale = log_scale.exp()
        location, variance = cut_normal.location_and_variance(mean, scale)
        return {
            "location": location, "scale": scale, "size_factor": mean.new_ones(1, 1),
            "count_mean": mean, "count_variance": variance,
        }  # fmt: skip

    def mean(self, **parameters: Tensor) -> Tensor:
        """The location, a negative one zero; as noise, the mean that was given."""
        return (
            parameters["count_mean"] if "count_mean" in parameters else super().mean(**parameters)
        )

    def variance(self, **parameters: Tensor) -> Tensor:
        """That of the Gaussian before it is cut; as noise, that of the counts."""
        if "count_variance" in parameters:
            return parameters["count_variance"]
        return super().variance(**parameters)

    def residual_noise(self, counts: Tensor, mean: Tensor) -> dict[str, Tensor]:
        """Spread at which the cut normal's counts have the observed mean squared residual.

        Solved by the secant method at sixteen quantiles of each gene's means.
        """
        squares = (counts - mean).square()
        observed = (squares.sum(dim=0) + squares.mean()) / (len(squares) + 1)
        levels = (torch.arange(16, dtype=mean.dtype) + 0.5) / 16
        at = torch.quantile(mean, levels, dim=0)
        log_scale = (0.5 * observed.log()).clamp(min=LOWEST)
        slope, before = torch.full_like(log_scale, 2.0), None
        for _ in range(STEPS):
            excess = cut_normal.variance_at(at, log_scale.exp()).mean(dim=0).log() - observed.log()
            if before is not None:
                moved = (log_scale - before[0]).abs() > SMALLEST_MOVE
                found = (excess - before[1]) / (log_scale - before[0])
                slope = torch.where(moved, found.clamp(*SLOPES), slope)
            before = log_scale, excess
            log_scale = (log_scale - excess / slope).clamp(min=LOWEST)
        return {"log_scale": log_scale}

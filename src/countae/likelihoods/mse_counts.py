"""Squared error on raw counts: Gaussian noise of one size, whatever the count."""

from __future__ import annotations

import torch
from torch import Tensor

from countae.kernels import cut_normal
from countae.likelihoods import register
from countae.likelihoods._cut_density import OnCounts
from countae.likelihoods._squared_error import SquaredError

STEPS = 12  # of the fixed-point iteration; enough for three digits


@register("mse_counts")
class MseCounts(OnCounts, SquaredError):
    r"""Squared error on raw counts, :math:`(x - m)^2` with m = size factor × network output.

    Scored as the Gaussian on the integers of :class:`SquaredError`, with g the identity.
    Reference: Bishop 2006, Pattern Recognition and Machine Learning, eq. 1.62 (least squares is
    Gaussian maximum likelihood).

    >>> import torch
    >>> from countae.likelihoods import MseCounts
    >>> claim = MseCounts().distribution(
    ...     location=2.0, scale=1.5, size_factor=1.0
    ... )
    >>> claim.log_prob(torch.tensor([0.0, 2.0])).exp()
    tensor([0.1587, 0.2611])
    """

    name = "mse_counts"
    title = "Squared error on counts (MSE)"
    reference = "isbn:978-0-387-31073-2"
    noise_from_residuals = True

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

        Solved by fixed-point steps at sixteen quantiles of each gene's means.
        """
        squares = (counts - mean).square()
        observed = (squares.sum(dim=0) + squares.mean()) / (len(squares) + 1)
        levels = (torch.arange(16, dtype=mean.dtype) + 0.5) / 16
        at = torch.quantile(mean, levels, dim=0)
        spread = observed.sqrt().clamp(min=cut_normal.SMALLEST_SPREAD)
        for _ in range(STEPS):
            ratio = observed / cut_normal.variance_at(at, spread).mean(dim=0)
            spread = (spread * ratio.sqrt().clamp(0.5, 2.0)).clamp(min=cut_normal.SMALLEST_SPREAD)
        return {"log_scale": spread.log()}

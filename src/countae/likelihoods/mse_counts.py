"""Squared error on raw counts: Gaussian noise of one size, whatever the count."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from countae.kernels import cut_normal
from countae.kernels.newton import Derivatives, by_differences
from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, to_numpy
from countae.likelihoods._cut_density import OnCounts
from countae.likelihoods._squared_error import SquaredError

DIFFERENCE = 0.05  # of the log spread, for derivatives; the grid of locations is no finer


@register("mse_counts")
class MseCounts(OnCounts, SquaredError):
    r"""Squared error on raw counts, :math:`(x - m)^2` with m = size factor × exp(network output).

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
    noise_heads = ("log_scale",)

    def compiled_loss(self) -> CompiledLoss:
        from countae.kernels.fused_residuals import (
            mse_counts,
        )  # numba takes a third of a second to import

        return CompiledLoss(("log_location",), mse_counts)

    def from_mean(self, mean: Tensor, log_scale: Tensor) -> dict[str, Tensor]:
        # cutting at zero raises the expected count above the location
        scale = _scale(log_scale)
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

    def noise_guess(self, counts: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Log of the root mean squared residual, but not where the spread is at its lowest."""
        squares = np.square(counts - mean).mean(axis=0)
        return np.log(np.maximum(np.sqrt(squares), 2 * cut_normal.SMALLEST_SPREAD))

    def noise_derivatives(self, counts: np.ndarray, mean: np.ndarray) -> Derivatives:
        x, m = torch.as_tensor(counts, dtype=torch.float64), torch.as_tensor(mean)
        one = m.new_ones(1, 1)

        def log_likelihood(log_scale: np.ndarray, genes: np.ndarray) -> np.ndarray:
            scale = _scale(torch.as_tensor(log_scale))
            location = cut_normal.location_of(m[:, genes], scale)
            log_pmf = self.log_pmf(x[:, genes], location=location, scale=scale, size_factor=one)
            return to_numpy(log_pmf.sum(dim=0))

        return by_differences(log_likelihood, DIFFERENCE, cells=len(x))


def _scale(log_scale: Tensor) -> Tensor:
    """Spread of the noise; a narrower one puts nearly all counts on one integer."""
    return log_scale.exp().clamp(min=cut_normal.SMALLEST_SPREAD)

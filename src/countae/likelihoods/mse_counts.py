"""Squared error on raw counts: Gaussian noise of one size, whatever the count."""

from __future__ import annotations

from torch import Tensor

from countae.likelihoods import register
from countae.likelihoods._base import GeneMoments
from countae.likelihoods._squared_error import SquaredError


@register("mse_counts")
class MseCounts(SquaredError):
    r"""Squared error on raw counts, :math:`(x - m)^2` with m = size factor × network output.

    The Gaussian on the integers of :class:`SquaredError` with g the identity.
    Reference: Bishop 2006, Pattern Recognition and Machine Learning, eq. 1.62 (least squares is
    Gaussian maximum likelihood).
    """

    name = "mse_counts"
    title = "Squared error on counts (MSE)"
    reference = "isbn:978-0-387-31073-2"

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        return {"location": moments.mean, "log_scale": 0.5 * moments.mean.log()}

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        return super().constrain(raw | {"location": size_factor * raw["location"]}, size_factor)

    def transform(self, counts: Tensor, size_factor: Tensor) -> Tensor:
        return counts

    def inverse(self, value: Tensor, size_factor: Tensor) -> Tensor:
        return value

    def variance(self, *, location: Tensor, scale: Tensor, size_factor: Tensor) -> Tensor:
        return scale.square().expand_as(location)

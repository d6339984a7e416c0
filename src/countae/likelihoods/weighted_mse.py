"""Squared error on raw counts, each over the variance that a Poisson of the gene would have."""

from __future__ import annotations

from torch import Tensor

from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, GeneMoments
from countae.likelihoods._cut_density import OnCounts
from countae.likelihoods._squared_error import SquaredError


@register("weighted_mse")
class WeightedMse(OnCounts, SquaredError):
    r"""Weighted squared error, :math:`w_j (x_{ij} - m_{ij})^2 / s_i` with :math:`w_j = 1/r_j`.

    :math:`s_i r_j` is the gene's mean at the cell's size factor, which is its variance if it were
    Poisson: a residual of a rare gene weighs more, and one in a deep cell less. m is size factor
    × exp(network output). Scored as the Gaussian with variance :math:`σ_j^2 s_i r_j`, cut into
    integers; ``scale`` σ, (gene,), is the most probable one of entries predicted while hidden.
    ``weight`` w, (gene,), is set from the training cells and not learnt.
    Reference: Wedderburn 1974, doi:10.1093/biomet/61.3.439 (variance as a function of the mean).

    >>> from countae.likelihoods import WeightedMse
    >>> claim = WeightedMse().distribution(
    ...     location=2.0, scale=1.5, size_factor=1.0, weight=0.5
    ... )
    >>> claim.prob_zero
    tensor(0.2398)
    """

    name = "weighted_mse"
    title = "Weighted squared error on counts"
    reference = "10.1093/biomet/61.3.439"
    size_in_target = True
    heads = {"log_location": "entry", "log_scale": "gene", "log_weight": "gene"}
    parameters = ("location", "scale", "size_factor", "weight")

    def compiled_loss(self) -> CompiledLoss:
        from countae.kernels.fused_residuals import (
            weighted_mse,
        )  # numba takes a third of a second to import

        return CompiledLoss(("log_location", "log_weight"), weighted_mse)

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        over_poisson = 1 + moments.mean / moments.inverse_dispersion
        return {
            "log_location": moments.mean.log(),
            "log_scale": 0.5 * over_poisson.log(),
            "log_weight": -moments.mean.log(),
        }

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        return super().constrain(raw, size_factor) | {"weight": raw["log_weight"].exp()}

    def loss(self, counts: Tensor, **parameters: Tensor) -> Tensor:
        weight = parameters["weight"].detach() / parameters["size_factor"]
        return weight * super().loss(counts, **parameters)

    def spread(self, **parameters: Tensor) -> Tensor:
        return parameters["scale"] * (parameters["size_factor"] / parameters["weight"]).sqrt()

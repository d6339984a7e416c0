"""What squared errors share: the density that they claim is a Gaussian."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from countae.kernels.recursion import normal_step_score
from countae.likelihoods._base import flattened
from countae.likelihoods._cut_density import CutDensity


class SquaredError(CutDensity):
    """Squared error on a transformed count, read as the Gaussian that it assumes.

    ``logarithmic`` says whether g is log1p at the cell's size factor, or the identity.
    """

    logarithmic: ClassVar[bool] = False

    def penalty(self, residual: Tensor) -> Tensor:
        return torch.square(residual)

    def log_scale_of(self, mean_loss: Tensor) -> Tensor:
        return 0.5 * mean_loss.log()

    def log_below(self, value: Tensor, spread: Tensor) -> Tensor:
        return torch.special.log_ndtr(value)

    def below(self, value: Tensor, spread: Tensor) -> Tensor:
        return torch.special.ndtr(value)

    def draw(self, rng: np.random.Generator, spread: np.ndarray) -> np.ndarray:
        return rng.standard_normal(spread.shape)

    def unit_variance(self, spread: Tensor) -> Tensor:
        return torch.ones_like(spread)

    def step_score(
        self, counts: np.ndarray, tail: float, **parameters: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        shape = torch.broadcast_shapes(*(value.shape for value in parameters.values()))
        wanted = (parameters["location"], self.spread(**parameters), parameters["size_factor"])
        location, spread, size = flattened(wanted, shape)
        return normal_step_score(counts, location, spread, size, self.logarithmic, tail)

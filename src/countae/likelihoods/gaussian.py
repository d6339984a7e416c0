"""Gaussian with a variance per gene that is learnt together with the mean."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, GeneMoments
from countae.likelihoods._cut_density import OnCounts
from countae.likelihoods._squared_error import SquaredError
from countae.likelihoods.mse_counts import MseCounts


@register("gaussian")
class Gaussian(OnCounts, SquaredError):
    r"""Gaussian on raw counts with one learnt variance per gene.

    .. math:: -\log p(x) = \frac{(x-m)^2}{2s^2} + \log s + \frac12 \log 2π

    is the training loss; the claim that is scored is that of ``mse_counts``: the same Gaussian,
    cut into integers. The two differ in the weights of genes in training: here a residual counts
    relative to its gene's spread, there the largest counts decide. That spread is the one of the
    density; the one of the mass that is scored is set after training, as for ``mse_counts``.
    ``location`` m is size factor × exp(network output), (cell, gene); ``scale`` s > 0 is (gene,).
    Reference: Nix & Weigend 1994, doi:10.1109/ICNN.1994.374138.

    >>> from countae.likelihoods import Gaussian
    >>> Gaussian().distribution(location=2.0, scale=1.5, size_factor=1.0).prob_zero
    tensor(0.1587)
    """

    name = "gaussian"
    title = "Gaussian with a learnt variance"
    reference = "10.1109/ICNN.1994.374138"

    def compiled_loss(self) -> CompiledLoss:
        from countae.kernels.fused_residuals import (
            gaussian,
        )  # numba takes a third of a second to import

        return CompiledLoss(("log_location", "log_scale"), gaussian)

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        variance = moments.mean * (1 + moments.mean / moments.inverse_dispersion)
        return {"log_location": moments.mean.log(), "log_scale": 0.5 * variance.log()}

    def best_start(
        self, counts: np.ndarray, size_factor: np.ndarray, moments: GeneMoments
    ) -> dict[str, Tensor]:
        """The spread that residuals around the gene's mean have."""
        start = self.start(moments)
        location = self.constrain(start, torch.as_tensor(size_factor))["location"]
        square = (torch.as_tensor(counts) - location).square()
        per_gene = (square.sum(dim=0) + moments.mean) / (len(square) + 1)  # never 0
        return start | {"log_scale": 0.5 * per_gene.log()}

    def loss(self, counts: Tensor, **parameters: Tensor) -> Tensor:
        scale = parameters["scale"]
        residual = (counts - parameters["location"]) / scale
        return 0.5 * residual.square() + scale.log() + 0.5 * math.log(2 * math.pi)

    def calibrate(
        self, counts: Tensor, parameters: dict[str, Tensor], unseen: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The scale of the mass that is scored, as ``mse_counts`` has it."""
        return MseCounts().calibrate(counts, parameters, unseen)

    def variants(self, parameters: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """None: the loss asserts a scale per gene."""
        return {}

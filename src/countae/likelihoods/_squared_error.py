"""What squared errors share: a Gaussian on a transformed scale, cut into integers."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from countae.kernels.recursion import normal_step_score
from countae.kernels.special import log_normal_interval
from countae.likelihoods._base import Likelihood, flattened, to_numpy, to_tensor


class SquaredError(Likelihood):
    r"""Squared error on a transformed count, read as the Gaussian that it assumes.

    The Gaussian of the transformed count g(x), with ``location`` m and ``scale`` s, gives the
    integer k the mass between k − ½ and k + ½; all mass below ½ is a zero:
    :math:`P(k) = Φ((g(k+½)-m)/s) - Φ((g(k-½)-m)/s)`, :math:`P(0) = Φ((g(½)-m)/s)`.
    These are exact masses, so no Jacobian is needed and none is used.

    ``mean`` and ``variance`` are those of the Gaussian before it is cut, transformed back: what a
    user of the loss asserts and reports. ``log_pmf``, ``cdf`` and ``prob_zero`` are exact.

    ``logarithmic`` says whether g is log1p at the cell's size factor, or the identity.
    ``location`` is (cell, gene); ``scale`` > 0 is one per gene, from residuals of hidden
    validation entries, because the loss itself says nothing of it; ``size_factor`` is (cell, 1).
    """

    complexity = 1
    heads = {"location": "entry", "log_scale": "gene"}
    parameters = ("location", "scale", "size_factor")
    logarithmic: ClassVar[bool]

    @abstractmethod
    def transform(self, counts: Tensor, size_factor: Tensor) -> Tensor:
        """The scale on which the error is squared, increasing in ``counts``."""

    @abstractmethod
    def inverse(self, value: Tensor, size_factor: Tensor) -> Tensor:
        """Count whose transform is ``value``."""

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        return {
            "location": raw["location"],
            "scale": raw["log_scale"].exp(),
            "size_factor": size_factor,
        }

    def loss(
        self, counts: Tensor, *, location: Tensor, scale: Tensor, size_factor: Tensor
    ) -> Tensor:
        return torch.square(self.transform(counts, size_factor) - location)

    def calibrate(self, counts: Tensor, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """Root mean squared residual per gene; one residual of the overall size is added.

        The added one keeps the scale of a gene that is zero in all validation cells above zero.
        """
        squares = self.loss(counts, **parameters)
        per_gene = (squares.sum(dim=0) + squares.mean()) / (len(squares) + 1)
        return {"log_scale": 0.5 * per_gene.log()}

    def variants(self, parameters: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """``single_scale``: one s for all genes, which is what a plain squared error asserts."""
        scale = parameters["scale"]
        return {
            "single_scale": parameters | {"scale": scale.square().mean().sqrt().expand_as(scale)}
        }

    def log_pmf(
        self, counts: Tensor, *, location: Tensor, scale: Tensor, size_factor: Tensor
    ) -> Tensor:
        upper = (self.transform(counts + 0.5, size_factor) - location) / scale
        below = (self.transform((counts - 0.5).clamp(min=0), size_factor) - location) / scale
        lower = torch.where(counts > 0, below, torch.full_like(below, -torch.inf))
        return log_normal_interval(lower, upper)

    def cdf(
        self, counts: Tensor, *, location: Tensor, scale: Tensor, size_factor: Tensor
    ) -> Tensor:
        upper = self.transform(counts.clamp(min=0) + 0.5, size_factor)
        value = torch.special.ndtr((upper - location) / scale)
        return torch.where(counts < 0, torch.zeros_like(value), value)

    def step_score(
        self, counts: np.ndarray, tail: float, **parameters: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        shape = torch.broadcast_shapes(*(value.shape for value in parameters.values()))
        names = ("location", "scale", "size_factor")
        location, scale, size = flattened((parameters[name] for name in names), shape)
        return normal_step_score(counts, location, scale, size, self.logarithmic, tail)

    def mean(self, *, location: Tensor, scale: Tensor, size_factor: Tensor) -> Tensor:
        """Back-transformed location, what a user of the loss reports; a negative one is zero."""
        return self.inverse(location.clamp(min=0), size_factor)

    def sample(
        self, rng: np.random.Generator, *, location: Tensor, scale: Tensor, size_factor: Tensor
    ) -> Tensor:
        noise = to_tensor(rng.standard_normal(to_numpy(location).shape), location)
        drawn = self.inverse(location + scale * noise, size_factor)
        return torch.ceil(drawn - 0.5).clamp(min=0)

"""Huber's loss on raw counts: squared error near the location, absolute error beyond δ."""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

from countae.kernels.special import log1mexp, log_normal_interval
from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, to_numpy
from countae.likelihoods._cut_density import OnCounts

ROOT_TWO_PI = math.sqrt(2 * math.pi)
FARTHEST = -1e30  # residual over its spread, with no mass beyond
HALVINGS = 60  # of a bracket that is a factor of two wide: to the last bit


@register("huber")
class Huber(OnCounts):
    r"""Huber's loss ρ of the residual r = x − m, with m = size factor × exp(network output).

    .. math:: ρ(r) = r^2/2 \;\text{ for } |r| \le δ, \quad δ(|r| - δ/2) \;\text{ beyond}

    δ is one count: a rare gene's zeros and ones are averaged as by a squared error, while a count
    far from its location pulls no more than any other. Scored as the density
    :math:`e^{-ρ(r)/s^2}/sZ`, cut into integers, where with c = δ/s

    .. math:: Z = \sqrt{2π}\,\mathrm{erf}(c/\sqrt2) + \tfrac2c e^{-c^2/2}.

    ``scale`` s is one per gene, the one at which the expected loss is that of hidden validation
    entries. δ → ∞ is the Gaussian with standard deviation s, δ → 0 the Laplace density with scale
    s²/δ. On log1p counts the tails :math:`e^{-δ|r|/s^2}` would be a power law of the count,
    without a variance where s² ≥ δ/2; hence raw counts.
    Reference: Huber 1964, doi:10.1214/aoms/1177703732.

    >>> from countae.likelihoods import Huber
    >>> Huber().distribution(location=2.0, scale=1.5, size_factor=1.0).variance
    tensor(10.4101)
    """

    name = "huber"
    title = "Huber loss on counts"
    reference = "10.1214/aoms/1177703732"
    delta: ClassVar[float] = 1.0

    def compiled_loss(self) -> CompiledLoss:
        from countae.kernels.fused_residuals import (
            huber,
        )  # numba takes a third of a second to import

        return CompiledLoss(("log_location",), partial(huber, delta=self.delta))

    def penalty(self, residual: Tensor) -> Tensor:
        size = residual.abs()
        inner = size.clamp(max=self.delta)
        return inner * (size - 0.5 * inner)

    def log_scale_of(self, mean_loss: Tensor) -> Tensor:
        # E[ρ] is between s²/2 (Gaussian) and s² (Laplace), and rises with s
        low, high = mean_loss.log(), mean_loss.log() + math.log(2.0)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            inner, outer = _halves(self.delta * torch.exp(-0.5 * middle))
            small = middle + torch.log((0.5 * inner + outer) / (inner + outer)) < mean_loss.log()
            low, high = torch.where(small, middle, low), torch.where(small, high, middle)
        return 0.25 * (low + high)

    def log_below(self, value: Tensor, spread: Tensor) -> Tensor:
        # below all counts the residual is −∞, whose slopes would not be numbers
        c, left = self.delta / spread, (-value.abs()).clamp(min=FARTHEST)
        inner, outer = _halves(c)
        beyond = c * (left + 0.5 * c) - c.log()
        # outside, another interval stands in for the empty one, whose gradient is not a number
        inside = torch.where(left <= -c, torch.zeros_like(left), left)
        middle = log_normal_interval(-c.expand_as(left), inside)
        within = torch.logaddexp(-0.5 * c * c - c.log(), middle + math.log(ROOT_TWO_PI))
        tail = torch.where(left <= -c, beyond, within) - (inner + outer).log()
        return torch.where(value > 0, log1mexp(tail), tail)

    def unit_variance(self, spread: Tensor) -> Tensor:
        c = self.delta / spread
        inner, outer = _halves(c)
        return (inner + outer * (2 + 2 / c.square())) / (inner + outer)

    def draw(self, rng: np.random.Generator, spread: np.ndarray) -> np.ndarray:
        c = self.delta / spread
        inner, outer = (to_numpy(half) for half in _halves(torch.as_tensor(c)))
        lowest = ndtr(-c)
        near = ndtri(lowest + rng.random(c.shape) * (1 - 2 * lowest))
        far = (c + rng.exponential(size=c.shape) / c) * rng.choice([-1.0, 1.0], size=c.shape)
        return np.where(rng.random(c.shape) * (inner + outer) < inner, near, far)


def _halves(c: Tensor) -> tuple[Tensor, Tensor]:
    """Mass of exp(−ρ) within ±c and beyond; their sum is Z."""
    return ROOT_TWO_PI * torch.erf(c / math.sqrt(2.0)), 2 / c * torch.exp(-0.5 * c * c)

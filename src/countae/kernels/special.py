"""Special functions in the form that keeps precision where the textbook form cancels."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

LOG_TWO = math.log(2.0)
STIRLING_FROM = 16.0  # below it lgamma's difference is exact enough; above it the series is


def log_rising_ratio(counts: Tensor, theta: Tensor) -> Tensor:
    r"""Sum of ``log1p(k / θ)`` over k < x, i.e. :math:`\log\Gamma(x+θ)-\log\Gamma(θ)-x\log θ`.

    The difference of two ``lgamma`` loses all digits where θ is large and a gene approaches
    Poisson. From θ = 16 on, Stirling's series (Abramowitz & Stegun 6.1.41, four terms, error
    below 1e-13) is used for both, so that the leading terms cancel on paper instead.

    Parameters
    ----------
    counts : Tensor, (cell, gene), float, ≥ 0
    theta : Tensor, broadcastable to ``counts``, > 0

    Returns
    -------
    Tensor, (cell, gene), ≥ 0
    """
    positive = counts > 0  # most counts are 0, where the sum is empty: skip the costly functions
    value = _log_rising_ratio(counts[positive], theta.expand_as(counts)[positive])
    return torch.zeros_like(counts, dtype=value.dtype).masked_scatter(positive, value)


def _log_rising_ratio(counts: Tensor, theta: Tensor) -> Tensor:
    """``log_rising_ratio`` of positive counts."""
    large = theta >= STIRLING_FROM
    at_small = torch.where(large, torch.ones_like(theta), theta)
    at_large = torch.where(large, theta, torch.full_like(theta, STIRLING_FROM))
    exact = torch.lgamma(counts + at_small) - torch.lgamma(at_small) - counts * torch.log(at_small)
    shifted = counts + at_large
    series = (
        (shifted - 0.5) * torch.log1p(counts / at_large)
        - counts
        + _stirling_remainder(shifted)
        - _stirling_remainder(at_large)
    )
    return torch.where(large, series, exact)


def _stirling_remainder(z: Tensor) -> Tensor:
    """``lgamma(z) - [(z - ½) log z - z + ½ log 2π]`` for z ≥ 16."""
    inverse_square = 1.0 / (z * z)
    terms = 1 / 360 - inverse_square * (1 / 1260 - inverse_square * (1 / 1680))
    return (1 / 12 - inverse_square * terms) / z


def log_interval(log_below: Callable[[Tensor], Tensor], lower: Tensor, upper: Tensor) -> Tensor:
    r"""Log of a symmetric density's mass between two points, :math:`\log(F(u)-F(l))`.

    Works in the lower tail, where log F keeps its digits: an interval right of zero is mirrored
    first. ``lower`` may be −∞.

    Parameters
    ----------
    log_below : callable
        log F of a density that is symmetric around zero.
    lower, upper : Tensor, same shape, ``lower < upper``

    Returns
    -------
    Tensor, same shape, ≤ 0
    """
    mirror = lower > 0
    low = torch.where(mirror, -upper, lower)
    high = torch.where(mirror, -lower, upper)
    log_high = log_below(high)
    return log_high + log1mexp(log_below(low) - log_high)


def log_normal_interval(lower: Tensor, upper: Tensor) -> Tensor:
    r"""Log of the standard normal's mass between two points, :math:`\log(Φ(u)-Φ(l))`."""
    return log_interval(torch.special.log_ndtr, lower, upper)


def log1mexp(negative: Tensor) -> Tensor:
    """``log(1 - exp(a))`` for a < 0, by Mächler's switch at −log 2."""
    near = negative > -LOG_TWO
    # log1p(-1) near 0 would make the gradient NaN even where the other form is taken
    far = torch.where(near, torch.full_like(negative, -LOG_TWO), negative)
    return torch.where(near, torch.log(-torch.expm1(negative)), torch.log1p(-torch.exp(far)))

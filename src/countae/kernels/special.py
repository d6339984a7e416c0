"""Special functions in the form that keeps precision where the textbook form cancels."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_normal_interval(lower: Tensor, upper: Tensor) -> Tensor:
    r"""Log of the standard normal's mass between two points, :math:`\log(Φ(u)-Φ(l))`.

    Works in the lower tail, where ``log_ndtr`` keeps its digits: an interval right of zero is
    mirrored first. ``lower`` may be −∞.

    Parameters
    ----------
    lower, upper : Tensor, same shape, ``lower < upper``

    Returns
    -------
    Tensor, same shape, ≤ 0
    """
    mirror = lower > 0
    low = torch.where(mirror, -upper, lower)
    high = torch.where(mirror, -lower, upper)
    log_high = torch.special.log_ndtr(high)
    gap = torch.special.log_ndtr(low) - log_high
    return log_high + log1mexp(gap)


def log1mexp(negative: Tensor) -> Tensor:
    """``log(1 - exp(a))`` for a < 0, by Mächler's switch at −log 2."""
    return torch.where(
        negative > -math.log(2.0),
        torch.log(-torch.expm1(negative)),
        torch.log1p(-torch.exp(negative)),
    )

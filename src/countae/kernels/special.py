"""Special functions in the form that keeps precision where the textbook form cancels."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

LOG_TWO = math.log(2.0)


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

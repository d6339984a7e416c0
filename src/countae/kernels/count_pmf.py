r"""Log-probabilities of counts in saddle-point form, exact to a few roundings, float32 or float64.

A difference of ``lgamma`` loses all digits where θ or the count is large. Here the leading terms
cancel on paper (Loader 2000, Fast and accurate computation of binomial probabilities):

.. math::
    \log P_{Poisson}(x) = -D(x, μ) - δ(x) - ½\log 2πx

    \log P_{NB}(x) = -D(x, nq) - D(θ, np) + δ(n) - δ(θ) - δ(x) - ½\log(1 + x/θ) - ½\log 2πx

with n = x + θ, q = μ/(μ+θ), p = θ/(μ+θ), the deviance D(a, b) = a log(a/b) − a + b ≥ 0 and the
remainder δ of Stirling's formula. At x = 0 nothing is left but −μ and −θ log(1 + μ/θ).
Slopes are written down, since autograd would cancel again; they are plain Torch operations, from
which second derivatives follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
STIRLING = (
    1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400,
)  # fmt: skip
DEVIANCE_NEAR = 1 / 3  # |a − b| / (a + b) below which a series is better than a logarithm
SLOPE_NEAR = 1 / 5  # the same for slopes
BLOCK = 16_384  # entries that fit a processor's cache


def log_poisson(counts: Tensor, mean: Tensor) -> Tensor:
    """Log-probability of counts ≥ 0 under Poisson(μ), ≤ 0; differentiable in μ.

    Parameters
    ----------
    counts, mean : Tensor, broadcastable to (cell, gene)

    Returns
    -------
    Tensor, (cell, gene)
    """
    at = torch.broadcast_tensors(counts.to(mean.dtype), mean)
    value: Tensor = _LogPoisson.apply(*at)
    return value


def log_negative_binomial(counts: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """Log-probability of counts ≥ 0 under NB(μ, θ), ≤ 0; differentiable in μ and θ.

    Parameters
    ----------
    counts, mean, theta : Tensor, broadcastable to (cell, gene)

    Returns
    -------
    Tensor, (cell, gene)
    """
    at = torch.broadcast_tensors(counts.to(mean.dtype), mean, theta)
    value: Tensor = _LogNegativeBinomial.apply(*at)
    return value


def log_zero_inflated(counts: Tensor, log_pmf: Tensor, zero_logit: Tensor) -> Tensor:
    """Log-probability of counts that are 0 with probability π, else drawn from another family.

    Parameters
    ----------
    counts, log_pmf, zero_logit : Tensor, broadcastable to (cell, gene)
        ``log_pmf`` ≤ 0 of the counts in the other family; ``zero_logit`` is logit π.

    Returns
    -------
    Tensor, (cell, gene), ≤ 0; differentiable in ``log_pmf`` and ``zero_logit``
    """
    at = torch.broadcast_tensors(counts, log_pmf, zero_logit)
    value: Tensor = _LogZeroInflated.apply(*at)
    return value


class _LogPoisson(torch.autograd.Function):
    """Value by the saddle-point form at non-zero counts; slope x/μ − 1."""

    @staticmethod
    def forward(ctx: Any, counts: Tensor, mean: Tensor) -> Tensor:
        ctx.save_for_backward(counts, mean)
        value, positive = -mean, _nonzero(counts)
        x, mu = _counts_at(counts, positive), _at(mean, positive)
        return _replaced(value, positive, -deviance(x, mu, x - mu) - _log_peak(x))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        counts, mean = ctx.saved_tensors
        return None, (counts - mean) / _above_zero(mean) * grad


class _LogNegativeBinomial(torch.autograd.Function):
    """Value by the saddle-point form at non-zero counts; slopes in one form for all counts."""

    @staticmethod
    def forward(ctx: Any, counts: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
        positive = _nonzero(counts)
        ctx.save_for_backward(counts, mean, theta, positive)
        x, mu, size = _counts_at(counts, positive), _at(mean, positive), _at(theta, positive)
        n, total, gap = x + size, mu + size, x - mu
        shift = gap * (size / total)
        away = deviance(x, n * (mu / total), shift) + deviance(size, n * (size / total), -shift)
        remainder = stirling_remainder(n) - stirling_remainder(size)
        at_positive = remainder - away - 0.5 * torch.log1p(x / size) - _log_peak(x)
        at_zero = mean.div(theta).log1p_().mul_(theta).neg_()
        return _replaced(at_zero, positive, at_positive)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        counts, mean, theta, positive = ctx.saved_tensors
        of_mean, of_theta = _in_blocks(_deviance_slopes, counts, mean, theta, grad)
        x, size = _counts_at(counts, positive), _at(theta, positive)
        n = x + size
        remainder = 0.5 * (x / n) / size + stirling_slope(n) - stirling_slope(size)
        remainder = _at(grad, positive) * remainder
        return None, of_mean, _increased(of_theta, positive, remainder)


class _LogZeroInflated(torch.autograd.Function):
    """Value on logits; slopes by the posterior w that a count is no extra zero, 1 for x > 0."""

    @staticmethod
    def forward(ctx: Any, counts: Tensor, log_pmf: Tensor, zero_logit: Tensor) -> Tensor:
        (value,) = _in_blocks(_zero_inflated, counts, log_pmf, zero_logit)
        ctx.save_for_backward(counts, log_pmf, zero_logit, value)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        of_log_pmf, of_logit = _in_blocks(_zero_inflated_slopes, *ctx.saved_tensors, grad)
        return None, of_log_pmf, of_logit


def _zero_inflated(counts: Tensor, log_pmf: Tensor, zero_logit: Tensor) -> tuple[Tensor]:
    # not softplus, which leaves out its smaller part above 20
    own = log_pmf + logsigmoid(-zero_logit)
    zero = torch.logaddexp(own, logsigmoid(zero_logit)).clamp(max=0)
    return (torch.where(counts == 0, zero, own),)


def _zero_inflated_slopes(
    counts: Tensor, log_pmf: Tensor, zero_logit: Tensor, value: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    w = torch.where(counts == 0, torch.exp(log_pmf + logsigmoid(-zero_logit) - value), 1)
    return w * grad, (1 - w - torch.sigmoid(zero_logit)) * grad


def _deviance_slopes(
    counts: Tensor, mean: Tensor, theta: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Slopes of −D(x, nq) − D(θ, np) in μ and in θ, times ``grad``."""
    total, gap = mean + theta, counts - mean
    of_theta = log_minus_linear(counts + theta, total, gap)
    return gap / total * theta / _above_zero(mean) * grad, of_theta * grad


def _above_zero(mean: Tensor) -> Tensor:
    """A mean that may have underflowed to 0, to divide by: a count of 0 is then no 0/0."""
    return mean.clamp(min=torch.finfo(mean.dtype).tiny)


def _in_blocks(function: Callable[..., tuple[Tensor, ...]], *values: Tensor) -> tuple[Tensor, ...]:
    """Results of an entrywise function, slice by slice along the first axis on a CPU.

    Its temporaries then stay in the cache; at full size most of the time goes into page faults.
    """
    first = values[0]
    if first.device.type != "cpu" or first.numel() <= BLOCK:
        return function(*values)
    rows = max(1, BLOCK * len(first) // first.numel())
    slices = zip(*(value.split(rows) for value in values), strict=True)
    return tuple(
        torch.cat(parts) for parts in zip(*(function(*block) for block in slices), strict=True)
    )


def _nonzero(counts: Tensor) -> Tensor:
    """Where counts are not 0: most are, where little is to be computed.

    On a CPU their row-major index. Elsewhere a mask, since their number is not known without
    waiting for the device, and all entries are computed, zeros as if they were ones.
    """
    if counts.device.type != "cpu":
        return counts > 0
    return counts.reshape(-1).nonzero().squeeze(-1)


def _at(values: Tensor, where: Tensor) -> Tensor:
    """Values at what :func:`_nonzero` gave: some of them, or all."""
    return values if where.dtype == torch.bool else torch.take(values, where)


def _counts_at(counts: Tensor, where: Tensor) -> Tensor:
    """Counts there, > 0."""
    if where.dtype == torch.bool:
        return torch.where(where, counts, 1)
    return torch.take(counts, where)


def _replaced(fresh: Tensor, where: Tensor, values: Tensor) -> Tensor:
    """A tensor made for this, with other values there."""
    if where.dtype == torch.bool:
        return torch.where(where, values, fresh)
    return fresh.reshape(-1).scatter_(0, where, values).reshape(fresh.shape)


def _increased(fresh: Tensor, where: Tensor, values: Tensor) -> Tensor:
    """A tensor with something added there."""
    if where.dtype == torch.bool:
        return fresh + torch.where(where, values, 0)
    return fresh.reshape(-1).index_add(0, where, values).reshape(fresh.shape)


def _log_peak(x: Tensor) -> Tensor:
    """``log x! − x log x + x`` of x > 0: minus the log-probability of x under Poisson(x)."""
    return stirling_remainder(x) + 0.5 * torch.log(x) + HALF_LOG_2PI


def deviance(a: Tensor, b: Tensor, gap: Tensor) -> Tensor:
    """``a log(a/b) − a + b`` ≥ 0 for a, b > 0; ``gap`` is a − b, which the caller knows better."""
    s = gap / (a + b)
    near = gap * s * (1 + s * (1 + s) * _atanh_tail(s, DEVIANCE_NEAR))
    log_ratio = torch.copysign(torch.log1p(gap.abs() / torch.minimum(a, b)), gap)
    return torch.where(s.abs() < DEVIANCE_NEAR, near, a * log_ratio - gap)


def log_minus_linear(a: Tensor, b: Tensor, gap: Tensor) -> Tensor:
    """``log(a/b) − (a − b)/b`` ≤ 0 for a, b > 0; ``gap`` is a − b."""
    s, share = gap / (a + b), gap / b
    near = s * (2 * s * s * _atanh_tail(s, SLOPE_NEAR) - share)
    return torch.where(s.abs() < SLOPE_NEAR, near, torch.log(a / b) - share)


def _atanh_tail(s: Tensor, bound: float) -> Tensor:
    """``(atanh(s)/s − 1)/s²`` for |s| < bound: 1/3 + s²/5 + s⁴/7 …, to the dtype's precision."""
    terms = math.floor(math.log(torch.finfo(s.dtype).eps) / (2 * math.log(bound)))
    return _polynomial(s * s, [1 / (2 * k + 3) for k in range(terms)])


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """``c₀ + c₁x + c₂x² …`` by Horner's rule."""
    *others, before, last = coefficients
    value = last * x + before
    for coefficient in reversed(others):
        value = value * x + coefficient
    return value


def _series_from(dtype: torch.dtype) -> tuple[int, int]:
    """Where Stirling's series begins and how many terms reach the dtype's precision there."""
    return (12, 8) if dtype == torch.float64 else (4, 5)


def stirling_remainder(z: Tensor) -> Tensor:
    """``lgamma(z) − [(z − ½) log z − z + ½ log 2π]`` for z > 0."""
    start, terms = _series_from(z.dtype)
    large = z.clamp(min=start)
    series = _polynomial(1 / (large * large), STIRLING[:terms]) / large
    direct = torch.lgamma(z) - ((z - 0.5) * torch.log(z) - z) - HALF_LOG_2PI
    return torch.where(z < start, direct, series)


def stirling_slope(z: Tensor) -> Tensor:
    """``digamma(z) − log z + 1/2z``, the derivative of the remainder, by recurrence and series.

    Torch's own digamma is slow, and its derivative has seven digits only.
    """
    start, terms = _series_from(z.dtype)
    small = z < start
    large = torch.where(small, z + start, z)
    y = 1 / (large * large)
    series = -y * _polynomial(y, [(2 * k + 1) * c for k, c in enumerate(STIRLING[:terms])])
    low = torch.where(small, z, 1)
    steps = sum(1 / (low + k) for k in range(1, start))
    recurred = torch.log1p(start / low) - 0.5 / low - 0.5 / (low + start) - steps
    return series + torch.where(small, recurred, 0)

r"""Poisson counts of log-normal rates, by the trapezoidal rule around the integrand's mode.

With rate :math:`e^{m+r}`, r ~ N(0, v), the log-integrand x(m + r) − e^{m+r} − r²/2v has one mode,
at the r with r = v(x − λ), λ = e^{m+r}. There, with t the distance from it,

.. math::
    P(x) = \mathrm{Poisson}(x; λ)\; e^{-r(x-λ)/2}\;
           \frac{1}{\sqrt{2πv}} \int e^{-λ(e^t - 1 - t) - t^2/2v} dt

Each factor is at most 1, none cancels, and the integral is of a function without other scales
than its own width and that of :math:`e^t`: the trapezoidal rule converges exponentially
(Trefethen & Weideman 2014, doi:10.1137/130932132), for every count and every v. Gauss–Hermite
nodes centred at the mode (Liu & Pierce 1994, doi:10.1093/biomet/81.3.624) do so only where the
integrand is nearly normal, which it is not for a count of 0 and a large v.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import special
from torch import Tensor

from countae.kernels.count_pmf import log_poisson
from countae.kernels.precision import widened

MOST_STEPS = 60  # of Newton's method, which converges from above and by at least 1 a step
NODES = (12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)
BLOCK = 1 << 20  # numbers in memory at once


class Rule(NamedTuple):
    """How finely the integral is taken: depth in nats, step over width, step over that of e^t."""

    depth: float
    of_width: float
    of_exponential: float


TRAINING = Rule(22.0, 0.75, 0.42)  # 3e-8
FULL = Rule(38.0, 0.60, 0.25)  # 2e-12


def log_poisson_lognormal(counts: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """Log-probability of counts ≥ 0 with expected rate μ and rate variance μ²/θ, ≤ 0.

    Differentiable once in μ and θ. Computed in float64; for float32 by a coarser rule.

    Parameters
    ----------
    counts, mean, theta : Tensor, broadcastable to (cell, gene)

    Returns
    -------
    Tensor, (cell, gene)
    """
    at = torch.broadcast_tensors(counts.to(mean.dtype), mean, theta)
    value: Tensor = _LogPoissonLognormal.apply(*at)
    return value


class _LogPoissonLognormal(torch.autograd.Function):
    """Value and slopes in one pass; slopes are posterior expectations."""

    @staticmethod
    def forward(ctx: Any, counts: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
        rule = FULL if mean.dtype == torch.float64 else TRAINING
        x, mu, size = (value.reshape(-1) for value in widened(counts, mean, theta))
        value, of_mean, of_theta = _value_and_slopes(x, mu, size, rule)
        ctx.save_for_backward(of_mean.to(mean.dtype), of_theta.to(mean.dtype))
        return value.to(mean.dtype).reshape(counts.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        of_mean, of_theta = (slope.reshape(grad.shape) for slope in ctx.saved_tensors)
        return None, of_mean * grad, of_theta * grad


def _value_and_slopes(x: Tensor, mu: Tensor, theta: Tensor, rule: Rule) -> tuple[Tensor, ...]:
    """Log P and its derivatives in μ and θ, (entry,) each."""
    v = torch.log1p(1 / theta)
    r = mode(x, mu, v)
    rate = mu * torch.exp(r - 0.5 * v)
    gap = x - rate
    log_integral, up, up_square, away, away_square = _integral(rate, v, rule)
    value = log_poisson(x, rate) - 0.5 * r * gap + log_integral
    # in location and variance: E[x − rate] and ½E[(x − rate)² − rate], or, where these cancel,
    # E[r]/v and ½E[r²/v − 1]/v
    wide = rate * v > 1
    of_location = torch.where(wide, (r + away) / v, gap - rate * up)
    by_rate = gap * gap - 2 * gap * rate * up + rate * (rate * up_square - up - 1)
    by_width = (gap * (r + 2 * away) + away_square / v - 1) / v
    of_variance = 0.5 * torch.where(wide, by_width, by_rate)
    of_theta = (0.5 * of_location - of_variance) / (theta * (1 + theta))
    return value, of_location / mu, of_theta


def mode(x: Tensor, mu: Tensor, v: Tensor) -> Tensor:
    """The r with r = v(x − μ e^{r − v/2}): Newton's method on a convex function, from above."""
    start = mu * torch.exp(-0.5 * v)
    r = torch.minimum(v * (x - start), torch.log(x / start)).clamp(min=0)
    for _ in range(MOST_STEPS):
        pull = v * start * torch.exp(r)
        step = (r - v * x + pull) / (1 + pull)
        r = r - step
        if bool((step.abs() <= 1e-15 * (1 + r.abs())).all()):
            break
    return r


def _integral(rate: Tensor, v: Tensor, rule: Rule) -> tuple[Tensor, ...]:
    """Log of the integral, and expectations of e^t − 1, its square, t and t²; (entry,) each."""
    left, right, step = panel(rate, v, rule)
    needed = torch.ceil((left + right) / step) + 1
    out = rate.new_empty(5, len(rate))
    least = 0
    for nodes in NODES:
        chosen = ((needed > least) & (needed <= nodes)).nonzero().squeeze(1)
        least = nodes
        for some in chosen.split(max(1, BLOCK // nodes)):
            k = torch.arange(nodes, dtype=rate.dtype, device=rate.device)
            width = ((left + right)[some] / (nodes - 1))[:, None]
            t = k * width - left[some, None]
            up = torch.expm1(t)
            weight = torch.exp(-rate[some, None] * (up - t) - t * t / (2 * v[some, None]))
            total = weight.sum(1)
            log_total = torch.log(total * width[:, 0]) - 0.5 * torch.log(2 * math.pi * v[some])
            sums = [(weight * f).sum(1) / total for f in (up, up * up, t, t * t)]
            out[:, some] = torch.stack([log_total.clamp(max=0), *sums])
    return tuple(out)


def panel(rate: Tensor, v: Tensor, rule: Rule) -> tuple[Tensor, Tensor, Tensor]:
    """How far the integrand reaches left and right of its mode, and the step; (entry,) each."""
    normal, ratio = torch.sqrt(2 * rule.depth * v), rule.depth / rate
    # e^t − 1 − t is above t²/2 and e^t/4 right of 1, above t²/3 down to −1 and |t| − 1 beyond
    right = torch.minimum(torch.sqrt(2 * ratio), torch.log(4 * ratio).clamp(min=1))
    left = torch.where(3 * ratio <= 1, torch.sqrt(3 * ratio), 1 + ratio)
    width = torch.rsqrt(rate + 1 / v)
    step = (rule.of_width * width).clamp(max=rule.of_exponential)
    return torch.minimum(left, normal), torch.minimum(right, normal), step


def cumulated(x: np.ndarray, mean: np.ndarray, theta: np.ndarray) -> np.ndarray:
    r"""P(X ≤ x), (entry,), float64, for x ≥ 0, integers or not.

    A count is at most x where a Gamma(x + 1) variable exceeds the rate, so that, with u its
    logarithm and Z standard normal, :math:`F = P(m + \sqrt v Z < u)`. One of the two densities is
    integrated against the distribution function of the other: the narrower one.
    """
    v = np.log1p(1 / theta)
    m, sigma = np.log(mean) - v / 2, np.sqrt(v)
    by_gamma = sigma * np.sqrt(x + 1) > 1
    value = np.empty(x.shape)
    for some, one in ((by_gamma, _against_gamma), (~by_gamma, _against_normal)):
        index = np.flatnonzero(some)
        for part in np.array_split(index, -(-len(index) // 4096) or 1):
            value[part] = one(x[part, None], m[part, None], sigma[part, None])
    return value


def _against_normal(x: np.ndarray, m: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    z = np.arange(-8.8, 8.81, 0.4)
    with np.errstate(over="ignore"):
        below = special.gammaincc(x + 1, np.exp(m + sigma * z))
    return below @ (np.exp(-z * z / 2) / np.exp(-z * z / 2).sum())


def _against_gamma(x: np.ndarray, m: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    shape = torch.as_tensor(x[:, 0] + 1)
    left, right, _ = (
        value.numpy()[:, None] for value in panel(shape, torch.full_like(shape, torch.inf), FULL)
    )
    t = -left + (left + right) * np.linspace(0, 1, 192)
    weight = np.exp(-(x + 1) * (np.expm1(t) - t))
    below = special.ndtr((np.log(x + 1) + t - m) / sigma)
    return (weight * below).sum(1) / weight.sum(1)

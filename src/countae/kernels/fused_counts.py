r"""Losses of counts and their slopes in one pass over entries: Poisson, NB, ZIP, ZINB, hurdles.

Every public function takes ``count``, (entry,), float32, and ``lanes``, (1 + head, entry),
float32: the size factor, then one head value per entry. In place, the size factor becomes the
loss, −log P, and each head value its slope.

Most counts are zero. Zeros are done in single precision, eight at a time: with u = μ/θ,
L = −log NB(0) = θ log1p(u), and a ZINB's zero is :math:`-\log(π + (1-π)e^{-L})`. Counts above zero
follow one by one in double precision, by

.. math:: \log P(x) = \sum_{k<x} \log(1 + k/θ) + x \log μ - (x + θ) \log(1 + μ/θ) - \log x!,

where nothing cancels that double precision would miss.
"""

from __future__ import annotations

from math import exp, expm1, lgamma, log, log1p

import numpy as np

from countae.kernels import simd
from countae.kernels.compiled import compiled, elementwise, entry
from countae.kernels.zinb_loops import DIRECT, antiderivatives

f32, f64 = np.float32, np.float64
ONE, ZERO = f32(1), f32(0)
LOG_FACTORIAL = np.array([lgamma(k + 1.0) for k in range(DIRECT + 1)])
LARGE = 1e200  # a running product is turned into its logarithm beyond


@compiled
def _log_factorial(x):  # type: ignore[no-untyped-def]
    """``log x!``."""
    return LOG_FACTORIAL[int(x)] if x <= DIRECT else lgamma(x + 1.0)


@compiled
def _rising(x, theta):  # type: ignore[no-untyped-def]
    """Sums over 1 ≤ k < x of log(1 + k/θ) and k/(θ + k): direct to 32, Euler–Maclaurin beyond."""
    product, logarithm, slope = 1.0, 0.0, 0.0
    for k in range(1, int(min(x, DIRECT))):
        product *= 1.0 + k / theta
        slope += k / (theta + k)
        if product > LARGE:
            logarithm, product = logarithm + log(product), 1.0
    logarithm += log(product)
    if x > DIRECT:
        low, high = antiderivatives(f64(DIRECT), theta), antiderivatives(x, theta)
        logarithm, slope = logarithm + high[0] - low[0], slope + high[1] - low[1]
    return logarithm, slope


@compiled
def _softplus(z):  # type: ignore[no-untyped-def]
    """``log(1 + e^z)`` and its slope, the logistic function."""
    less = exp(-abs(z))
    share = 1.0 / (1.0 + less)
    return max(z, 0.0) + log1p(less), share if z > 0 else less * share


@compiled
def _poisson(x, size, log_mean):  # type: ignore[no-untyped-def]
    """Loss of x > 0 and its slope in log μ."""
    mu = size * exp(log_mean)
    return mu - x * (log_mean + log(size)) + _log_factorial(x), mu - x


@compiled
def _nb(x, size, log_mean, log_theta):  # type: ignore[no-untyped-def]
    """Loss of x > 0 and its slopes in log μ and log θ; then L and its two slopes."""
    theta = exp(log_theta)
    u = size * exp(log_mean) / theta
    rest = 1.0 / (1.0 + u)
    y, logarithm = u * rest, log1p(u)
    rising, sum_of_shares = _rising(x, theta)
    value = (x + theta) * logarithm - rising - x * (log_mean + log(size)) + _log_factorial(x)
    zero, of_mean, of_theta = theta * logarithm, theta * y, theta * (logarithm - y)
    return value, of_mean - x * rest, sum_of_shares + of_theta - x * y, zero, of_mean, of_theta


@elementwise
def _zeros_of_poisson(size, log_mean):  # type: ignore[no-untyped-def]
    for e in range(len(size)):
        mu = size[e] * simd.exp(log_mean[e])
        size[e], log_mean[e] = mu, mu


@elementwise
def _zeros_of_nb(size, log_mean, log_theta):  # type: ignore[no-untyped-def]
    for e in range(len(size)):
        theta = simd.exp(log_theta[e])
        logarithm, gap, y = simd.log1p_and_gap(size[e] * simd.exp(log_mean[e]) / theta)
        size[e], log_mean[e], log_theta[e] = theta * logarithm, theta * y, theta * gap


@entry
def _extra(zero, z):  # type: ignore[no-untyped-def]
    """Loss −log(π + (1−π)e^{−L}) of a zero, its slope in L, and its slope in z = logit π."""
    sum_ = z + zero
    p, q = simd.exp(-abs(z)), simd.exp(-abs(sum_))
    share_p, share_q = ONE / (ONE + p), ONE / (ONE + q)
    larger = ZERO if z > ZERO else (-z if sum_ > ZERO else zero)
    value = larger + simd.log1p((p - q) * share_q)
    pi = share_p if z > ZERO else p * share_p
    plain = q * share_q if sum_ > ZERO else share_q
    return value, plain, pi - (ONE - plain)


@elementwise
def _zeros_of_zip(size, log_mean, zero_logit):  # type: ignore[no-untyped-def]
    for e in range(len(size)):
        mu = size[e] * simd.exp(log_mean[e])
        value, plain, of_logit = _extra(mu, zero_logit[e])
        size[e], log_mean[e], zero_logit[e] = value, plain * mu, of_logit


@elementwise
def _zeros_of_zinb(size, log_mean, log_theta, zero_logit):  # type: ignore[no-untyped-def]
    for e in range(len(size)):
        theta = simd.exp(log_theta[e])
        logarithm, gap, y = simd.log1p_and_gap(size[e] * simd.exp(log_mean[e]) / theta)
        value, plain, of_logit = _extra(theta * logarithm, zero_logit[e])
        size[e], log_mean[e] = value, plain * theta * y
        log_theta[e], zero_logit[e] = plain * theta * gap, of_logit


@elementwise
def _zeros_of_hurdle(size, log_mean, log_theta, logit):  # type: ignore[no-untyped-def]
    for e in range(len(size)):
        z = simd.log(size[e]) - logit[e]
        less = simd.exp(-abs(z))
        share = ONE / (ONE + less)
        size[e] = (z if z > ZERO else ZERO) + simd.log1p(less)
        logit[e] = -share if z > ZERO else -less * share
        log_mean[e], log_theta[e] = ZERO, ZERO


@elementwise
def _zeros_of_focal_hurdle(size, log_mean, log_theta, logit):  # type: ignore[no-untyped-def]
    for e in range(len(size)):
        z = logit[e] - simd.log(size[e])
        less = simd.exp(-abs(z))
        share = ONE / (ONE + less)
        wrong, right = (less * share, share) if z > ZERO else (share, less * share)
        surprise, square = (ZERO if z > ZERO else -z) + simd.log1p(less), wrong * wrong
        size[e] = square * surprise
        logit[e] = -square * (wrong + f32(2) * right * surprise)
        log_mean[e], log_theta[e] = ZERO, ZERO


@elementwise
def _logits(size, log_mean, intercept, slope, at):  # type: ignore[no-untyped-def]
    """The logarithm of the mean into ``at``, and logit π in place of the intercept."""
    for e in range(len(size)):
        at[e] = simd.log(size[e]) + log_mean[e]
        intercept[e] += slope[e] * at[e]


@elementwise
def _of_logits(log_mean, of_logit, slope, at):  # type: ignore[no-untyped-def]
    """Back from slopes in log μ and logit π to those in log μ and the curve's slope."""
    for e in range(len(at)):
        log_mean[e] += slope[e] * of_logit[e]
        slope[e] = at[e] * of_logit[e]


@compiled
def _above_zero(count, lanes, index, kept):  # type: ignore[no-untyped-def]
    """Entries whose count is not 0 into ``index`` and ``kept`` (entry, lane); their number."""
    number = 0
    for e in range(len(count)):
        index[number] = e  # overwritten unless the next line moves on
        number += count[e] > ZERO
    for j in range(number):
        for lane in range(len(lanes)):
            kept[j, lane] = lanes[lane, index[j]]
    return number


@compiled
def poisson(count, lanes):  # type: ignore[no-untyped-def]
    """Lanes: size factor, log μ."""
    index, kept = np.empty(len(count) + 1, np.int32), np.empty((len(count), 2), np.float32)
    number = _above_zero(count, lanes, index, kept)
    _zeros_of_poisson(lanes[0], lanes[1])
    for j in range(number):
        e = index[j]
        lanes[0, e], lanes[1, e] = _poisson(f64(count[e]), f64(kept[j, 0]), f64(kept[j, 1]))


@compiled
def nb(count, lanes):  # type: ignore[no-untyped-def]
    """Lanes: size factor, log μ, log θ."""
    index, kept = np.empty(len(count) + 1, np.int32), np.empty((len(count), 3), np.float32)
    number = _above_zero(count, lanes, index, kept)
    _zeros_of_nb(lanes[0], lanes[1], lanes[2])
    for j in range(number):
        e, at = index[j], kept[j]
        found = _nb(f64(count[e]), f64(at[0]), f64(at[1]), f64(at[2]))
        lanes[0, e], lanes[1, e], lanes[2, e] = found[0], found[1], found[2]


@compiled
def zip_(count, lanes):  # type: ignore[no-untyped-def]
    """Lanes: size factor, log μ, logit π."""
    index, kept = np.empty(len(count) + 1, np.int32), np.empty((len(count), 3), np.float32)
    number = _above_zero(count, lanes, index, kept)
    _zeros_of_zip(lanes[0], lanes[1], lanes[2])
    for j in range(number):
        e, at = index[j], kept[j]
        value, slope = _poisson(f64(count[e]), f64(at[0]), f64(at[1]))
        spared, pi = _softplus(f64(at[2]))
        lanes[0, e], lanes[1, e], lanes[2, e] = value + spared, slope, pi


@compiled
def zinb(count, lanes):  # type: ignore[no-untyped-def]
    """Lanes: size factor, log μ, log θ, logit π."""
    index, kept = np.empty(len(count) + 1, np.int32), np.empty((len(count), 4), np.float32)
    number = _above_zero(count, lanes, index, kept)
    _zeros_of_zinb(lanes[0], lanes[1], lanes[2], lanes[3])
    for j in range(number):
        e, at = index[j], kept[j]
        found = _nb(f64(count[e]), f64(at[0]), f64(at[1]), f64(at[2]))
        spared, pi = _softplus(f64(at[3]))
        lanes[0, e], lanes[1, e] = found[0] + spared, found[1]
        lanes[2, e], lanes[3, e] = found[2], pi


@compiled
def zinb_logistic(count, lanes):  # type: ignore[no-untyped-def]
    """Lanes: size factor s, log μ, log θ, a, b, where logit π = a + b (log μ + log s)."""
    at = np.empty(len(count), np.float32)
    _logits(lanes[0], lanes[1], lanes[3], lanes[4], at)
    zinb(count, lanes[:4])
    _of_logits(lanes[1], lanes[3], lanes[4], at)


@compiled
def _truncated(x, size, log_mean, log_theta):  # type: ignore[no-untyped-def]
    """Loss of x > 0 under the NB without its zeros, and its slopes in log μ and log θ."""
    value, of_mean, of_theta, zero, zero_of_mean, zero_of_theta = _nb(x, size, log_mean, log_theta)
    odds = expm1(zero)  # log(1 − e^{−L}), by which the NB is truncated, has the slope 1/odds
    value += log(-expm1(-zero))
    return value, of_mean + zero_of_mean / odds, of_theta + zero_of_theta / odds


@compiled
def _hurdle(count, lanes, focal):  # type: ignore[no-untyped-def]
    """Both hurdles; ``wrong`` is the probability of what was not seen."""
    index, kept = np.empty(len(count) + 1, np.int32), np.empty((len(count), 4), np.float32)
    number = _above_zero(count, lanes, index, kept)
    if focal:
        _zeros_of_focal_hurdle(lanes[0], lanes[1], lanes[2], lanes[3])
    else:
        _zeros_of_hurdle(lanes[0], lanes[1], lanes[2], lanes[3])
    for j in range(number):
        e, at = index[j], kept[j]
        value, of_mean, of_theta = _truncated(f64(count[e]), f64(at[0]), f64(at[1]), f64(at[2]))
        surprise, wrong = _softplus(f64(at[3]) - log(f64(at[0])))
        of_logit = wrong
        if focal:
            of_logit = wrong * wrong * (wrong + 2.0 * (1.0 - wrong) * surprise)
            surprise *= wrong * wrong
        lanes[0, e], lanes[1, e] = value + surprise, of_mean
        lanes[2, e], lanes[3, e] = of_theta, of_logit


def hurdle_nb(count: np.ndarray, lanes: np.ndarray) -> None:
    """Lanes: size factor s, log μ, log θ, z, where P(0) has the logit z − log s."""
    _hurdle(count, lanes, False)


def hurdle_nb_focal(count: np.ndarray, lanes: np.ndarray) -> None:
    """The same with −(1 − q)² log q in place of −log q, q the probability of what was seen."""
    _hurdle(count, lanes, True)

"""Losses of a residual and their slopes in one pass over entries; see :mod:`fused_counts`.

Lanes are the size factor s and the logarithm of the location at size 1, and what else is named;
the residual is x − s m. On log1p counts the second lane is the location itself.
"""

from __future__ import annotations

import numpy as np

from countae.kernels import simd
from countae.kernels.compiled import elementwise

f32 = np.float32
ZERO, HALF, TWO = f32(0), f32(0.5), f32(2)
HALF_LOG_2PI = f32(0.9189385332046727)


@elementwise
def _squares(count, size, log_location):  # type: ignore[no-untyped-def]
    for e in range(len(count)):
        at = size[e] * simd.exp(log_location[e])
        residual = count[e] - at
        log_location[e] = -TWO * at * residual
        size[e] = residual * residual


@elementwise
def _log_squares(count, size, location):  # type: ignore[no-untyped-def]
    for e in range(len(count)):
        residual = simd.log1p(count[e] / size[e]) - location[e]
        location[e] = -TWO * residual
        size[e] = residual * residual


@elementwise
def _weighted_squares(count, size, log_location, log_weight):  # type: ignore[no-untyped-def]
    for e in range(len(count)):
        at, weight = size[e] * simd.exp(log_location[e]), simd.exp(log_weight[e]) / size[e]
        residual = count[e] - at
        log_location[e] = -TWO * weight * at * residual
        size[e] = weight * residual * residual
        log_weight[e] = ZERO


@elementwise
def _gaussians(count, size, log_location, log_scale):  # type: ignore[no-untyped-def]
    for e in range(len(count)):
        precision, at = simd.exp(-log_scale[e]), size[e] * simd.exp(log_location[e])
        residual = (count[e] - at) * precision
        square = residual * residual
        log_location[e] = -at * precision * residual
        size[e] = HALF * square + log_scale[e] + HALF_LOG_2PI
        log_scale[e] = f32(1) - square


@elementwise
def _absolutes(count, size, log_location):  # type: ignore[no-untyped-def]
    for e in range(len(count)):
        at = size[e] * simd.exp(log_location[e])
        residual = count[e] - at
        sign = f32(residual > ZERO) - f32(residual < ZERO)
        log_location[e] = -at * sign
        size[e] = abs(residual)


@elementwise
def _hubers(count, size, log_location, delta):  # type: ignore[no-untyped-def]
    for e in range(len(count)):
        at = size[e] * simd.exp(log_location[e])
        residual = count[e] - at
        low = residual if residual > -delta else -delta
        slope = low if low < delta else delta
        log_location[e] = -at * slope
        size[e] = slope * (residual - HALF * slope)


def mse_counts(count: np.ndarray, lanes: np.ndarray) -> None:
    """Squared error."""
    _squares(count, lanes[0], lanes[1])


def mse_log1p(count: np.ndarray, lanes: np.ndarray) -> None:
    """Squared error of log1p(x/s) − m."""
    _log_squares(count, lanes[0], lanes[1])


def weighted_mse(count: np.ndarray, lanes: np.ndarray) -> None:
    """Squared error times w/s; the third lane, log w, is given and gets no slope."""
    _weighted_squares(count, lanes[0], lanes[1], lanes[2])


def gaussian(count: np.ndarray, lanes: np.ndarray) -> None:
    """−log of the normal density; the third lane is the logarithm of its scale."""
    _gaussians(count, lanes[0], lanes[1], lanes[2])


def l1(count: np.ndarray, lanes: np.ndarray) -> None:
    """Absolute error; its slope at 0 is 0."""
    _absolutes(count, lanes[0], lanes[1])


def huber(count: np.ndarray, lanes: np.ndarray, delta: float) -> None:
    """Huber's loss."""
    _hubers(count, lanes[0], lanes[1], f32(delta))

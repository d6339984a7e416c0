"""Losses of a residual and their slopes in one pass over entries; see :mod:`fused_counts`.

Lanes are the size factor s and the location m, and what else is named. Except on log1p counts,
the residual is x − s m.
"""

from __future__ import annotations

import numpy as np

from countae.kernels import simd
from countae.kernels.compiled import elementwise

f32 = np.float32
ZERO, HALF, TWO = f32(0), f32(0.5), f32(2)
HALF_LOG_2PI = f32(0.9189385332046727)


@elementwise
def _squares(count, size, location):  # type: ignore[no-untyped-def]
    for e in range(len(count)):
        residual = count[e] - size[e] * location[e]
        location[e] = -TWO * size[e] * residual
        size[e] = residual * residual


@elementwise
def _log_squares(count, size, location):  # type: ignore[no-untyped-def]
    for e in range(len(count)):
        residual = simd.log1p(count[e] / size[e]) - location[e]
        location[e] = -TWO * residual
        size[e] = residual * residual


@elementwise
def _weighted_squares(count, size, location, log_weight):  # type: ignore[no-untyped-def]
    for e in range(len(count)):
        residual, weight = count[e] - size[e] * location[e], simd.exp(log_weight[e])
        location[e] = -TWO * weight * residual
        size[e] = weight * residual * residual / size[e]
        log_weight[e] = ZERO


@elementwise
def _gaussians(count, size, location, log_scale):  # type: ignore[no-untyped-def]
    for e in range(len(count)):
        precision = simd.exp(-log_scale[e])
        residual = (count[e] - size[e] * location[e]) * precision
        square = residual * residual
        location[e] = -size[e] * precision * residual
        size[e] = HALF * square + log_scale[e] + HALF_LOG_2PI
        log_scale[e] = f32(1) - square


@elementwise
def _absolutes(count, size, location):  # type: ignore[no-untyped-def]
    for e in range(len(count)):
        residual = count[e] - size[e] * location[e]
        sign = f32(residual > ZERO) - f32(residual < ZERO)
        location[e] = -size[e] * sign
        size[e] = abs(residual)


@elementwise
def _hubers(count, size, location, delta):  # type: ignore[no-untyped-def]
    for e in range(len(count)):
        residual = count[e] - size[e] * location[e]
        low = residual if residual > -delta else -delta
        slope = low if low < delta else delta
        location[e] = -size[e] * slope
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

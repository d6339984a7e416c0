"""Single-precision exp and log1p without branches, which a compiler can turn into SIMD loops.

The polynomials are those of the Cephes library (Moshier 1992), expf.c and logf.c; both functions
are within two roundings. A loop may hold at most eight pairs of arrays of which one is written, or
LLVM gives up looking for overlaps and falls back to one entry at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from countae.kernels.compiled import entry

f32, i32 = np.float32, np.int32
ONE, ZERO = f32(1), f32(0)
LOG_TWO_HIGH, LOG_TWO_LOW = f32(0.693359375), f32(-2.12194440e-4)
ROUNDING = f32(12582912.0)  # 1.5 · 2²³: adding it leaves no digits behind the point
HIGHEST, LOWEST = f32(88.72283), f32(-86.6)
ROOT_HALF_BITS = i32(0x3F3504F3)


@intrinsic
def bits_to_float(context: Any, bits: Any) -> Any:
    """The float32 whose bits are an int32."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def float_to_bits(context: Any, number: Any) -> Any:
    """The bits of a float32 as an int32."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], ir.IntType(32))

    return types.int32(types.float32), generate


@entry
def exp(x):  # type: ignore[no-untyped-def]
    """``exp(x)``; ∞ above 88.7, 2e-38 for all below −86.6 (float32 ends at 1e-38)."""
    at = LOWEST if x < LOWEST else x
    n = (at * f32(1.44269504) + ROUNDING) - ROUNDING
    r = at - n * LOG_TWO_HIGH
    r = r - n * LOG_TWO_LOW
    p = f32(1.9875691500e-4)
    p = p * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    p = p * r * r + r + ONE
    # two factors, since 2¹²⁸ itself is no float32
    value = p * bits_to_float((i32(n) + i32(126)) << i32(23)) * f32(2)
    return f32(np.inf) if x > HIGHEST else value


@entry
def log(x):  # type: ignore[no-untyped-def]
    """``log(x)`` for normal x > 0."""
    bits = float_to_bits(x)
    exponent = (bits - ROOT_HALF_BITS) >> i32(23)
    m = bits_to_float(bits - (exponent << i32(23))) - ONE
    n = f32(exponent)
    p = f32(7.0376836292e-2)
    p = p * m + f32(-1.1514610310e-1)
    p = p * m + f32(1.1676998740e-1)
    p = p * m + f32(-1.2420140846e-1)
    p = p * m + f32(1.4249322787e-1)
    p = p * m + f32(-1.6668057665e-1)
    p = p * m + f32(2.0000714765e-1)
    p = p * m + f32(-2.4999993993e-1)
    p = p * m + f32(3.3333331174e-1)
    square = m * m
    return m + (p * m * square + n * LOG_TWO_LOW - f32(0.5) * square) + n * LOG_TWO_HIGH


@entry
def log1p(u):  # type: ignore[no-untyped-def]
    """``log(1 + u)`` for finite u > −1/2; what 1 + u loses is given back."""
    w = ONE + u
    return log(w) + (u - (w - ONE)) / w


@entry
def log1p_and_gap(u):  # type: ignore[no-untyped-def]
    """``log1p(u)`` and ``log1p(u) − u/(1 + u)`` for u ≥ 0, both with all their digits.

    With r = u/(2 + u), log1p(u) = 2 atanh(r) and u/(1 + u) = 2r/(1 + r), so that the gap is
    2r²/(1 + r) + 2r³/3 + 2r⁵/5 + …, taken for r < 1/5.
    """
    r = u / (u + f32(2))
    y = u / (u + ONE)
    s = r * r
    tail = f32(1 / 3) + s * (f32(1 / 5) + s * (f32(1 / 7) + s * (f32(1 / 9) + s * f32(1 / 11))))
    near = f32(2) * s * (ONE / (ONE + r) + r * tail)
    logarithm = log1p(u)
    return logarithm, near if r < f32(0.2) else logarithm - y, y

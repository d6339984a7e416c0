"""exp and log1p in single precision against 50-digit arithmetic."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countae.kernels import simd

EPS = 2.0**-24
unhurried = settings(deadline=None)  # the first call compiles
EXPONENTS = st.floats(-86.5, 88, width=32)
ABOVE = st.floats(0, 2.0**100, width=32)


def relative(found, expected):
    return abs(float(found) - float(expected)) / abs(float(expected)) if expected else abs(found)


@unhurried
@given(EXPONENTS)
def test_exp(x):
    """Oracle: mpmath, to three roundings."""
    with mpmath.workdps(50):
        assert relative(simd.exp(np.float32(x)), mpmath.exp(mpmath.mpf(x))) <= 3 * EPS


@unhurried
@given(ABOVE)
def test_log1p(u):
    """Oracle: mpmath, to four roundings, also where 1 + u is 1."""
    with mpmath.workdps(50):
        expected = mpmath.log1p(mpmath.mpf(u))
    assert relative(simd.log1p(np.float32(u)), expected) <= 4 * EPS


@unhurried
@given(st.floats(2.0**-100, 2.0**100, width=32))
def test_log(x):
    """Oracle: mpmath, over max(1, |value|)."""
    with mpmath.workdps(50):
        expected = float(mpmath.log(mpmath.mpf(x)))
    assert abs(simd.log(np.float32(x)) - expected) <= 4 * EPS * max(1, abs(expected))


@unhurried
@given(st.floats(2.0**-60, 2.0**60, width=32))
def test_the_gap_keeps_its_digits(u):
    """Oracle: log1p(u) − u/(1 + u) in 50 digits, where the textbook's difference has none."""
    _, gap, y = simd.log1p_and_gap(np.float32(u))
    with mpmath.workdps(50):
        exact = mpmath.mpf(u)
        expected = mpmath.log1p(exact) - exact / (1 + exact)
        assert relative(y, exact / (1 + exact)) <= 3 * EPS
    assert relative(gap, expected) <= 80 * EPS


@pytest.mark.parametrize(
    ("x", "expected"), [(89.0, np.inf), (np.inf, np.inf), (np.nan, np.nan), (0.0, 1.0)]
)
def test_exp_at_its_ends(x, expected):
    """What is too large is infinite, and what is no number stays none."""
    np.testing.assert_equal(simd.exp(np.float32(x)), np.float32(expected))


def test_exp_of_what_is_too_small_is_next_to_nothing():
    assert 0 <= simd.exp(np.float32(-1e4)) < 3e-38

"""Loops compiled by numba, which is imported when a module of such loops is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numba

# a · b + c in one rounding, and sums in another order, for SIMD; NaN and ∞ stay as they are
FUSED = ("contract",)
REORDERED = ("contract", "reassoc", "nsz")


def compiled(
    function: Callable[..., Any], *, relaxed: Iterable[str] = (), inlined: bool = False
) -> Any:
    """``function`` compiled when first called, and kept on disk for later processes.

    numba keeps the machine code beside the source, or in the user's cache directory where that
    is read-only. Where neither can be written, every process compiles for itself. ``relaxed``
    names what the compiler may do to floating-point operations beside what IEEE 754 allows.
    """
    # a division by zero gives inf or NaN, as in NumPy
    settings: dict[str, Any] = {
        "nogil": True, "error_model": "numpy", "fastmath": {*relaxed}, "forceinline": inlined,
    }  # fmt: skip
    try:
        return numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # no directory for the cache
        return numba.njit(**settings)(function)


def elementwise(function: Callable[..., Any]) -> Any:
    """The same for loops over independent entries, which SIMD instructions do eight at a time."""
    return compiled(function, relaxed=FUSED)


def entry(function: Callable[..., Any]) -> Any:
    """The same for what such a loop does to one entry: it becomes a part of the loop."""
    return compiled(function, relaxed=FUSED, inlined=True)


def sums(function: Callable[..., Any]) -> Any:
    """The same for sums of products, whose terms the compiler may add in any fixed order."""
    return compiled(function, relaxed=REORDERED)

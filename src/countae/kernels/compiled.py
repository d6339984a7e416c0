"""Loops compiled by numba, which is imported when a module of such loops is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """``function`` compiled when first called, and kept on disk for later processes.

    numba keeps the machine code beside the source, or in the user's cache directory where that
    is read-only. Where neither can be written, every process compiles for itself.
    """
    # a division by zero gives inf or NaN, as in NumPy
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # no directory for the cache
        return numba.njit(**settings)(function)

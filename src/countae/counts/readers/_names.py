"""Names of cells and genes where a format leaves room for choice."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae.errors import CountMatrixError
from countae.registry import shown

GENES = "Gene Expression"  # type of features that are genes


def gene_names(symbols: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Symbols as names of genes; those that stand more than once as ``SYMBOL_ID``.

    Whether a name gets its identifier does not depend on the order of genes, as in scanpy's
    numbering ``SYMBOL-1`` it would.
    """
    symbols = np.where(symbols == "", ids, symbols)
    unique, place, number = np.unique(symbols, return_inverse=True, return_counts=True)
    twice = (number > 1)[place] & (symbols != ids)
    names = symbols.astype(object)
    names[twice] = symbols[twice].astype(object) + "_" + ids[twice].astype(object)
    return names


def as_text(values: Any) -> np.ndarray:
    """Values as an array of str; bytes are UTF-8, and what is not is kept as an escape."""
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"names must be a list, found an array of shape {values.shape}")
    if values.dtype.kind not in "SO":
        return values.astype(str).astype(object)
    texts = [
        value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
        for value in values
    ]
    return np.array(texts, dtype=object)


def numbered(what: str, number: int) -> np.ndarray:
    """Names for cells or genes that have none: cell1, cell2 …"""
    return np.array([f"{what}{k + 1}" for k in range(number)], dtype=object)


def check_number(found: int, expected: int, *, where: str, what: str) -> None:
    """Raise CountMatrixError unless there is one name for every cell or gene."""
    if found != expected:
        raise CountMatrixError(
            f"{where} must name {expected:,} {what}, as many as the matrix has, but names "
            f"{found:,}. The files do not belong together, or one is cut short. Fix: copy them "
            "again."
        )


def left_out(kinds: np.ndarray, keep: np.ndarray) -> list[str]:
    """Note on the features that are no genes, by their kinds; none where all are kept."""
    left, number = np.unique(kinds[~keep], return_counts=True)
    listed = ", ".join(f"{n:,} {shown(k)}" for k, n in zip(left[:5], number, strict=False))
    return [f"Features that are no genes were left out: {listed}."] if left.size else []

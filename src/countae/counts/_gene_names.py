"""What names of genes say: mitochondrial ones, spike-ins, identifiers without symbols."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SYMBOLS = (
    "gene_symbols", "gene_symbol", "gene_name", "gene_names", "gene_short_name", "feature_name",
    "symbol", "Symbol", "name",
)  # fmt: skip
MITOCHONDRIAL = re.compile(r"^mt[-.:]", re.IGNORECASE)
SPIKE_IN = re.compile(r"^ercc[-_.]?\d{5}$", re.IGNORECASE)
IDENTIFIER = re.compile(r"^(ENS[A-Z]*G|WBGene|FBgn)\d+", re.IGNORECASE)


def symbols(var: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Symbols of the genes, (gene,), and the column they come from; empty for the names."""
    names = var.index.to_numpy(str)
    if sum(bool(IDENTIFIER.match(name)) for name in names[:100]) > len(names[:100]) / 2:
        for column in SYMBOLS:
            if column in var:
                return var[column].astype(str).to_numpy(str), column
    return names, ""


def mitochondrial(var: pd.DataFrame) -> np.ndarray:
    """Whether a gene is of the mitochondrion by its symbol (``MT-``, ``mt-``), (gene,) bool."""
    return _matching(MITOCHONDRIAL, symbols(var)[0])


def spike_ins(var: pd.DataFrame) -> np.ndarray:
    """Whether a gene is one of the ERCC controls (``ERCC-00002``), (gene,) bool."""
    return _matching(SPIKE_IN, symbols(var)[0])


def _matching(pattern: re.Pattern[str], names: np.ndarray) -> np.ndarray:
    return np.fromiter((bool(pattern.match(name)) for name in names), bool, len(names))

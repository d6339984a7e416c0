"""Protein counts of the same cells (CITE-seq), to set expected RNA against."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse, stats

from countae.counts.readers._hdf5 import opened
from countae.errors import ConfigError, CountMatrixError

SHOWN = 5  # names in a message
FIRST_WORD = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True)
class Proteins:
    """Proteins whose gene is known: ``level``, (cell, pair), and ``gene``, (pair,), an index.

    The level is the centred log ratio of the counts + 1 over all proteins of the cell.
    Reference: Stoeckius et al. 2017, doi:10.1038/nmeth.4380
    """

    level: np.ndarray
    gene: np.ndarray
    name: tuple[str, ...]


def read_proteins(source: str | Path, key: str, cells: np.ndarray, genes: np.ndarray) -> Proteins:
    """Protein counts of ``cells`` from ``obsm[key]`` of an .h5ad file.

    Parameters
    ----------
    source : path of the .h5ad file
    key : str
        Of a table (cell, protein) with the proteins' names as columns, as scvi-tools has it.
    cells, genes : ndarray of str
        Names of the prepared cells and genes.

    Raises
    ------
    ConfigError
        When the source is no .h5ad file, or has no such table.
    CountMatrixError
        When names of cells repeat, cells are missing, counts are negative or not finite, or no
        protein is named like a gene.
    """
    table = protein_table(source, key)
    missing = [name for name in cells if name not in table.index]
    if missing:
        raise CountMatrixError(
            f"{source}: obsm[{key!r}] lacks {len(missing):,} of the {len(cells):,} prepared "
            f"cells, the first {missing[0]!r:.80}. Fix: name the file that the counts came from."
        )
    counts = table.loc[list(cells)].to_numpy(np.float64, na_value=np.nan)
    if not np.isfinite(counts).all():
        raise CountMatrixError(
            f"{source}: obsm[{key!r}] must hold counts of proteins, but has none for some of the "
            "prepared cells. Fix: keep only cells with counts of every protein."
        )
    pairs = matched([str(name) for name in table.columns], [str(name) for name in genes])
    if not pairs:
        raise CountMatrixError(
            f"{source}: none of the {table.shape[1]:,} proteins in obsm[{key!r}] has the name of "
            f"a prepared gene ({', '.join(map(str, table.columns[:SHOWN]))} …). Fix: name them "
            "like their genes (CD19, or CD19_TotalSeqB), or keep their genes in `genes`."
        )
    logs = np.log1p(counts)
    level = logs - logs.mean(axis=1, keepdims=True)
    own, gene = np.array(list(pairs.items())).T
    names = tuple(str(table.columns[protein]) for protein in own)
    return Proteins(level[:, own], gene, names)


def protein_table(source: str | Path, key: str) -> Any:
    """``obsm[key]`` of an .h5ad file, a table (cell, protein) of counts with both names.

    Which cells and genes are prepared does not matter here, so that a wrong key can be told before
    they are. A value may be missing. Errors are those of :func:`read_proteins`.
    """
    table = _table(Path(source), key)
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()]
        raise CountMatrixError(
            f"{source}: cell names must be unique, but {twice.nunique():,} occur more than once, "
            f"the first {twice[0]!r:.80}. Fix: name the file that the counts came from."
        )
    words = [name for name, kind in table.dtypes.items() if kind.kind not in "biuf"]
    if words:
        raise CountMatrixError(
            f"{source}: obsm[{key!r}] must hold counts of proteins, but {len(words):,} of its "
            f"{table.shape[1]:,} columns hold no numbers, the first {words[0]!r:.80}. Fix: leave "
            "them out of the table."
        )
    if any((table.iloc[:, place] < 0).any() for place in range(table.shape[1])):
        raise CountMatrixError(
            f"{source}: obsm[{key!r}] must hold counts of proteins, but has negative values; were "
            "they normalised? Fix: name the raw counts."
        )
    return table


def _table(path: Path, key: str) -> Any:
    """``obsm[key]`` with names of cells and of proteins."""
    import pandas as pd
    from anndata.io import read_elem

    if path.suffix != ".h5ad":
        raise ConfigError(
            f"{path}: protein counts are read from .h5ad files only. Fix: leave `protein_key` "
            "empty, or make an .h5ad file of the source."
        )
    with opened(path, "h5ad", ignore=("X", "layers", "raw", "obsp", "uns")) as file:
        known = sorted(file["obsm"]) if "obsm" in file else []
        if key not in known:
            raise ConfigError(
                f"{path}: has no obsm[{key!r}]; there are {', '.join(known) or 'none'}. Fix: "
                "correct `protein_key`."
            )
        table, cells = read_elem(file["obsm"][key]), read_elem(file["obs"]).index
    if not isinstance(table, pd.DataFrame):
        kind = "sparse matrix" if sparse.issparse(table) else "plain array"
        raise ConfigError(
            f"{path}: obsm[{key!r}] is a {kind} without names of proteins. Fix: store it as a "
            "table (a pandas DataFrame) with the proteins as columns."
        )
    return table.set_axis(cells.astype(str), axis=0)


def matched(proteins: list[str], genes: list[str]) -> dict[int, int]:
    """Index of the gene of each protein that has one: of its name, or of its first word.

    Capitals do not count where that leaves one gene. Of proteins with one gene the first is kept.
    """
    exact = {name: k for k, name in enumerate(genes)}
    folded: dict[str, list[int]] = {}
    for k, name in enumerate(genes):
        folded.setdefault(name.upper(), []).append(k)
    found: dict[int, int] = {}
    for k, name in enumerate(proteins):
        first = FIRST_WORD.match(name)
        for word in (name, first[0] if first else name):
            alike = folded.get(word.upper(), [])
            gene = exact.get(word, alike[0] if len(alike) == 1 else None)
            if gene is not None and gene not in found.values():
                found[k] = gene
                break
    return found


def rna_protein(expression: np.ndarray, level: np.ndarray) -> float:
    """Mean over pairs of Spearman's correlation between RNA and protein; NaN where none varies.

    Parameters
    ----------
    expression, level : ndarray, (cell, pair), of any increasing scale
    """
    found = [
        float(stats.spearmanr(one, other).statistic)
        for one, other in zip(expression.T, level.T, strict=True)
        if np.ptp(one) > 0 and np.ptp(other) > 0
    ]
    return float(np.mean(found)) if found else float("nan")

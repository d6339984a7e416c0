"""The common part of all simulators: means, genes, cells, and the truth that goes with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Design:
    """Expected counts of simulated cells before any noise.

    ``mean`` is (cell, gene); ``gene_mean`` its average over cells, (gene,); ``label`` (cell,).
    """

    mean: np.ndarray
    gene_mean: np.ndarray
    label: np.ndarray


def design(
    *, cells: int, genes: int, types: int, depth: float, rng: np.random.Generator
) -> Design:
    r"""Means :math:`μ_{ij} = l_i \exp(b_j + t_{kj} + u_i \cdot v_j)` of cell types and factors.

    Gene levels b are normal with standard deviation 1.2 (log scale), so that genes span three
    orders of magnitude; a quarter of the genes differ in each type by a normal of 1.0; two
    continuous factors add 0.3 each; library sizes are log-normal (0.35) around ``depth``.

    Parameters
    ----------
    cells, genes, types : int
    depth : float
        Mean library size in counts.
    rng : numpy.random.Generator

    Returns
    -------
    Design
    """
    label = rng.integers(types, size=cells)
    marker = rng.random((types, genes)) < 0.25
    log_mean = rng.normal(0, 1.2, genes) + (rng.normal(0, 1.0, (types, genes)) * marker)[label]
    log_mean += rng.normal(0, 0.3, (cells, 2)) @ rng.normal(0, 1.0, (2, genes))
    library = depth * rng.lognormal(-0.5 * 0.35**2, 0.35, cells)
    level = np.exp(log_mean)
    # one constant for all cells: a cell's library is what its genes make it, up to its depth
    mean = library[:, None] * level / level.sum(axis=1).mean()
    return Design(mean, mean.mean(axis=0), label)


def inverse_dispersions(genes: int, rng: np.random.Generator) -> np.ndarray:
    """Inverse dispersion per gene, log-normal around 2 (log standard deviation 0.7)."""
    return rng.lognormal(np.log(2.0), 0.7, genes)


def as_anndata(
    *,
    counts: np.ndarray,
    plan: Design,
    likelihood: str,
    parameters: dict[str, np.ndarray],
) -> AnnData:
    """Simulated counts with their truth.

    Parameters
    ----------
    counts : ndarray, (cell, gene), int
    plan : Design
    likelihood : str
        Likelihood that generated the counts, given the true parameters.
    parameters : dict of ndarray, (gene,)
        Its parameters besides the mean, by name.

    Returns
    -------
    AnnData
        ``layers["true_mean"]`` is the expected count (of a ZINB: (1−π)μ), ``var["true_…"]`` the
        parameters per gene, ``uns["truth"]`` the generating likelihood.
    """
    import anndata
    import pandas as pd

    cells, genes = counts.shape
    obs = pd.DataFrame({"cell_type": [f"type {k + 1}" for k in plan.label]}, dtype="category")
    obs.index = [f"cell{i}" for i in range(cells)]
    var = pd.DataFrame({f"true_{name}": value for name, value in parameters.items()})
    var.index = [f"gene{j}" for j in range(genes)]
    return anndata.AnnData(
        csr_matrix(counts),
        obs=obs,
        var=var,
        layers={"true_mean": plan.mean},
        uns={"truth": {"likelihood": likelihood}},
    )

"""What a simulator returns: counts with the truth that goes with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from countae.simulate._design import Design

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Drawn:
    """Counts of one family with their truth.

    Attributes
    ----------
    counts : ndarray, (cell, gene), int
        Raw counts.
    mean : ndarray, (cell, gene), float
        Expected raw count, extra zeros and outliers included.
    parameters : dict of ndarray, (gene,) or (cell, gene)
        The family's parameters besides the mean, by name.
    masks : dict of ndarray, (cell, gene), bool
        Entries to which something happened, such as ``extra_zero``.
    cells : dict of ndarray, (cell,), str
        What is true of whole cells and hidden from the models.
    """

    counts: np.ndarray
    mean: np.ndarray
    parameters: dict[str, np.ndarray] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    cells: dict[str, np.ndarray] = field(default_factory=dict)


def negative_binomial(mean: np.ndarray, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """NB counts with variance μ + μ²/θ, (cell, gene).

    Small means by inversion (one uniform number, as many steps as the count has), large ones as
    Poisson counts of gamma rates.
    """
    from countae.kernels.draws import walked_negative_binomial

    theta = np.broadcast_to(theta, mean.shape)
    counts, left = walked_negative_binomial(rng.random(mean.shape), mean, theta)
    counts[left] = rng.poisson(rng.gamma(theta[left], mean[left] / theta[left]))
    return counts


def as_anndata(drawn: Drawn, plan: Design, *, truth: dict[str, Any]) -> AnnData:
    """Simulated counts with their truth.

    Parameters
    ----------
    drawn : Drawn
    plan : Design
    truth : dict
        ``family``, ``likelihood`` and ``seed``.

    Returns
    -------
    AnnData
        ``X``: counts, CSR. ``layers["true_mean"]``: expected raw count. Each parameter is
        ``var["true_…"]`` when there is one per gene, ``layers["true_…"]`` when one per entry; each
        mask is a layer (CSR, bool). ``obs``: ``cell_type``, ``batch`` and ``hidden_type`` where
        there are any, ``true_library_size`` (expected total). ``uns["truth"]``: as given, and
        ``layers``, the names of the layers that belong to the truth.
    """
    import anndata
    import pandas as pd

    cells, genes = drawn.counts.shape
    of_cells = {"cell_type": plan.label, "batch": plan.batch, **drawn.cells}
    obs = pd.DataFrame(
        {name: pd.Categorical(value) for name, value in of_cells.items() if value is not None},
        index=[f"cell{i}" for i in range(cells)],
    )
    obs["true_library_size"] = drawn.mean.sum(axis=1)
    named = {f"true_{name}": value for name, value in drawn.parameters.items()}
    var = pd.DataFrame(
        {name: value for name, value in named.items() if value.ndim == 1},
        index=[f"gene{j}" for j in range(genes)],
    )
    layers = {"true_mean": drawn.mean} | {k: v for k, v in named.items() if v.ndim == 2}
    layers |= {name: csr_matrix(mask) for name, mask in drawn.masks.items()}
    return anndata.AnnData(
        csr_matrix(drawn.counts),
        obs=obs,
        var=var,
        layers=layers,
        uns={"truth": truth | {"layers": list(layers)}},
    )

"""Poisson counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from countae.simulate import register
from countae.simulate._means import as_anndata, design

if TYPE_CHECKING:
    from anndata import AnnData


@register("poisson")
def simulate_poisson(*, cells: int, genes: int, types: int, depth: float, seed: int) -> AnnData:
    """Counts Poisson(μ); see ``design`` for the means."""
    rng = np.random.default_rng(seed)
    plan = design(cells=cells, genes=genes, types=types, depth=depth, rng=rng)
    return as_anndata(
        counts=rng.poisson(plan.mean), plan=plan, likelihood="poisson", parameters={}
    )

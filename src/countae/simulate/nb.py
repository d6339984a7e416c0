"""Negative binomial counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from countae.simulate import register
from countae.simulate._means import as_anndata, design, inverse_dispersions

if TYPE_CHECKING:
    from anndata import AnnData


@register("nb")
def simulate_nb(*, cells: int, genes: int, types: int, depth: float, seed: int) -> AnnData:
    """Counts NB(μ, θ) with one inverse dispersion per gene; see ``design`` for the means."""
    rng = np.random.default_rng(seed)
    plan = design(cells=cells, genes=genes, types=types, depth=depth, rng=rng)
    theta = inverse_dispersions(genes, rng)
    counts = rng.poisson(rng.gamma(np.broadcast_to(theta, plan.mean.shape), plan.mean / theta))
    return as_anndata(
        counts=counts, plan=plan, likelihood="nb", parameters={"inverse_dispersion": theta}
    )

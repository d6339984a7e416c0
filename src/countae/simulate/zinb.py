"""Negative binomial counts with extra zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from countae.simulate import register
from countae.simulate._means import as_anndata, design, inverse_dispersions

if TYPE_CHECKING:
    from anndata import AnnData


@register("zinb")
def simulate_zinb(*, cells: int, genes: int, types: int, depth: float, seed: int) -> AnnData:
    """Counts ZINB(μ, θ, π) with one π per gene, Beta(2, 3): 0.4 on average.

    ``true_mean`` is (1−π)μ, so that the expected depth is the same as in the other families.
    """
    rng = np.random.default_rng(seed)
    plan = design(cells=cells, genes=genes, types=types, depth=depth, rng=rng)
    theta, zero = inverse_dispersions(genes, rng), rng.beta(2, 3, genes)
    component = plan.mean / (1 - zero)
    counts = rng.poisson(rng.gamma(np.broadcast_to(theta, component.shape), component / theta))
    counts[rng.random(counts.shape) < zero] = 0
    return as_anndata(
        counts=counts,
        plan=plan,
        likelihood="zinb",
        parameters={"inverse_dispersion": theta, "zero_probability": zero},
    )

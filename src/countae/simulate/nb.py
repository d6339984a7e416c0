"""Negative binomial counts."""

from __future__ import annotations

import numpy as np

from countae.simulate import simulator
from countae.simulate._design import Design
from countae.simulate._drawn import Drawn, negative_binomial


@simulator(likelihood="nb", by_cell=True, thins=True)
def nb(plan: Design, rng: np.random.Generator) -> Drawn:
    r"""Counts NB(μ, θ) with one inverse dispersion θ per gene; variance μ + μ²/θ.

    A Poisson count whose rate is gamma with shape θ and mean μ.
    Reference: Grün et al. 2014, doi:10.1038/nmeth.2930.
    """
    theta = plan.inverse_dispersions(rng)
    counts = negative_binomial(plan.mean, theta, rng)
    return Drawn(counts, plan.mean, {"inverse_dispersion": theta})

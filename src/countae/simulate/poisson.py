"""Poisson counts."""

from __future__ import annotations

import numpy as np

from countae.simulate import simulator
from countae.simulate._design import Design
from countae.simulate._drawn import Drawn


@simulator(likelihood="poisson", by_cell=True, thins=True)
def poisson(plan: Design, rng: np.random.Generator) -> Drawn:
    r"""Counts Poisson(μ): no noise beyond that of counting.

    .. math:: P(x) = μ^x e^{-μ} / x!

    Reference: Grün et al. 2014, doi:10.1038/nmeth.2930 (sampling noise of molecules).
    """
    return Drawn(rng.poisson(plan.mean), plan.mean)

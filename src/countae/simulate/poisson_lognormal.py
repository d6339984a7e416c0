"""Poisson counts of log-normal rates."""

from __future__ import annotations

import numpy as np

from countae.simulate import simulator
from countae.simulate._design import Design
from countae.simulate._drawn import Drawn


@simulator(by_cell=True)
def poisson_lognormal(plan: Design, rng: np.random.Generator) -> Drawn:
    r"""Counts Poisson(μ e^ε) with log-normal noise: the NB's variance, a heavier tail.

    .. math:: ε \sim N(-σ^2/2, σ^2),\qquad σ^2 = \log(1 + 1/θ)

    The expected count is μ and the variance μ + μ²/θ, those of NB(μ, θ).
    Reference: Aitchison & Ho 1989, doi:10.1093/biomet/76.4.643.
    """
    theta = plan.inverse_dispersions(rng)
    variance = np.log1p(1 / theta)
    noise = np.sqrt(variance) * rng.standard_normal(plan.mean.shape) - variance / 2
    counts = rng.poisson(plan.mean * np.exp(noise))
    return Drawn(counts, plan.mean, {"inverse_dispersion": theta})

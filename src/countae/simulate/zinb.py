"""Negative binomial counts with extra zeros, as likely in every cell."""

from __future__ import annotations

import numpy as np

from countae.simulate import simulator
from countae.simulate._design import Design
from countae.simulate._drawn import Drawn, negative_binomial


@simulator(likelihood="zinb", by_cell=True, thins=True)
def zinb(plan: Design, rng: np.random.Generator) -> Drawn:
    r"""Counts ZINB(μ, θ, π) with extra zeros of one probability π per gene.

    .. math:: x = 0 \text{ with probability } π, \text{ else } x \sim NB(μ / (1-π), θ)

    The NB's mean is raised so that the expected count stays the design's μ: depth is the same as
    in the other families. The mask ``extra_zero`` marks every entry that the first case hit, also
    where the NB would have been zero itself.
    Reference: Risso et al. 2018, doi:10.1038/s41467-017-02554-5.
    """
    theta, zero = plan.inverse_dispersions(rng), plan.zero_probabilities(rng)
    counts = negative_binomial(plan.mean / (1 - zero), theta, rng)
    extra = rng.random(counts.shape) < zero
    return Drawn(
        np.where(extra, 0, counts),
        plan.mean,
        {"inverse_dispersion": theta, "zero_probability": zero},
        {"extra_zero": extra},
    )

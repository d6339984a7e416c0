"""Negative binomial counts with extra zeros that are rarer the higher the expression."""

from __future__ import annotations

import numpy as np
from scipy import special

from countae.simulate import simulator
from countae.simulate._design import Design
from countae.simulate._drawn import Drawn, negative_binomial


@simulator(likelihood="zinb")
def zinb_logistic(plan: Design, rng: np.random.Generator) -> Drawn:
    r"""Counts ZINB(λ, θ, π) with extra zeros that are rarer the higher the expression.

    .. math:: π_{ij} = \frac{1}{1 + \exp(\log λ_{ij} - x_0)},\qquad
              λ_{ij} = \frac{μ_{ij} + \sqrt{μ_{ij}^2 + 4 μ_{ij} e^{x_0}}}{2}

    The dropout of splatter with shape −1 (Zappia et al. 2017, doi:10.1186/s13059-017-1305-0,
    Methods). Its midpoint :math:`x_0` is the median over entries of log μ. λ is the mean before
    dropout that keeps the expected count at the design's μ: it solves (1−π)λ = μ. At the midpoint
    μ the probability is 0.38.
    """
    theta = plan.inverse_dispersions(rng)
    midpoint = np.median(np.log(plan.mean))
    before = 0.5 * (plan.mean + np.sqrt(plan.mean**2 + 4 * plan.mean * np.exp(midpoint)))
    zero = special.expit(midpoint - np.log(before))
    counts = negative_binomial(before, theta, rng)
    extra = rng.random(counts.shape) < zero
    return Drawn(
        np.where(extra, 0, counts),
        plan.mean,
        {"inverse_dispersion": theta, "zero_probability": zero},
        {"extra_zero": extra},
    )

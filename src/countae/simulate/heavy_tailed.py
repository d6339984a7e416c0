"""Negative binomial counts with rare, very large outliers."""

from __future__ import annotations

import numpy as np

from countae.simulate import simulator
from countae.simulate._design import Design
from countae.simulate._drawn import Drawn, negative_binomial

SHARE = 0.005  # of the entries
FACTOR, SPREAD = 20.0, 0.5  # median and log standard deviation of an outlier's factor


@simulator(by_cell=True)
def heavy_tailed(plan: Design, rng: np.random.Generator) -> Drawn:
    r"""Counts NB(μ, θ) of which a share of 0.005 have means some twenty times as large.

    .. math:: x \sim NB(c μ F, θ),\quad F = 1 \text{ or, with probability } p = 0.005,\
              \log F \sim N(\log 20, ½^2),\quad c = \frac{1}{1 - p + 20 p\, e^{1/8}}

    c keeps the expected count at μ, over entries with and without an outlier: ``true_mean`` is
    what can be known of an entry before it is drawn. The mask ``outlier`` marks where F ≠ 1, and
    ``true_inverse_dispersion`` is that of the NB without outliers.
    Reference: the expression outliers of Zappia et al. 2017, doi:10.1186/s13059-017-1305-0, here
    per entry and not per gene.
    """
    theta = plan.inverse_dispersions(rng)
    outlier = rng.random(plan.mean.shape) < SHARE
    factor = np.where(outlier, rng.lognormal(np.log(FACTOR), SPREAD, plan.mean.shape), 1.0)
    expected = 1 - SHARE + SHARE * FACTOR * np.exp(SPREAD**2 / 2)
    counts = negative_binomial(plan.mean * factor / expected, theta, rng)
    return Drawn(counts, plan.mean, {"inverse_dispersion": theta}, {"outlier": outlier})

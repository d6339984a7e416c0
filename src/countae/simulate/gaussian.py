"""Rounded normal counts with one variance per gene: what a squared error assumes."""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from countae.simulate import simulator
from countae.simulate._design import Design
from countae.simulate._drawn import Drawn

SERIES_FROM = 8.0  # standard deviation from which the series is right to 1e-8 of a count


@simulator(likelihood="mse_counts")
def gaussian(plan: Design, rng: np.random.Generator) -> Drawn:
    r"""Rounded normal counts with one variance per gene; the positive control of squared error.

    .. math:: x = \max(0, \lceil y - ½ \rceil),\quad y \sim N(m_{ij}, s_j^2),\quad
              s_j^2 = \bar m_j + \bar m_j^2 / θ_j

    m is the design's mean and s² the NB's variance at the gene's average: as noisy as its
    counterparts, but equally so in every cell. All mass below ½ is a zero. The expected count is
    therefore not m but is summed exactly (:func:`expected_count`); it is near m in genes above one
    count per cell, and near zero in genes below 0.05, which such noise cannot lift over ½.
    Reference: Bishop 2006, Pattern Recognition and Machine Learning, eq. 1.62.
    """
    average = plan.mean.mean(axis=0)
    scale = np.sqrt(average + average**2 / plan.inverse_dispersions(rng))
    values = plan.mean + scale * rng.standard_normal(plan.mean.shape)
    counts = np.maximum(np.ceil(values - 0.5), 0).astype(np.int64)
    mean = expected_count(plan.mean, scale)
    return Drawn(counts, mean, {"location": plan.mean, "scale": scale})


def expected_count(location: np.ndarray, scale: np.ndarray) -> np.ndarray:
    r"""Mean of a rounded normal cut at zero, :math:`\sum_{k \ge 1} Φ((m - k + ½)/s)`.

    Parameters
    ----------
    location : ndarray, (cell, gene)
    scale : ndarray, (gene,), > 0

    Returns
    -------
    ndarray, (cell, gene), ≥ 0
    """
    mean = _series(location, scale)
    for gene in np.flatnonzero(scale < SERIES_FROM):
        mean[:, gene] = _sum(location[:, gene], scale[gene])
    return mean


def _sum(location: np.ndarray, scale: float) -> np.ndarray:
    """The sum itself, (cell,), until its terms are below 1e-18."""
    total = np.zeros_like(location)
    for k in range(1, int(np.ceil(location.max() + 9 * scale)) + 1):
        total += special.ndtr((location - k + 0.5) / scale)
    return total


def _series(location: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The sum by Euler and Maclaurin's series at midpoints, for wide normals, (cell, gene)."""
    z = location / scale
    density = stats.norm.pdf(z)
    integral = scale * (z * special.ndtr(z) + density)
    return integral - density / (24 * scale) - 7 * (1 - z**2) * density / (5760 * scale**3)

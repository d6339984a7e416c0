"""Normals rounded to counts with all mass below ½ at zero: from their mean to their location.

Cutting raises the mean above the location, so that a location at the wanted mean would promise too
much. Mean and variance of the counts are summed exactly on a grid of locations for each gene's
spread, and the grid is read backwards.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SMALLEST_SPREAD = 0.25  # narrower noise puts nearly all counts on one integer
GRID = torch.cat([torch.linspace(-8, -2, 60), torch.linspace(-1.95, 6, 160)]).double()
WIDE = 8.0  # from this spread on, rounding and the sum's tail do not matter


def location_and_variance(mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Locations at which the rounded, cut normal has the given mean, and its variance there.

    Parameters
    ----------
    mean : Tensor, (cell, gene), float64, > 0
    spread : Tensor, (gene,), float64, ≥ ``SMALLEST_SPREAD``

    Returns
    -------
    location : Tensor, (cell, gene); equal to the mean more than six spreads above zero
    variance : Tensor, (cell, gene)
    """
    at, expected, variance = moments(spread)
    return _at_means(mean, expected, at, mean), _variance(mean, spread, expected, variance)


def variance_at(mean: Tensor, spread: Tensor) -> Tensor:
    """Variance of the counts, (level, gene), where they have the given means, (level, gene)."""
    _, expected, variance = moments(spread)
    return _variance(mean, spread, expected, variance)


def _variance(mean: Tensor, spread: Tensor, expected: Tensor, variance: Tensor) -> Tensor:
    """Variances read from the grid; where it has ended, the normal's and that of rounding."""
    above = (spread.square() + 1 / 12).log()
    return _at_means(mean, expected, variance.log(), above).exp()


def moments(spread: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Locations on a grid, and mean and variance of the counts there, (gene, grid) each.

    .. math:: E[x] = \sum_{k \ge 1} Φ\Bigl(\frac{m - k + ½}{s}\Bigr),\quad
              E[x^2] = \sum_{k \ge 1} (2k - 1) Φ\Bigl(\frac{m - k + ½}{s}\Bigr)

    For wide normals the sums are integrals: those of a normal cut at zero.
    """
    from countae.kernels import cut_normal_loops as loops  # numba is slow to import

    at = 0.5 + spread[:, None] * GRID
    z = at / spread[:, None]
    density = torch.exp(-0.5 * z * z) / (2 * torch.pi) ** 0.5
    first = spread[:, None] * (z * torch.special.ndtr(z) + density)
    second = spread[:, None] ** 2 * ((z * z + 1) * torch.special.ndtr(z) + z * density) + 1 / 12
    narrow = np.flatnonzero(spread.numpy() < WIDE)
    loops.sums(at.numpy(), spread.numpy(), narrow, first.numpy(), second.numpy())
    tiny = torch.finfo(at.dtype).tiny  # sums that underflow are read on a logarithmic scale
    return at, first.clamp(min=tiny), (second - first * first).clamp(min=tiny)


def _at_means(mean: Tensor, expected: Tensor, values: Tensor, above: Tensor) -> Tensor:
    """Values read where the counts have the given means; ``above`` where the grid has ended."""
    from countae.kernels import cut_normal_loops as loops

    found = above.expand_as(mean).clone()
    loops.read(mean.numpy(), expected.numpy(), values.numpy(), found.numpy())
    return found

"""Normals rounded to counts with all mass below ½ at zero: from their mean to their location.

Cutting raises the mean above the location, so that a location at the wanted mean would promise too
much. Mean and variance of the counts are summed exactly on a grid of locations for each gene's
spread, and the grid is read backwards.
"""

from __future__ import annotations

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
    at = 0.5 + spread[:, None] * GRID
    z = at / spread[:, None]
    density = torch.exp(-0.5 * z * z) / (2 * torch.pi) ** 0.5
    first = spread[:, None] * (z * torch.special.ndtr(z) + density)
    second = spread[:, None] ** 2 * ((z * z + 1) * torch.special.ndtr(z) + z * density) + 1 / 12
    edges = [0.0, 0.5, 1.0, 2.0, 4.0, WIDE]
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        genes = torch.nonzero((spread >= low) & (spread < high)).squeeze(1)
        for block in genes.split(256):
            k = torch.arange(1, int(15 * high) + 3, dtype=at.dtype)
            above = torch.special.ndtr((at[block, :, None] - k + 0.5) / spread[block, None, None])
            first[block], second[block] = above.sum(-1), (above * (2 * k - 1)).sum(-1)
    tiny = torch.finfo(at.dtype).tiny  # sums that underflow are read on a logarithmic scale
    return at, first.clamp(min=tiny), (second - first * first).clamp(min=tiny)


def _at_means(mean: Tensor, expected: Tensor, values: Tensor, above: Tensor) -> Tensor:
    """Values read where the counts have the given means; ``above`` where the grid has ended."""
    found = above.expand_as(mean).clone()
    for gene in range(mean.shape[1]):
        low = mean[:, gene] < expected[gene, -1]
        found[low, gene] = _read(mean[low, gene].log(), expected[gene].log(), values[gene])
    return found


def _read(x: Tensor, grid: Tensor, values: Tensor) -> Tensor:
    """Linear interpolation on an increasing grid, flat outside."""
    right = torch.searchsorted(grid, x.contiguous()).clamp(1, len(grid) - 1)
    share = ((x - grid[right - 1]) / (grid[right] - grid[right - 1])).clamp(0, 1)
    return values[right - 1] + share * (values[right] - values[right - 1])

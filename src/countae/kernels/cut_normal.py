"""Normals rounded to counts with all mass below ½ at zero: from their mean to their location.

Cutting raises the mean above the location, so that a location at the wanted mean would promise too
much. Mean and variance of the counts are summed exactly on a grid of locations for a row of
spreads, and what lies between is read from that table, backwards.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

SMALLEST_SPREAD = 0.4  # narrower noise puts nearly all counts on one integer
GRID = torch.cat([torch.linspace(-8, -2, 60), torch.linspace(-1.95, 6, 160)]).double()
WIDE = 8.0  # from this spread on, rounding and the sum's tail do not matter
ROWS = 100  # of the table of spreads


def location_of(mean: Tensor, spread: Tensor) -> Tensor:
    """Locations at which the rounded, cut normal has the given mean, (cell, gene).

    See :func:`location_and_variance`, whose first result this is.
    """
    return _at_means(mean, _read_moments(spread)[0], _grid(spread), mean)


def location_and_variance(mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """The same, and the variance of the counts there.

    Parameters
    ----------
    mean : Tensor, (cell, gene), float64, > 0
    spread : Tensor, (gene,), float64, ≥ ``SMALLEST_SPREAD``

    Returns
    -------
    location : Tensor, (cell, gene); equal to the mean more than six spreads above zero
    variance : Tensor, (cell, gene)
    """
    log_mean, log_variance = _read_moments(spread)
    above = (spread.square() + 1 / 12).log()
    location = _at_means(mean, log_mean, _grid(spread), mean)
    return location, _at_means(mean, log_mean, log_variance, above).exp()


def _grid(spread: Tensor) -> Tensor:
    """Locations for which moments are known, (gene, grid)."""
    return 0.5 + spread[:, None] * GRID


def _read_moments(spread: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of mean and variance of the counts on the grid, (gene, grid) each.

    Summed where the spread is wide, else read between the rows of a table of summed ones.
    """
    rows, *table = _table()
    place = (spread.log() - rows[0]) / (rows[1] - rows[0])
    low = place.long().clamp(0, ROWS - 2)
    share = (place - low)[:, None]
    narrow = spread < WIDE
    wide = [torch.log(value) for value in moments(spread[~narrow])[1:]]
    found = []
    for values, summed in zip(table, wide, strict=True):
        made = values[low] + share * (values[low + 1] - values[low])
        made[~narrow] = summed
        found.append(made)
    return found[0], found[1]


@cache
def _table() -> tuple[Tensor, Tensor, Tensor]:
    """Log spreads, and the logarithms of mean and variance on the grid for each, (row, grid)."""
    rows = torch.linspace(math.log(SMALLEST_SPREAD), math.log(WIDE), ROWS, dtype=torch.float64)
    _, mean, variance = moments(rows.exp())
    return rows, mean.log(), variance.log()


def moments(spread: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Locations on a grid, and mean and variance of the counts there, (gene, grid) each.

    .. math:: E[x] = \sum_{k \ge 1} Φ\Bigl(\frac{m - k + ½}{s}\Bigr),\quad
              E[x^2] = \sum_{k \ge 1} (2k - 1) Φ\Bigl(\frac{m - k + ½}{s}\Bigr)

    For wide normals the sums are integrals: those of a normal cut at zero, and of rounding.
    """
    from countae.kernels import cut_normal_loops as loops  # numba is slow to import

    at = _grid(spread)
    z = at / spread[:, None]
    density = torch.exp(-0.5 * z * z) / (2 * torch.pi) ** 0.5
    below = torch.special.ndtr(z)
    first = spread[:, None] * (z * below + density)
    second = spread[:, None] ** 2 * ((z * z + 1) * below + z * density) + below / 12
    narrow = np.flatnonzero(spread.numpy() <= WIDE)
    loops.sums(at.numpy(), spread.numpy(), narrow, first.numpy(), second.numpy())
    tiny = torch.finfo(at.dtype).tiny  # sums that underflow are read on a logarithmic scale
    return at, first.clamp(min=tiny), (second - first * first).clamp(min=tiny)


def _at_means(mean: Tensor, log_mean: Tensor, values: Tensor, above: Tensor) -> Tensor:
    """Values read where the counts have the given means; ``above`` where the grid has ended."""
    from countae.kernels import cut_normal_loops as loops

    found = above.expand_as(mean).clone()
    loops.read(mean.numpy(), log_mean.numpy(), values.contiguous().numpy(), found.numpy())
    return found

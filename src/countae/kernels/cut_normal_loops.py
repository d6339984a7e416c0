"""Compiled loops behind :mod:`countae.kernels.cut_normal`; imports numba."""

from __future__ import annotations

import math

import numpy as np

from countae.kernels.compiled import compiled

ROOT_TWO = math.sqrt(2.0)
NEGLIGIBLE = 1e-18  # share of a sum below which its further, ever smaller terms are left out


@compiled
def sums(
    location: np.ndarray,
    spread: np.ndarray,
    genes: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> None:
    """Fill rows of E[x] and E[x²] of the counts, (gene, grid), at ``location``, (gene, grid).

    ``genes`` are the rows to fill; ``spread`` is (gene,), > 0.
    """
    for g in genes:
        for j in range(location.shape[1]):
            m, s = location[g, j], spread[g]
            one, two, k = 0.0, 0.0, 1
            while True:
                above = 0.5 * math.erfc((k - 0.5 - m) / (s * ROOT_TWO))
                one += above
                two += (2 * k - 1) * above
                if (2 * k - 1) * above <= NEGLIGIBLE * two:
                    break
                k += 1
            first[g, j], second[g, j] = one, two


@compiled
def read(mean: np.ndarray, log_grid: np.ndarray, values: np.ndarray, found: np.ndarray) -> None:
    """Replace ``found``, (cell, gene), by ``values`` where ``mean`` lies below the grid's end.

    ``log_grid``, the logarithm of means, and ``values`` are (gene, grid), the first increasing;
    values are interpolated on the logarithmic scale, and flat below the grid.
    """
    for j in range(mean.shape[1]):
        grid, of_gene = log_grid[j], values[j]
        for i in range(mean.shape[0]):
            at = math.log(mean[i, j])
            if at >= grid[-1]:
                continue
            right = max(int(np.searchsorted(grid, at)), 1)
            share = (at - grid[right - 1]) / (grid[right] - grid[right - 1])
            share = min(max(share, 0.0), 1.0)
            found[i, j] = of_gene[right - 1] + share * (of_gene[right] - of_gene[right - 1])

"""How much of a latent space, or of residuals, is depth."""

from __future__ import annotations

import numpy as np
from scipy import stats


def latent_depth(*, latent: np.ndarray, library_size: np.ndarray) -> float:
    r"""Share of the variance of log library size that latent coordinates explain linearly.

    .. math:: R^2_{adj} = 1 - (1 - R^2) \frac{n - 1}{n - k - 1}

    which is 0 on average for k coordinates that know nothing of depth.

    Parameters
    ----------
    latent : ndarray, (cell, latent)
    library_size : ndarray, (cell,), > 0

    Returns
    -------
    float, at most 1; NaN with fewer than k + 3 cells, or where all libraries are of one size.
    Reference: Theil 1961, Economic forecasts and policy, p. 213
    """
    n, k = latent.shape
    depth = np.log(library_size)
    if n < k + 3 or np.ptp(library_size) == 0:
        return float("nan")
    total = ((depth - depth.mean()) ** 2).sum()
    design = np.column_stack([np.ones(n), latent])
    left = depth - design @ np.linalg.lstsq(design, depth, rcond=None)[0]
    return float(1 - (left @ left / total) * (n - 1) / (n - k - 1))


def residual_depth(
    *, observed: np.ndarray, mean: np.ndarray, variance: np.ndarray, library_size: np.ndarray
) -> float:
    """Rank correlation of a cell's mean Pearson residual with its library size.

    Parameters
    ----------
    observed, mean, variance : ndarray, (cell, gene)
        Counts, and what was predicted for them while they were hidden.
    library_size : ndarray, (cell,)

    Returns
    -------
    float in [-1, 1]: above 0, too few counts are predicted for deep cells. NaN where all
    libraries or all residuals are the same.
    """
    residual = ((observed - mean) / np.sqrt(variance)).mean(axis=1)
    if np.ptp(residual) == 0 or np.ptp(library_size) == 0:
        return float("nan")
    return float(stats.spearmanr(residual, library_size).statistic)

"""Error of the inverse dispersion against the truth, on simulated data."""

from __future__ import annotations

import numpy as np

from countae.metrics import metric


@metric(better="zero", unit="log ratio", summary="median")
def dispersion_log_error(
    *,
    inverse_dispersion: np.ndarray,
    true_inverse_dispersion: np.ndarray,
    identifiable: np.ndarray,
) -> np.ndarray:
    """Log of fitted over true inverse dispersion per gene, where it can be identified.

    Parameters
    ----------
    inverse_dispersion, true_inverse_dispersion : ndarray, (gene,), > 0
    identifiable : ndarray, (gene,), bool
        Whether the standard error of the log inverse dispersion is at most one half.

    Returns
    -------
    ndarray, (gene,); NaN where not identifiable
    """
    error = np.log(inverse_dispersion) - np.log(true_inverse_dispersion)
    return np.where(identifiable, error, np.nan)

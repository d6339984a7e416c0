"""Posterior probability that a zero is an extra one, against the truth of simulated data."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from countae.metrics import metric


@metric(better="nominal", unit="probability²; auc: fraction", level="dataset")
def extra_zero_calibration(
    *,
    observed: np.ndarray,
    zero_probability: np.ndarray,
    prob_zero: np.ndarray,
    extra_zero: np.ndarray,
) -> dict[str, float]:
    r"""Is P(extra zero | x = 0) = π/f(0) right, over all zeros: area under the curve, Brier score.

    A zero that the simulator made extra counts as extra even if the NB part was 0 as well, for
    that is the event whose prior probability π is. Read ``brier`` beside ``brier_constant``, the
    score of giving every zero the share of extra ones: a posterior above it knows less than
    nothing about single entries and must not be shown for them.

    Parameters
    ----------
    observed : ndarray, (cell, gene), raw counts
    zero_probability : ndarray, (cell, gene), in [0, 1]
        Predicted π.
    prob_zero : ndarray, (cell, gene), in [0, 1]
        Predicted total probability of a zero, f(0) = π + (1 − π) NB(0).
    extra_zero : ndarray, (cell, gene), bool
        Entries that the simulator set to zero.

    Returns
    -------
    dict of float
        ``auc`` (ties count half; left out when all or no zeros are extra), ``brier``,
        ``brier_constant``, ``prevalence`` (share of extra zeros) and ``entries``, the number of
        zeros; this alone when there are none.
        References: Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747, equation 1;
        Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
    """
    zero = observed == 0
    if not zero.any():
        return {"entries": 0.0}
    extra, total = extra_zero[zero], prob_zero[zero].astype(np.float64)
    posterior = np.zeros(len(total))
    # where f(0) underflows, so does π
    np.divide(zero_probability[zero], total, out=posterior, where=total > 0)
    posterior = np.minimum(posterior, 1.0)  # float32 inputs may pass 1 by their rounding
    prevalence = float(extra.mean())
    found = {
        "brier": float(np.square(posterior - extra).mean()),
        "brier_constant": prevalence * (1 - prevalence),
        "prevalence": prevalence,
        "entries": float(len(extra)),
    }
    n_extra = int(extra.sum())
    pairs = n_extra * (len(extra) - n_extra)
    if pairs:
        rank_sum = float(rankdata(posterior)[extra].sum())
        found["auc"] = (rank_sum - n_extra * (n_extra + 1) / 2) / pairs
    return found

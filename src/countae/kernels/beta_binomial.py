r"""Beta-binomial counts, as negative binomials that are known to add up.

.. math:: BB(x; n, α, β) = \frac{NB(x; np, α)\, NB(n-x; n(1-p), β)}{NB(n; n, α+β)},
          \qquad p = \frac{α}{α+β}

with NB in mean and inverse dispersion: each factor in saddle-point form, no ``lgamma`` of large
numbers. They still cancel to a few digits in float32, hence float64.
"""

from __future__ import annotations

from math import exp

import numpy as np
import torch
from torch import Tensor

from countae.kernels.compiled import compiled
from countae.kernels.count_pmf import log_negative_binomial

NEGLIGIBLE = 1e-18  # of the sum; further terms of a walk are left out


def log_beta_binomial(
    counts: Tensor, trials: Tensor, share_logit: Tensor, concentration: Tensor
) -> Tensor:
    """Log-probability of 0 ≤ counts ≤ trials under BB(n, κp, κ(1−p)), float64.

    Parameters
    ----------
    counts, trials : Tensor, (cell, gene), float64
    share_logit : Tensor
        Logit of p.
    concentration : Tensor
        κ > 0.

    Returns
    -------
    Tensor, (cell, gene), ≤ 0; differentiable in ``share_logit`` and ``concentration``
    """
    p, rest = torch.sigmoid(share_logit), torch.sigmoid(-share_logit)
    hits = log_negative_binomial(counts, trials * p, concentration * p)
    misses = log_negative_binomial(trials - counts, trials * rest, concentration * rest)
    value = hits + misses - log_negative_binomial(trials, trials, concentration)
    return value.clamp(max=0)


def cumulated(
    counts: np.ndarray, log_at: np.ndarray, trials: np.ndarray, alpha: np.ndarray, beta: np.ndarray
) -> np.ndarray:
    """P(X ≤ count) for whole counts within 0 … trials, (entry,), by the shorter way to an end.

    ``log_at`` is the log-probability of ``counts``, from which the walk starts.
    """
    value: np.ndarray = _walk(counts, log_at, trials, alpha, beta)
    return value


@compiled
def _walk(
    counts: np.ndarray, log_at: np.ndarray, trials: np.ndarray, alpha: np.ndarray, beta: np.ndarray
) -> np.ndarray:
    result = np.empty(counts.size)
    for i in range(counts.size):
        n, a, b, k = trials[i], alpha[i], beta[i], counts[i]
        p = exp(log_at[i])
        if k * (a + b) <= n * a:
            total = p
            while k > 0 and p > NEGLIGIBLE * total:
                p *= k / (n - k + 1) * ((b + n - k) / (a + k - 1))
                total += p
                k -= 1
            result[i] = min(total, 1.0)
        else:
            total = 0.0
            while k < n and (p > NEGLIGIBLE * total or total == 0.0) and p > 0:
                p *= (n - k) / (k + 1) * ((a + k) / (b + n - k - 1))
                total += p
                k += 1
            result[i] = max(1.0 - total, 0.0)
    return result

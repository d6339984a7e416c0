"""Poisson loss of Open Problems, with its arguments in the right order."""

from __future__ import annotations

import numpy as np
import torch

from countae import metrics

poisson_loss = metrics.get("poisson_loss")


def test_agrees_with_torch():
    """Oracle: torch.nn.functional.poisson_nll_loss(log_input=False, eps=1e-6), gene by gene."""
    rng = np.random.default_rng(6)
    observed, mean = rng.poisson(1.0, (40, 3)).astype(float), rng.gamma(1.0, 1.0, (40, 3))
    mean[0, 0] = 0.0
    expected = torch.nn.functional.poisson_nll_loss(
        torch.as_tensor(mean),
        torch.as_tensor(observed),
        log_input=False,
        eps=1e-6,
        reduction="none",
    )
    value = poisson_loss(observed=observed, mean=mean)
    np.testing.assert_allclose(value, expected.mean(dim=0), rtol=1e-12)


def test_prefers_the_truth_to_all_zeros(truth):
    """Oracle: METRICS.md; with the published benchmark's swapped arguments all zeros would win."""
    of_truth = poisson_loss(observed=truth.observed, mean=truth.mean)
    of_zeros = poisson_loss(observed=truth.observed, mean=np.zeros_like(truth.mean))
    assert (of_truth < of_zeros).all()

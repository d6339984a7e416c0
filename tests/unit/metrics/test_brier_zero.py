"""Brier score of the zeros."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import brier_score_loss

from countae import metrics

brier_zero = metrics.get("brier_zero")


def test_agrees_with_scikit_learn(truth):
    """Oracle: sklearn.metrics.brier_score_loss of each gene; a mean of squares, so 1e-12."""
    value = brier_zero(observed=truth.observed, prob_zero=truth.prob_zero).mean(axis=0)
    expected = [
        brier_score_loss(truth.observed[:, j] == 0, truth.prob_zero[:, j], pos_label=True)
        for j in range(truth.observed.shape[1])
    ]
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-15)


def test_by_hand():
    """Oracle: (P(0) − 1)² at a zero, P(0)² elsewhere, by hand."""
    value = brier_zero(observed=np.array([[0.0, 2.0]]), prob_zero=np.array([[0.25, 0.25]]))
    np.testing.assert_allclose(value, [[0.5625, 0.0625]])

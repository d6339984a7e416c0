"""Reliability curve of the zeros."""

from __future__ import annotations

import numpy as np
from sklearn.calibration import calibration_curve

from countae import metrics

zero_reliability = metrics.get("zero_reliability")


def test_agrees_with_scikit_learn(truth):
    """Oracle: sklearn.calibration.calibration_curve with ten uniform bins."""
    curve = zero_reliability(observed=truth.observed, prob_zero=truth.prob_zero)
    zeros, predicted = calibration_curve(
        (truth.observed == 0).ravel(), truth.prob_zero.ravel(), n_bins=10
    )
    bins = [k for k in range(10) if f"entries.{k}" in curve]
    np.testing.assert_allclose([curve[f"observed.{k}"] for k in bins], zeros, rtol=1e-12)
    np.testing.assert_allclose([curve[f"predicted.{k}"] for k in bins], predicted, rtol=1e-12)
    assert sum(curve[f"entries.{k}"] for k in bins) == truth.observed.size


def test_ends_and_empty_bins():
    """Oracle: by hand; P(0) = 1 belongs to the last bin, and a bin without entries is left out."""
    curve = zero_reliability(
        observed=np.array([[0.0, 3.0, 0.0, 1.0]]), prob_zero=np.array([[1.0, 0.0, 0.93, 0.05]])
    )
    assert set(curve) == {
        f"{kind}.{k}" for kind in ("predicted", "observed", "entries") for k in (0, 9)
    }
    np.testing.assert_allclose([curve["predicted.9"], curve["observed.9"]], [0.965, 1.0])
    np.testing.assert_allclose([curve["predicted.0"], curve["observed.0"]], [0.025, 0.0])
    assert curve["entries.0"] == curve["entries.9"] == 2.0


def test_is_near_the_diagonal_for_the_truth(truth):
    """Oracle: a share of n entries lies within four standard errors of its probability."""
    curve = zero_reliability(observed=truth.observed, prob_zero=truth.prob_zero)
    for k in range(10):
        if f"entries.{k}" in curve:
            p, n = curve[f"predicted.{k}"], curve[f"entries.{k}"]
            assert abs(curve[f"observed.{k}"] - p) <= 4 * np.sqrt(p * (1 - p) / n)

"""Coverage of the central 95 % predictive interval."""

from __future__ import annotations

import numpy as np

from countae import metrics

coverage = metrics.get("coverage_95")
LEVEL = 0.95


def test_by_hand():
    """Oracle: the interval from (1 − level)/2 to (1 + level)/2, by hand."""
    low, high = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    pit = np.array([[low - 0.01, 0.5], [low + 0.01, 0.5], [high - 0.01, 0.0], [high + 0.01, 1.0]])
    np.testing.assert_allclose(coverage(pit=pit), [0.5, 0.5])


def test_is_nominal_for_the_truth(truth):
    """Oracle: the binomial error of a share of 4,000 cells; four of them."""
    error = np.sqrt(LEVEL * (1 - LEVEL) / len(truth.pit))
    assert (np.abs(coverage(pit=truth.pit) - LEVEL) <= 4 * error).all()


def test_is_too_low_when_the_model_varies_too_little(truth, pit_of):
    """Oracle: SciPy's NB with eight times the true inverse dispersion, and an eighth of it."""
    error = np.sqrt(LEVEL * (1 - LEVEL) / len(truth.pit))
    assert (coverage(pit=pit_of(8.0))[2:] < LEVEL - 4 * error).all()
    assert (coverage(pit=pit_of(1 / 8))[4:] > LEVEL + 2 * error).all()

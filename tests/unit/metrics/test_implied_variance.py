"""Variance that the model implies for a gene."""

from __future__ import annotations

import numpy as np

from countae import metrics

implied_variance = metrics.get("implied_variance")


def test_is_the_law_of_total_variance():
    """Oracle: by hand; means 1 and 3 vary by 1, variances average 4."""
    value = implied_variance(
        mean=np.array([[1.0, 2.0], [3.0, 2.0]]), variance=np.array([[2.0, 5.0], [6.0, 5.0]])
    )
    np.testing.assert_allclose(value, [5.0, 5.0])


def test_matches_simulated_counts(truth):
    """Oracle: the sample variance of counts drawn from the truth, within five standard errors."""
    value = implied_variance(mean=truth.mean, variance=truth.variance)
    found = truth.observed.var(axis=0)
    fourth = ((truth.observed - truth.observed.mean(axis=0)) ** 4).mean(axis=0)
    assert (np.abs(value - found) <= 5 * np.sqrt((fourth - found**2) / len(truth.observed))).all()

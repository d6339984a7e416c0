"""Variance of standardised residuals."""

from __future__ import annotations

import numpy as np

from countae import metrics

pearson_variance = metrics.get("pearson_variance")


def test_by_hand():
    """Oracle: residuals (−1, 1)/2 and (0, 3)/1 have variances ¼ and 2¼, by hand."""
    value = pearson_variance(
        observed=np.array([[1.0, 4.0], [3.0, 7.0]]),
        mean=np.array([[2.0, 4.0], [2.0, 4.0]]),
        variance=np.array([[4.0, 1.0], [4.0, 1.0]]),
    )
    np.testing.assert_allclose(value, [0.25, 2.25])


def test_is_one_for_the_truth(truth):
    """Oracle: the sampling error from the residuals' own fourth moment, four of them."""
    value = pearson_variance(observed=truth.observed, mean=truth.mean, variance=truth.variance)
    residual = (truth.observed - truth.mean) / np.sqrt(truth.variance)
    error = np.sqrt(((residual**4).mean(axis=0) - 1) / len(residual))
    assert (np.abs(value - 1) <= 4 * error).all()


def test_is_above_one_when_the_model_varies_too_little(truth):
    """Oracle: E[(x−m)²]/m = 1 + m/θ under a Poisson model of NB counts, by hand."""
    value = pearson_variance(observed=truth.observed, mean=truth.mean, variance=truth.mean)
    expected = 1 + truth.mean.mean(axis=0) / truth.inverse_dispersion
    np.testing.assert_allclose(value, expected, rtol=0.2)

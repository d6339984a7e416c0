"""Share of the Poisson deviance that the means explain."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import d2_tweedie_score, mean_poisson_deviance

from countae import metrics

explained = metrics.get("poisson_deviance_explained")


def test_agrees_with_scikit_learn(truth):
    """Oracle: 1 − a ratio of sklearn.metrics.mean_poisson_deviance, gene by gene."""
    null = truth.size * (truth.observed.sum(axis=0) / truth.size.sum())
    value = explained(observed=truth.observed, mean=truth.mean, null_mean=1.1 * null)
    expected = [
        1 - mean_poisson_deviance(x, m) / mean_poisson_deviance(x, 1.1 * n)
        for x, m, n in zip(truth.observed.T, truth.mean.T, null.T, strict=True)
    ]
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)


def test_agrees_with_d2_for_a_constant_null(truth):
    """Oracle: sklearn.metrics.d2_tweedie_score(power=1), whose null is the mean of the counts."""
    null = np.broadcast_to(truth.observed.mean(axis=0), truth.observed.shape)
    value = explained(observed=truth.observed, mean=truth.mean, null_mean=null)
    expected = [
        d2_tweedie_score(x, m, power=1)
        for x, m in zip(truth.observed.T, truth.mean.T, strict=True)
    ]
    np.testing.assert_allclose(value, expected, rtol=1e-9)


def test_ends():
    """Oracle: by hand; 1 for means equal to the counts, 0 for the null, −∞ for a 0 where one was
    seen, NaN for a gene that was never seen.
    """
    observed = np.array([[1.0, 1.0, 2.0, 0.0], [3.0, 3.0, 0.0, 0.0]])
    null = np.ones((2, 4))
    mean = np.array([[1.0, 1.0, 0.0, 1.0], [3.0, 1.0, 0.0, 1.0]])
    value = explained(observed=observed, mean=mean, null_mean=null)
    np.testing.assert_allclose(value[:2], [1.0, 0.0], atol=1e-12)
    assert value[2] == -np.inf
    assert np.isnan(value[3])

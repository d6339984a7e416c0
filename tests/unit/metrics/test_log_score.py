"""Logarithmic score."""

from __future__ import annotations

import numpy as np
from scipy import stats

from countae import metrics

log_score = metrics.get("log_score")


def test_is_minus_the_log_probability():
    """Oracle: scipy.stats.poisson, log P(0) of which is −μ."""
    observed, mean = np.array([[0, 1, 7]]), np.array([[0.2, 1.0, 3.0]])
    value = log_score(log_prob=stats.poisson(mean).logpmf(observed))
    np.testing.assert_allclose(
        value, [[0.2, 1.0, 3.0 - 7 * np.log(3.0) + np.log(5040)]], rtol=1e-12
    )


def test_rounding_above_log_one_stays_within_the_slack_of_the_bounds():
    """Oracle: log 1 = 0, by hand, where a cdf difference left 1e-16 more."""
    assert abs(log_score(log_prob=np.array([[1e-16]]))[0, 0]) < 1e-15


def test_a_probability_above_one_is_not_hidden():
    """Oracle: a log-probability of 0.5 is a defect of a likelihood (a density, say) and must not
    score like a certainty: METRICS.md tells of a density that beat the oracle. ``score.py`` checks
    the bounds only after the metric.
    """
    assert not log_score(log_prob=np.array([[0.5]]))[0, 0] >= 0


def test_expected_score_is_least_for_the_truth(truth):
    """Oracle: propriety; SciPy's NB with half and twice the true θ scores worse by 4 errors."""

    def scored(factor):
        theta = truth.inverse_dispersion * factor
        nb = stats.nbinom(theta, theta / (theta + truth.mean))
        return log_score(log_prob=nb.logpmf(truth.observed)).mean(axis=1)

    for factor in (0.5, 2.0):
        gap = scored(factor) - scored(1.0)
        assert gap.mean() > 4 * gap.std() / np.sqrt(len(gap))

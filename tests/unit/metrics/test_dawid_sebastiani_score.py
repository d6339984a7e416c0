"""Dawid–Sebastiani score."""

from __future__ import annotations

import numpy as np
from scipy import stats

from countae import metrics

dawid_sebastiani = metrics.get("dawid_sebastiani_score")


def test_is_twice_the_gaussian_log_score():
    """Oracle: −2 scipy.stats.norm.logpdf − log 2π, averaged over cells."""
    rng = np.random.default_rng(1)
    observed, mean = rng.poisson(3.0, (30, 4)).astype(float), rng.gamma(3.0, 1.0, (30, 4))
    variance = rng.gamma(2.0, 2.0, (30, 4))
    value = dawid_sebastiani(observed=observed, mean=mean, variance=variance)
    density = stats.norm(mean, np.sqrt(variance)).logpdf(observed)
    np.testing.assert_allclose(value, (-2 * density - np.log(2 * np.pi)).mean(axis=0), rtol=1e-12)


def test_by_hand():
    """Oracle: (3 − 1)²/4 + log 4, by hand."""
    one = [np.array([[v]]) for v in (3.0, 1.0, 4.0)]
    value = dawid_sebastiani(observed=one[0], mean=one[1], variance=one[2])
    np.testing.assert_allclose(value, [1 + np.log(4.0)])


def test_is_least_for_the_true_variance(truth):
    """Oracle: propriety for two moments; half and twice the variance cost log 2 − ½ … by hand."""
    given = {"observed": truth.observed, "mean": truth.mean}
    best = dawid_sebastiani(**given, variance=truth.variance)
    expected = {0.5: 1 - np.log(2), 2.0: np.log(2) - 0.5}
    for factor, gap in expected.items():
        value = dawid_sebastiani(**given, variance=factor * truth.variance) - best
        np.testing.assert_allclose(value.mean(), gap, atol=0.1)

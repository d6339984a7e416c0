"""Distance of the PIT from uniform."""

from __future__ import annotations

import numpy as np
from scipy import stats

from countae import metrics

total_variation = metrics.get("pit_total_variation")


def test_by_hand():
    """Oracle: all in one of 20 bins is 0.95 away, half in each of two 0.9, evenly spread 0."""
    middles = (np.arange(20)[:, None] + 0.5) / 20
    pit = np.concatenate(
        [np.full((20, 1), 1.0), np.where(middles < 0.5, 0.01, 0.99), middles], axis=1
    )
    np.testing.assert_allclose(total_variation(pit=pit), [0.95, 0.9, 0.0], atol=1e-12)


def test_is_small_for_the_truth(truth, pit_of):
    """Oracles: a Kolmogorov–Smirnov test of the fixture, and the docstring's 0.4 √(20/n)."""
    for gene in truth.pit.T:
        assert stats.kstest(gene, "uniform").pvalue > 1e-4
    expected = 0.4 * np.sqrt(20 / len(truth.pit))
    value = total_variation(pit=truth.pit)
    np.testing.assert_allclose(value.mean(), expected, rtol=0.25)
    assert (total_variation(pit=pit_of(8.0))[2:] > 3 * expected).all()


def test_the_perfect_models_distance_is_as_documented():
    """Oracle: simulation of 400 flat genes of 500 cells; 5 % around 0.4 √(20/n)."""
    pit = np.random.default_rng(0).random((500, 400))
    np.testing.assert_allclose(total_variation(pit=pit).mean(), 0.4 * np.sqrt(20 / 500), rtol=0.05)

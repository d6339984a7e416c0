"""Histogram of the probability integral transform."""

from __future__ import annotations

import numpy as np

from countae import metrics

pit_histogram = metrics.get("pit_histogram")


def test_by_hand():
    """Oracle: three of four values in the first twentieth is a density of 15, by hand."""
    density = pit_histogram(pit=np.array([[0.0, 0.01], [0.049, 1.0]]))
    assert list(density)[:2] == ["0.00", "0.05"]
    assert len(density) == 20
    assert density["0.00"] == 15.0
    assert density["0.95"] == 5.0
    np.testing.assert_allclose(np.mean(list(density.values())), 1.0)


def test_is_flat_for_the_truth(truth, pit_of):
    """Oracle: the binomial error of a bin's share; 4.5 of them for 20 bins."""
    density = np.array(list(pit_histogram(pit=truth.pit).values()))
    assert (np.abs(density - 1) <= 4.5 * np.sqrt(19 / truth.pit.size)).all()


def test_is_a_u_when_the_model_varies_too_little(pit_of):
    """Oracle: Czado et al. 2009: ends above, middle below 1 for under-dispersion, and reverse."""
    narrow = list(pit_histogram(pit=pit_of(8.0)).values())
    wide = list(pit_histogram(pit=pit_of(1 / 8)).values())
    assert min(narrow[0], narrow[-1]) > 1.2 > 1 > narrow[10]
    assert max(wide[0], wide[-1]) < 0.9 < 1 < wide[10]

"""Rounded normals cut at zero, against SciPy's sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from countae.kernels.cut_normal import SMALLEST_SPREAD, location_and_variance, moments

SPREADS = [SMALLEST_SPREAD, 0.53, 0.9, 1.0, 3.0, 7.9, 8.1, 40.0]


def summed(location, spread):
    """Mean and variance of the counts, each integer's mass by SciPy."""
    k = np.arange(0, int(abs(location) + 12 * spread) + 3)
    upper = stats.norm.cdf((k + 0.5 - location) / spread)
    mass = np.diff(np.concatenate([[0.0], upper]))
    mean = (k * mass).sum()
    return mean, (k**2 * mass).sum() - mean**2


@pytest.mark.parametrize("spread", SPREADS)
def test_moments_are_those_of_the_counts(spread):
    """Oracle: plain sums, to 1e-9 below a spread of 8 and to 2 % of a spread beyond."""
    at, mean, variance = moments(torch.tensor([spread], dtype=torch.float64))
    for place in (20, 70, 120, 180, 219):
        expected = summed(float(at[0, place]), spread)
        tolerance = 1e-9 if spread < 8 else 0.02 * spread
        assert float(mean[0, place]) == pytest.approx(expected[0], abs=tolerance)
        assert float(variance[0, place]) == pytest.approx(
            expected[1], abs=tolerance * max(spread, 1)
        )


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("mean", [0.01, 0.3, 2.0, 50.0, 1_000.0])
def test_locations_give_the_mean_back(spread, mean):
    """Oracle: the summed mean at the location that was found, within 1 %."""
    found, _ = location_and_variance(
        torch.full((1, 1), mean, dtype=torch.float64), torch.tensor([spread], dtype=torch.float64)
    )
    assert summed(float(found), spread)[0] == pytest.approx(mean, rel=0.01, abs=2e-3 * spread)


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("mean", [1e-4, 0.05, 0.4, 500.0])
def test_variance_is_read_at_the_mean(spread, mean):
    """Oracle: plain sums at the location that was found; 2 % between the rows of the table."""
    location, variance = location_and_variance(
        torch.full((1, 1), mean, dtype=torch.float64), torch.tensor([spread], dtype=torch.float64)
    )
    expected = summed(float(location), spread)[1]
    # the first term of Fourier's series of a narrow normal that is rounded and not cut
    rounding = (4 * spread**2 + np.pi**-2) * np.exp(-2 * np.pi**2 * spread**2)
    assert float(variance) == pytest.approx(expected, rel=0.02, abs=1.01 * rounding)

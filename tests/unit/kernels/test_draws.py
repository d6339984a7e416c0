"""Quantiles of negative binomial counts against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from countae.kernels.draws import HIGHEST_MEAN, walked_negative_binomial

GRID = [(mean, theta) for mean in (1e-4, 0.1, 3.0, 60.0) for theta in (0.05, 1.0, 30.0, 1e6)]


@pytest.mark.parametrize(("mean", "theta"), GRID)
def test_the_walk_ends_at_the_quantile(mean, theta):
    uniform = np.random.default_rng(0).random((1, 4000))
    uniform[0, :3] = 0.0, 0.5, 1 - 2.0**-53
    means, thetas = np.full(uniform.shape, mean), np.full(uniform.shape, theta)
    count, left = walked_negative_binomial(uniform, means, thetas)
    noise = stats.nbinom(theta, theta / (theta + mean))
    assert not left.any()
    near = 1e-11  # SciPy and the walk differ by rounding, which moves counts at a step
    assert (noise.cdf(count[0, 3:]) >= uniform[0, 3:] - near).all()
    below = count[0, 3:] - 1
    assert (np.where(below < 0, 0.0, noise.cdf(below)) <= uniform[0, 3:] + near).all()
    assert count[0, 0] == 0
    assert count[0, 2] >= noise.ppf(1 - 1e-12)


def test_a_mean_of_zero_gives_zero():
    one = np.ones((1, 1))
    count, left = walked_negative_binomial(0.999 * one, 0 * one, one)
    assert count.item() == 0
    assert not left.item()


def test_high_means_are_left_to_another_method():
    mean = np.array([[HIGHEST_MEAN, np.nextafter(HIGHEST_MEAN, 1e9)]])
    _, left = walked_negative_binomial(np.full((1, 2), 0.5), mean, np.ones((1, 2)))
    assert left.tolist() == [[False, True]]

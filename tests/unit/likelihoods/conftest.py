"""One torch thread, and what the oracle files of all likelihoods ask of samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """A few numbers per call: threads only cost time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def t64():
    """A float64 tensor of anything."""
    return lambda value: torch.as_tensor(np.asarray(value, dtype=np.float64))


@pytest.fixture
def assert_samples_agree(t64):
    """Check drawn counts against a mean, a variance and a zero share within four standard errors.

    The standard error of the sample variance is taken from the sample's own fourth moment.
    """

    def check(likelihood, parameters, *, mean, variance, zero, n=40_000, seed=7):
        wide = {name: t64(value).expand(n, 1) for name, value in parameters.items()}
        drawn = likelihood.sample(np.random.default_rng(seed), **wide)
        assert drawn.shape == (n, 1)
        x = drawn.numpy().ravel()
        assert (x >= 0).all()
        assert (x == np.round(x)).all()
        fourth = np.mean((x - x.mean()) ** 4)
        error_of_variance = np.sqrt(max(fourth - x.var() ** 2, 0.0) / n)
        assert abs(x.mean() - mean) <= 4 * np.sqrt(variance / n)
        assert abs(x.var() - variance) <= 4 * error_of_variance + variance / n
        assert abs((x == 0).mean() - zero) <= 4 * np.sqrt(zero * (1 - zero) / n) + 1 / n

    return check

"""One torch thread, counts with a known distribution, and what score.py hands to the metrics."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import special, stats

from countae.kernels.recursion import step_score


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", params=["recursion", "no recursion"])
def callables(request):
    """``cdf`` from counts and row-major entries, by SciPy's beta function, of NBs; and Panjer's
    recursion, by hand, or None.
    """

    def make(mean, theta):
        mean, theta = (np.ravel(v) for v in np.broadcast_arrays(mean, theta))

        def cdf(k, i):
            share = mean[i] / (mean[i] + theta[i])
            return np.where(k < 0, 0.0, special.betaincc(np.maximum(k, 0) + 1, theta[i], share))

        nb, share = stats.nbinom(theta, theta / (theta + mean)), mean / (mean + theta)

        def walk(x, tail):
            if request.param != "recursion":
                return np.zeros(x.size), np.zeros(x.size, dtype=bool)
            return step_score(x, nb.pmf(0), nb.pmf(1), share, (theta - 1) * share, tail)

        return {"cdf": cdf, "step_score": walk}

    return make


@pytest.fixture(scope="session")
def truth():
    """4,000 cells × 6 genes of NB counts with known parameters and their randomised PIT."""
    rng = np.random.default_rng(8)
    size = rng.lognormal(0, 0.3, (4_000, 1))
    mean = size * np.array([0.3, 1.0, 3.0, 10.0, 30.0, 100.0])
    theta = np.array([0.5, 1.0, 2.0, 0.7, 5.0, 20.0])
    observed = rng.poisson(rng.gamma(np.broadcast_to(theta, mean.shape), mean / theta)).astype(
        float
    )
    nb = stats.nbinom(theta, theta / (theta + mean))
    below = nb.cdf(observed - 1)
    pit = below + rng.random(mean.shape) * nb.pmf(observed)
    return SimpleNamespace(
        observed=observed, mean=mean, inverse_dispersion=theta, size=size, pit=pit,
        variance=mean + mean**2 / theta, prob_zero=nb.pmf(0),
    )  # fmt: skip


@pytest.fixture(scope="session")
def pit_of(truth):
    """Randomised PIT of the truth's counts under NBs with other inverse dispersions."""

    def make(factor, seed=9):
        theta = truth.inverse_dispersion * factor
        nb = stats.nbinom(theta, theta / (theta + truth.mean))
        uniform = np.random.default_rng(seed).random(truth.mean.shape)
        return nb.cdf(truth.observed - 1) + uniform * nb.pmf(truth.observed)

    return make

"""The NB factor model against statsmodels, SciPy, and its own truth."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize, stats

from countae.baselines._base import Seen
from countae.baselines._nb_regression import fitted, log_likelihood
from countae.baselines.glm_pca import FactorModel

THETA = np.array([0.5, 1.0, 3.0, 30.0, 1e4] * 8)


@pytest.fixture
def problem(rng):
    """Counts of six rows, (6, 40), with design, offset and what is visible."""
    design = rng.normal(0, 0.6, (40, 3))
    offset = np.log(rng.uniform(0.5, 2, (6, 1))) + rng.normal(1, 0.5, 40)
    mean = np.exp(offset + rng.normal(0, 1, (6, 3)) @ design.T)
    counts = rng.poisson(rng.gamma(THETA, mean / THETA)).astype(float)
    return counts, design, offset, rng.random((6, 40)) > 0.2


def test_coefficients_agree_with_statsmodels(problem):
    """Oracle: its GLM of the visible counts; a prior of 1e-9 does not matter."""
    counts, design, offset, visible = problem
    found = fitted(
        counts, design, offset=offset, theta=THETA, shrinkage=1e-9, steps=50, visible=visible
    )
    for i, at in enumerate(visible):
        family = sm.families.NegativeBinomial(alpha=1 / THETA[at])
        model = sm.GLM(counts[i, at], design[at], family=family, offset=offset[i, at])
        np.testing.assert_allclose(found[i], model.fit(tol=1e-12).params, atol=1e-5)


def test_the_posterior_is_at_its_maximum(problem):
    """Oracle: SciPy's distribution and its own minimiser."""
    counts, design, offset, _ = problem
    found = fitted(counts, design, offset=offset, theta=THETA, shrinkage=4.0, steps=50)
    for i in range(len(counts)):

        def loss(at, i=i):
            mean = np.exp(offset[i] + design @ at)
            value = stats.nbinom.logpmf(counts[i], THETA, THETA / (THETA + mean)).sum()
            return 2.0 * at @ at - value

        best = optimize.minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-7}).x
        np.testing.assert_allclose(found[i], best, atol=1e-4)  # of differences


def test_differences_of_log_likelihood_agree_with_scipy(problem):
    counts, design, offset, visible = problem

    def ours(at):
        return log_likelihood(counts, offset + design @ at, THETA, visible)

    def theirs(at):
        mean = np.exp(offset + design @ at)
        return (stats.nbinom.logpmf(counts, THETA, THETA / (THETA + mean)) * visible).sum(axis=1)

    a, b = np.array([0.3, -0.2, 0.5]), np.zeros(3)
    np.testing.assert_allclose(ours(a) - ours(b), theirs(a) - theirs(b), rtol=1e-7)


def test_a_step_too_far_is_halved_and_warns_of_nothing():
    """Limit: a start at which the mean overflows."""
    counts, design = np.array([[3.0, 0.0]]), np.array([[1.0], [2.0]])
    found = fitted(
        counts, design, offset=np.zeros((1, 2)), theta=np.ones(2), shrinkage=1.0, steps=100,
        start=np.array([[300.0]]),
    )  # fmt: skip
    again = fitted(
        counts, design, offset=np.zeros((1, 2)), theta=np.ones(2), shrinkage=1.0, steps=100
    )
    np.testing.assert_allclose(found, again, atol=1e-6)


def test_it_finds_the_means_of_its_own_data(rng):
    """Simulated from two factors: error of log means below a third of the gene mean's.

    θ is wrong by less than 40 % in the median: 200 cells know it to about 20 %.
    """
    level, loading = rng.normal(1, 0.5, 60), rng.normal(0, 0.5, (60, 2))
    size, factors = rng.uniform(0.5, 2, (200, 1)), rng.normal(0, 1, (200, 2))
    log_mean = np.log(size) + level + factors @ loading.T
    counts = rng.poisson(rng.gamma(2.0, np.exp(log_mean) / 2.0)).astype(float)
    seen = Seen(counts, size, np.zeros(counts.shape, dtype=bool))
    model = FactorModel.of(seen, 2, 1.0)
    error = np.log(model.mean(seen, model.factors(seen))) - log_mean
    null = np.log(size * seen.rate) - log_mean
    assert error.std() < null.std() / 3
    assert abs(np.median(np.log(model.theta / 2.0))) < np.log(1.4)


def test_a_hidden_count_has_no_weight(rng):
    """Oracle: the same model of the visible genes alone. A hidden count is no zero."""
    level, loading = rng.normal(1, 0.5, 30), rng.normal(0, 0.5, (30, 2))
    counts, size = rng.poisson(3.0, (5, 30)).astype(float), rng.uniform(0.5, 2, (5, 1))
    hidden = np.zeros(counts.shape, dtype=bool)
    hidden[:, 20:] = True
    seen = Seen(np.where(hidden, 0.0, counts), size, hidden)
    part = Seen(counts[:, :20], size, hidden[:, :20])
    theta = np.full(30, 2.0)
    found = FactorModel(level, loading, theta, 1.0).factors(seen)
    expected = FactorModel(level[:20], loading[:20], theta[:20], 1.0).factors(part)
    np.testing.assert_allclose(found, expected, atol=1e-8)

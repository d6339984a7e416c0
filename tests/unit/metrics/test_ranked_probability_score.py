"""Ranked probability score against closed forms, R, scoringrules and plain summation."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scoringrules
import torch
from scipy import special, stats

from countae import likelihoods, metrics
from countae.predict import Prediction

rps = metrics.get("ranked_probability_score")

# scoringRules::crps_nbinom(y, size, prob) of R
R_CONSTANTS = [
    (5, 100.0, 0.95, 0.53215257681),
    (44, 200.1, 0.82, 1.70859687251),
    (222, 2000.1, 0.9, 3.66926727576),
]


def score(callables, observed, mean, theta):
    """Value for arrays of one shape; the variance is the NB's."""
    observed, mean, theta = (np.atleast_2d(np.asarray(v, float)) for v in (observed, mean, theta))
    observed, mean, theta = np.broadcast_arrays(observed, mean, theta)
    made = callables(mean, theta)
    return rps(observed=observed, mean=mean, variance=mean + mean**2 / theta, **made)


def closed_form(y, mean, theta):
    """Wei & Held 2014, eq. 9: the NB's CRPS by Gauss' hypergeometric function, in 40 digits."""
    with mpmath.workdps(40):
        n, p = mpmath.mpf(theta), mpmath.mpf(theta) / (mpmath.mpf(theta) + mean)
        hyper = float(mpmath.hyp2f1(n + 1, 0.5, 2, -4 * (1 - p) / p**2))
    p = float(p)
    cdf = stats.nbinom(theta, p).cdf(y), stats.nbinom(theta + 1, p).cdf(y - 1)
    return y * (2 * cdf[0] - 1) - theta * (1 - p) / p**2 * (p * (2 * cdf[1] - 1) + hyper)


def summed(x, mean, theta, upto):
    """Σ_k (F(k) − 1[x ≤ k])², one by one, F by SciPy's incomplete beta function."""
    k = np.arange(upto, dtype=float)
    gap = special.betaincc(k + 1, theta, mean / (mean + theta)) - (x <= k)
    return (gap**2).sum()


@pytest.mark.parametrize(("y", "size", "prob", "expected"), R_CONSTANTS)
def test_agrees_with_r(callables, y, size, prob, expected):
    """Oracle: R's scoringRules, size = θ, prob = θ/(θ+μ).

    1e-10 where the sum ends before 256; there the docstring promises 1e-5 beyond.
    """
    value = score(callables, y, size * (1 - prob) / prob, size)[0, 0]
    np.testing.assert_allclose(value, expected, rtol=1e-5 if y > 200 else 1e-10)


@pytest.mark.parametrize("theta", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("mean", [0.05, 1.0, 20.0])
def test_agrees_with_the_closed_form_and_scoringrules(callables, mean, theta):
    """Oracles: ₂F₁ in 40 digits, to 1e-7 of a count: the sum ends where 1 − F = 1e-6; and
    scoringrules.crps_negbinom.
    """
    y = np.array([0, 1, 3, 40])
    prob = theta / (theta + mean)
    value = score(callables, y, mean, theta)[0]
    np.testing.assert_allclose(value, [closed_form(k, mean, theta) for k in y], rtol=1e-6)
    np.testing.assert_allclose(value, scoringrules.crps_negbinom(y, theta, prob), rtol=1e-6)


@pytest.mark.parametrize(
    ("mean", "theta"), [(5e4, 0.2), (5e4, 5.0), (5e4, 200.0), (2e3, 0.05), (600.0, 20.0)]
)
def test_large_overdispersed_counts(callables, mean, theta):
    """Oracle: the closed form; the docstring promises 1e-5 relative."""
    x = np.array([0, int(0.3 * mean), int(mean), int(3 * mean)])
    expected = [closed_form(k, mean, theta) for k in x]
    np.testing.assert_allclose(score(callables, x, mean, theta)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(("mean", "theta"), [(5e3, 2.0), (5e4, 200.0)])
def test_large_counts_by_plain_summation(callables, mean, theta):
    """Oracle: the definition, one count after another."""
    expected = summed(int(0.8 * mean), mean, theta, 15 * int(mean))
    value = score(callables, int(0.8 * mean), mean, theta)[0, 0]
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("theta", [1e3, 1e5])
@pytest.mark.parametrize("mean", [256.0, 300.0, 900.0])
def test_large_counts_that_vary_little(callables, mean, theta):
    """Oracle: plain summation of a nearly Poisson count; the docstring promises 1e-5 relative."""
    x = np.round(mean + np.array([-30.0, 0.0, 5.0, 60.0]))
    expected = [summed(k, mean, theta, int(3 * mean)) for k in x]
    np.testing.assert_allclose(score(callables, x, mean, theta)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(("mean", "theta"), [(10.0, 1e-3), (300.0, 3e-3), (2.0, 1e-2)])
def test_very_heavy_tails(callables, mean, theta):
    """Oracle: the closed form, to 1e-5; a θ of 1e-3 spreads beyond 40 standard deviations."""
    expected = [closed_form(k, mean, theta) for k in (0, 50)]
    np.testing.assert_allclose(score(callables, [0, 50], mean, theta)[0], expected, rtol=1e-5)


def test_many_entries_at_once_keep_their_places(callables):
    """Oracle: each entry scored alone, small and large ones mixed in one matrix."""
    rng = np.random.default_rng(2)
    mean = rng.permutation(np.geomspace(0.01, 3e3, 24)).reshape(6, 4)
    theta = np.broadcast_to([0.3, 1.0, 4.0, 50.0], mean.shape)
    observed = np.floor(mean * rng.random(mean.shape) * 2)
    together = score(callables, observed, mean, theta)
    for place in np.ndindex(mean.shape):
        alone = score(callables, observed[place], mean[place], theta[place])[0, 0]
        np.testing.assert_allclose(together[place], alone, rtol=1e-12)


def test_a_point_mass_scores_the_distance():
    """Limit, oracle by hand: all mass at 3 scores |x − 3|."""
    observed = np.array([[0.0, 3.0, 10.0]])
    value = rps(
        observed=observed,
        mean=np.full((1, 3), 3.0),
        variance=np.full((1, 3), 1e-12),
        step_score=lambda x, tail: (np.zeros(x.size), np.zeros(x.size, dtype=bool)),
        cdf=lambda k, i: (k >= 3).astype(float),
    )
    np.testing.assert_allclose(value, [[3.0, 0.0, 7.0]])


@pytest.mark.parametrize("name", ["mse_counts", "mse_log1p"])
def test_walks_along_normals(name):
    """Oracle: the definition with SciPy's Φ at the transformed half-counts, to 1e-6 of a count."""
    rng = np.random.default_rng(6)
    location, scale = rng.normal(1.5, 1.0, (40, 3)), np.array([0.2, 0.5, 0.9])
    size = rng.lognormal(0, 0.4, (40, 1))
    observed = rng.integers(0, 12, (40, 3)).astype(float)
    given = {"location": location, "scale": scale, "size_factor": size}
    prediction = Prediction.of(
        likelihoods.get(name)(), {key: torch.as_tensor(value) for key, value in given.items()}
    )
    value, done = prediction.step_score(observed.reshape(-1), 1e-6)
    k = np.arange(5_000.0)
    at = k + 0.5 if name == "mse_counts" else np.log1p((k + 0.5) / size[..., None])
    cdf = stats.norm.cdf((at - location[..., None]) / scale[:, None])
    gap = cdf - (observed[..., None] <= k)
    expected = (gap**2).sum(axis=-1).reshape(-1)
    assert done.mean() > 0.8  # a wide normal of logarithms may reach beyond 4,096
    np.testing.assert_allclose(value[done], expected[done], atol=1e-6, rtol=1e-6)

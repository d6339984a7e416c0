"""Post-hoc noise: what was put in must come out, and genes agree with other packages."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from scipy import optimize, stats

from countae import likelihoods
from countae.metrics._zero_inflation import zero_inflation
from countae.noise import LOWEST_MEAN, PSEUDO_COUNT, fit_noise, noise_families


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def simulated(*, cells, means, theta, zero=0.0, seed=0):
    """Counts, expected counts (extra zeros included) and size factors of known ZINBs."""
    rng = np.random.default_rng(seed)
    size = rng.lognormal(0, 0.3, cells)
    mean = size[:, None] * np.asarray(means)
    theta = np.broadcast_to(theta, mean.shape)
    mu = mean / (1 - zero)
    counts = rng.poisson(rng.gamma(theta, mu / theta)) * (rng.random(mean.shape) >= zero)
    return {"counts": counts.astype(float), "mean": mean, "size_factor": size}


@pytest.fixture(scope="module")
def nb_data():
    """1,200 cells × 90 genes: means 0.05 … 30, θ log-normal around 2."""
    rng = np.random.default_rng(1)
    theta = rng.lognormal(np.log(2), 0.7, 90)
    means = np.exp(rng.uniform(np.log(0.05), np.log(30), 90))
    return simulated(cells=1_200, means=means, theta=theta, seed=2), means, theta


def information_error(mean, theta, n):
    """Expected standard error of log θ: variance of the score summed over SciPy's pmf."""
    from scipy.special import digamma

    k, p = np.arange(3_000.0), theta / (theta + mean)
    score = digamma(k + theta) - digamma(theta) + np.log(p) + (mean - k) / (mean + theta)
    return 1 / np.sqrt(n * (stats.nbinom.pmf(k, theta, p) * (theta * score) ** 2).sum())


@pytest.mark.parametrize("family", noise_families())
def test_mean_and_variance_of_a_column_are_those_of_its_pmf(family):
    """Limit: Σ k P(k) and Σ k² P(k) − (Σ k P(k))², the means kept whatever the noise.

    Those of cut normals are read from a grid: 1 % of the mean, 4 % of the variance.
    """
    data = simulated(cells=300, means=[0.3, 2.0, 9.0] * 8, theta=2.0)
    noise = fit_noise(family, **data)
    made = noise.around(data["mean"][:5], data["size_factor"][:5])
    k = np.arange(400.0)
    p = np.stack([np.exp(made.log_pmf(np.full(made.shape, value))) for value in k])
    mean = np.tensordot(k, p, axes=1)
    variance = np.tensordot(k**2, p, axes=1) - mean**2
    np.testing.assert_allclose(made.mean, noise.scale * data["mean"][:5], rtol=1e-12)
    np.testing.assert_allclose(made.mean, mean, rtol=0.01)
    np.testing.assert_allclose(made.variance, variance, rtol=0.04)


def test_families_are_found_simplest_first():
    """The columns of every comparison; a squared error on logarithms is no noise around a mean."""
    families = noise_families()
    complexity = [likelihoods.get(name).complexity for name in families]
    assert complexity == sorted(complexity)
    assert {"poisson", "nb", "zinb"} <= set(families)
    assert [name for name in families if name.startswith("mse")] == ["mse_counts"]


def test_recovers_the_inverse_dispersion(nb_data):
    """Recovery, around the true means, of genes whose expected error of log θ is at most ½.

    The root mean squared error of log θ is below 0.25 and no gene errs by more than 1; errors
    over their expected size stay below 1.2, since a prior can only help on average.
    """
    data, means, theta = nb_data
    found = fit_noise("nb", **data).raw["log_inverse_dispersion"].numpy()
    expected = np.array(
        [information_error(m, t, 1_200) for m, t in zip(means, theta, strict=True)]
    )
    known = expected <= 0.5
    assert known.sum() > 50
    error = (found - np.log(theta))[known]
    assert np.sqrt(np.mean(error**2)) < 0.25
    assert np.abs(error).max() < 1.0
    assert np.sqrt(np.mean((error / expected[known]) ** 2)) < 1.2


def test_genes_of_one_inverse_dispersion_are_drawn_together():
    """Recovery: 80 genes of θ = 2 whose spread around the trend is all error.

    The prior's width is what exceeds that error, so next to nothing: together they err by less
    than half of what each does alone (the expected information's error).
    """
    data = simulated(cells=200, means=np.geomspace(1, 4, 80), theta=2.0, seed=13)
    found = fit_noise("nb", **data).raw["log_inverse_dispersion"].numpy()
    alone = information_error(2.0, 2.0, 200)
    assert np.sqrt(np.mean((found - np.log(2)) ** 2)) < 0.5 * alone


def test_genes_that_cannot_be_identified_are_drawn_to_the_trend():
    """Recovery: 60 rare genes of θ = 2, 300 cells: alone they err by 1, together by 0.7."""
    means = np.concatenate([np.geomspace(1, 20, 60), np.full(60, 0.05)])
    data = simulated(cells=300, means=means, theta=2.0, seed=3)
    found = fit_noise("nb", **data).raw["log_inverse_dispersion"].numpy()[60:]
    assert information_error(0.05, 2.0, 300) > 1.0
    assert np.sqrt(np.mean((found - np.log(2)) ** 2)) < 0.7


@pytest.mark.parametrize(("mean", "theta"), [(4.0, 1.5), (0.8, 0.3), (40.0, 12.0)])
def test_one_gene_has_the_maximum_of_likelihood(mean, theta):
    """Oracles: scipy.optimize over scipy.stats.nbinom around the same means, within 0.02; and
    statsmodels' NegativeBinomial, which also fits the mean, within a quarter of its own error.

    A single gene is its own trend, and 3,000 cells outweigh the wide prior (1/9 against 500).
    """
    data = simulated(cells=3_000, means=[mean], theta=theta, seed=5)
    noise = fit_noise("nb", **data)
    found = float(noise.raw["log_inverse_dispersion"][0])
    x, m = data["counts"][:, 0], noise.scale[0] * data["mean"][:, 0]

    def deviance(log_theta):
        size = np.exp(log_theta)
        return -stats.nbinom(size, size / (size + m)).logpmf(x).sum()

    exact = optimize.minimize_scalar(
        deviance, bounds=(-4, 5), method="bounded", options={"xatol": 1e-8}
    )
    assert abs(found - exact.x) < 0.02
    model = sm.NegativeBinomial(x, np.ones((3_000, 1)), offset=np.log(data["mean"][:, 0]))
    fit = model.fit(disp=0)
    error = fit.bse[1] / fit.params[1]
    assert abs(found + np.log(fit.params[1])) < 0.25 * error
    np.testing.assert_allclose(noise.standard_error[0], error, rtol=0.15)


def test_identifiable_genes_get_the_inverse_dispersion_of_maximum_likelihood(nb_data):
    """Oracle: the maximum with a free scale and no prior, itself tested against R and statsmodels.

    The prior moves log θ by s/w² times its distance d from the trend, in errors s: with s < 0.15,
    w = 0.7 and d < 2 by 0.6 at most, and by a fifth as a rule.
    """
    data, _, _ = nb_data
    noise = fit_noise("nb", **data)
    alone = zero_inflation(observed=data["counts"], mean=data["mean"]).inverse_dispersion_nb
    known = (noise.standard_error < 0.15) & ~np.isnan(alone)
    assert known.sum() > 20
    gap = noise.raw["log_inverse_dispersion"].numpy() - np.log(alone)
    ratio = np.abs(gap / noise.standard_error)[known]
    assert ratio.max() < 0.6
    assert np.median(ratio) < 0.2


@pytest.mark.parametrize(
    ("mean", "theta", "zero"), [(5.0, 2.0, 0.4), (1.0, 0.8, 0.1), (8.0, 3.0, 0.0)]
)
def test_one_gene_has_the_maximum_of_the_posterior(mean, theta, zero):
    """Oracle: scipy.optimize from three starts over SciPy's NB, mixed by hand, times the priors
    of the docstring: log θ ~ N(0, 3²), which 1,500 cells outweigh, and logit π ~ N(−4, 2²).
    Within 0.05, a fifth of the estimates' errors; π moves the NB's mean, not the count's.
    """
    data = simulated(cells=1_500, means=[mean], theta=theta, zero=zero, seed=11)
    noise = fit_noise("zinb", **data)
    x, m = data["counts"][:, 0], noise.scale[0] * data["mean"][:, 0]

    def deviance(raw):
        size, pi = np.exp(raw[0]), 1 / (1 + np.exp(-raw[1]))
        mu = m / (1 - pi)
        pmf = pi * (x == 0) + (1 - pi) * stats.nbinom(size, size / (size + mu)).pmf(x)
        return 0.5 * (raw[0] / 3) ** 2 + 0.5 * ((raw[1] + 4) / 2) ** 2 - np.log(pmf).sum()

    fits = [optimize.minimize(deviance, [0.5, z], method="Nelder-Mead") for z in (-5.0, -1.5, 0.0)]
    best = min(fits, key=lambda fit: fit.fun)
    found = [float(noise.raw[name][0]) for name in ("log_inverse_dispersion", "zero_logit")]
    np.testing.assert_allclose(found, best.x, atol=0.05)


def test_standard_errors_are_those_of_the_fits(nb_data):
    """Calibration: where errors are small, log θ lies within two of them as a rule."""
    data, _, theta = nb_data
    noise = fit_noise("nb", **data)
    z = (noise.raw["log_inverse_dispersion"].numpy() - np.log(theta)) / noise.standard_error
    sure = noise.standard_error < 0.2
    assert sure.sum() > 30
    assert 0.8 < np.sqrt(np.mean(z[sure] ** 2)) < 1.25


def test_standard_errors_know_of_the_prior():
    """Oracle: second difference of SciPy's log-likelihood, plus the prior's precision.

    A gene alone is its own trend, so that its prior has the smallest width, 0.1.
    """
    data = simulated(cells=200, means=[1.0], theta=2.0, seed=15)
    noise = fit_noise("nb", **data)
    x, m = data["counts"][:, 0], noise.scale[0] * data["mean"][:, 0]
    at = float(noise.raw["log_inverse_dispersion"][0]) + np.array([-0.01, 0.0, 0.01])
    below, here, above = (
        stats.nbinom(theta, theta / (theta + m)).logpmf(x).sum() for theta in np.exp(at)
    )
    precision = 0.1**-2 - (below - 2 * here + above) / 0.01**2
    np.testing.assert_allclose(noise.standard_error[0], precision**-0.5, rtol=1e-3)


@pytest.mark.parametrize("family", ["poisson", "nb", "zinb"])
def test_the_mean_is_held_fixed(family, nb_data):
    """Oracle: the scaled means, by hand; a noise family must not improve the mean it is given."""
    data, _, _ = nb_data
    wrong = 0.4 * data["mean"] * np.linspace(0.5, 2, 1_200)[:, None]
    noise = fit_noise(family, counts=data["counts"], mean=wrong, size_factor=data["size_factor"])
    new = 3.0 * wrong[:7]
    predicted = noise.around(new, data["size_factor"][:7])
    total, of_mean = data["counts"].sum(axis=0), wrong.sum(axis=0)
    expected = new * (total + PSEUDO_COUNT) / (of_mean + PSEUDO_COUNT)
    np.testing.assert_allclose(predicted.mean, expected, rtol=1e-10)


def test_recovers_the_zero_probability():
    """Recovery: π of 0.2, 0.4 and 0.6 within 0.06 (0.03 on average) at testable means."""
    means, zero = np.full(30, 5.0), np.repeat([0.2, 0.4, 0.6], 10)
    data = simulated(cells=2_000, means=means, theta=3.0, zero=zero, seed=7)
    noise = fit_noise("zinb", **data)
    found = torch.sigmoid(noise.raw["zero_logit"]).numpy()
    assert np.abs(found - zero).max() < 0.06
    assert np.abs(found - zero).mean() < 0.03
    theta = noise.raw["log_inverse_dispersion"].exp().numpy()
    np.testing.assert_allclose(np.median(theta), 3.0, rtol=0.15)


def test_finds_no_extra_zeros_in_nb_data(nb_data):
    """Recovery: around the true means of NB data, π is near 0 wherever zeros could tell.

    That takes a mean well above the zeros of a small θ: μ > 3 and θ > 1 here.
    """
    data, means, theta = nb_data
    found = torch.sigmoid(fit_noise("zinb", **data).raw["zero_logit"]).numpy()
    assert np.median(found) < 0.02
    clear = (means > 3) & (theta > 1)
    assert clear.sum() > 15
    assert found[clear].max() < 0.05


def test_zinb_fits_zinb_better_than_nb_and_nb_as_well_on_nb(nb_data):
    """Oracle: held-out log scores; 4 standard errors on ZINB data, less than 0.002 on NB data."""
    means = np.full(20, 5.0)
    train, test = (
        simulated(cells=800, means=means, theta=3.0, zero=0.4, seed=seed) for seed in (8, 9)
    )
    scores = {
        family: -fit_noise(family, **train)
        .around(test["mean"], test["size_factor"])
        .log_pmf(test["counts"])
        .mean(axis=1)
        for family in ("poisson", "nb", "zinb")
    }
    gap = scores["nb"] - scores["zinb"]
    assert gap.mean() > 4 * gap.std() / np.sqrt(len(gap))
    assert scores["poisson"].mean() > scores["nb"].mean() + 1
    data, _, _ = nb_data
    on_nb = [
        fit_noise(f, **data)
        .around(data["mean"], data["size_factor"])
        .log_pmf(data["counts"])
        .mean()
        for f in ("nb", "zinb")
    ]
    assert abs(on_nb[0] - on_nb[1]) < 0.002


@pytest.mark.parametrize("family", ["poisson", "nb", "zinb"])
def test_a_mean_of_zero_is_lifted(family):
    """A squared error may predict 0 where a count is seen; the score must stay finite."""
    data = simulated(cells=300, means=np.full(25, 1.5), theta=2.0, seed=4)
    mean = data["mean"].copy()
    mean[::3, :] = 0.0
    mean[:, 0] = 0.0
    noise = fit_noise(family, counts=data["counts"], mean=mean, size_factor=data["size_factor"])
    predicted = noise.around(mean, data["size_factor"])
    assert np.isfinite(predicted.log_pmf(data["counts"])).all()
    average = data["size_factor"][:, None] * data["counts"].sum(axis=0) / data["size_factor"].sum()
    np.testing.assert_allclose(predicted.mean[::3], LOWEST_MEAN * average[::3], rtol=1e-9)


def test_size_factors_of_entries_lift_means_entry_by_entry():
    """Oracle: 1/1,000 of the gene's average at each entry's own visible size, by hand; a column of
    equal size factors gives what one per cell gives.
    """
    data = simulated(cells=120, means=np.full(25, 1.5), theta=2.0, seed=4)
    given = {"counts": data["counts"], "mean": 0 * data["mean"]}
    per_cell = fit_noise("poisson", **given, size_factor=data["size_factor"])
    wide = np.broadcast_to(data["size_factor"][:, None], data["mean"].shape)
    np.testing.assert_allclose(
        fit_noise("poisson", **given, size_factor=wide).around(given["mean"], wide).mean,
        per_cell.around(given["mean"], data["size_factor"]).mean,
    )
    visible = wide * np.linspace(0.8, 1.2, 25)
    found = fit_noise("poisson", **given, size_factor=visible).around(given["mean"], visible)
    average = data["counts"].sum(axis=0) / visible.sum(axis=0)
    np.testing.assert_allclose(found.mean, LOWEST_MEAN * visible * average)


@pytest.mark.parametrize("family", ["poisson", "nb", "zinb"])
def test_a_gene_unseen_in_the_fitted_cells_stays_finite(family):
    """``score.py`` thins the fitted cells to 4,000, so that a rare gene may have no count in them;
    with a mean of 0 for it, a count in a test cell must not cost infinity.
    """
    data = simulated(cells=200, means=np.full(25, 1.5), theta=2.0, seed=4)
    data["counts"][:, 3] = 0.0
    data["mean"][:, 3] = 0.0
    noise = fit_noise(family, **data)
    log_pmf = noise.around(data["mean"][:5], data["size_factor"][:5]).log_pmf(np.ones((5, 25)))
    assert np.isfinite(log_pmf).all()


def test_poisson_counts_get_a_large_inverse_dispersion():
    """Limit: θ of Poisson counts is large, and scores are SciPy's Poisson's to 0.002."""
    data = simulated(cells=800, means=np.geomspace(0.5, 20, 30), theta=1e8, seed=6)
    noise = fit_noise("nb", **data)
    predicted = noise.around(data["mean"], data["size_factor"])
    assert np.median(noise.raw["log_inverse_dispersion"].exp()) > 30
    expected = stats.poisson(data["mean"]).logpmf(data["counts"]).mean()
    assert abs(predicted.log_pmf(data["counts"]).mean() - expected) < 0.002


def test_genes_do_not_depend_on_their_order(nb_data):
    """Limit: columns in another order give the same genes; fits stop within 3e-3."""
    data, _, _ = nb_data
    order = np.random.default_rng(0).permutation(90)
    shuffled = {"counts": data["counts"][:, order], "mean": data["mean"][:, order]}
    a = fit_noise("nb", **data).raw["log_inverse_dispersion"].numpy()
    b = fit_noise("nb", **shuffled, size_factor=data["size_factor"]).raw["log_inverse_dispersion"]
    np.testing.assert_allclose(a[order], b, atol=1e-6)


def test_normal_noise_has_the_spread_and_the_mean_of_its_counts():
    """Recovery: rounded normals cut at zero, 20,000 cells; spread within 2 %, and the mean of the
    predicted counts, summed over the cdf, is the mean that was asked for, within 0.5 %.
    """
    rng = np.random.default_rng(21)
    location, spread = np.array([-1.0, 0.2, 3.0, 12.0, 60.0]), np.array([1.5, 2.0, 1.0, 4.0, 15.0])
    counts = np.maximum(np.ceil(rng.normal(location, spread, (20_000, 5)) - 0.5), 0)
    mean = np.broadcast_to(counts.mean(axis=0), counts.shape)
    noise = fit_noise("mse_counts", counts=counts, mean=mean, size_factor=np.ones(20_000))
    np.testing.assert_allclose(noise.raw["log_scale"].exp(), spread, rtol=0.02)
    around = noise.around(mean[:1], np.ones(1))
    k = np.arange(400.0)[:, None]
    cdf = stats.norm.cdf(
        (k + 0.5 - around.parameters["location"].numpy()) / around.parameters["scale"].numpy()
    )
    np.testing.assert_allclose((1 - cdf).sum(axis=0), mean[0], rtol=5e-3)


def test_normal_noise_of_a_rare_gene_promises_its_mean_too():
    """A gene with 12 counts in 4,000 cells: P(count > 0) is near its mean, not near 0."""
    counts = np.zeros((4_000, 2))
    counts[:12, 0] = counts[::4, 1] = 1
    mean = np.broadcast_to(counts.mean(axis=0), counts.shape)
    noise = fit_noise("mse_counts", counts=counts, mean=mean, size_factor=np.ones(4_000))
    positive = 1 - noise.around(mean[:1], np.ones(1)).prob_zero[0]
    assert 0.5 * 0.003 < positive[0] < 4 * 0.003  # ten counts are added to a gene's scale
    assert positive[1] == pytest.approx(0.25, rel=0.1)

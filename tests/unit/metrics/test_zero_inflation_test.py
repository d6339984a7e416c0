"""NB and ZINB maxima against R and statsmodels; size and power of the test between them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize, stats

from countae import metrics
from countae.kernels.gene_table import GeneTable
from countae.metrics import _zero_inflation
from countae.metrics._zero_inflation import zero_inflation

ORACLES = Path(__file__).parents[2] / "oracles"


def simulated(*, cells, mean, theta, zero=0.0, seed=0):
    """ZINB counts and the means of their NB part, (cell, gene)."""
    rng = np.random.default_rng(seed)
    m = rng.lognormal(0, 0.3, (cells, 1)) * np.asarray(mean, dtype=float)
    theta = np.broadcast_to(theta, m.shape)
    kept = rng.random(m.shape) >= zero
    return {"observed": (rng.poisson(rng.gamma(theta, m / theta)) * kept).astype(float), "mean": m}


@pytest.fixture(scope="module")
def of_r():
    """Genes that R has fitted, their counts and offsets; with our fits, rare genes included."""
    table = np.genfromtxt(ORACLES / "zero_inflation_counts.csv", delimiter=",", names=True)
    genes = json.loads((ORACLES / "zero_inflation.json").read_text())["genes"]
    observed = np.stack([table[name] for name in genes], axis=1)
    mean = np.exp(table["log_mean"])[:, None] * np.ones(len(genes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_zero_inflation, "LOWEST_AVERAGE", 0.0)
        return genes, observed, mean, zero_inflation(observed=observed, mean=mean)


def column(genes, key):
    return np.array([gene[key] for gene in genes.values()])


def test_nb_maximum_agrees_with_r(of_r):
    """Oracle: MASS::glm.nb (stats::optim over dnbinom where it fails).

    The log-likelihood to 1e-9, θ to 1e-3 of itself, where R's stopping rules leave it.
    """
    genes, _, _, found = of_r
    np.testing.assert_allclose(
        found.log_likelihood_nb, column(genes, "nb_log_likelihood"), rtol=1e-9
    )
    np.testing.assert_allclose(found.inverse_dispersion_nb, column(genes, "nb_theta"), rtol=1e-3)
    scale = column(genes, "nb_log_scale")
    np.testing.assert_allclose(np.log(found.scale_nb), scale, atol=1e-3)


def test_zinb_maximum_agrees_with_r(of_r):
    """Oracle: pscl::zeroinfl. The log-likelihood to 1e-8; π and θ to 1e-3, but for genes that are
    a Poisson with extra zeros, whose θ runs off, and those without any, whose π does.
    """
    genes, _, _, found = of_r
    np.testing.assert_allclose(
        found.log_likelihood_zinb, column(genes, "zinb_log_likelihood"), rtol=1e-8
    )
    theta, pi = column(genes, "zinb_theta"), column(genes, "zinb_zero_probability")
    finite, inside = theta < 1e5, pi > 1e-4
    assert (~finite).sum() == 2
    assert (~inside).sum() == 1
    np.testing.assert_allclose(found.inverse_dispersion_zinb[finite], theta[finite], rtol=1e-3)
    assert (found.inverse_dispersion_zinb[~finite] > 1e5).all()
    np.testing.assert_allclose(found.zero_probability, pi, atol=1e-5, rtol=1e-3)
    scale = column(genes, "zinb_log_scale")
    np.testing.assert_allclose(np.log(found.scale_zinb), scale, atol=1e-3)


def test_p_value_is_that_of_the_mixture(of_r):
    """Oracle: R's two log-likelihoods and SciPy's χ², half of whose mass lies at 0."""
    genes, observed, mean, found = of_r
    gain = 2 * (column(genes, "zinb_log_likelihood") - column(genes, "nb_log_likelihood"))
    expected = 0.5 * (1 - stats.chi2(1).cdf(np.maximum(gain, 0)))
    positive = gain > 1e-4
    np.testing.assert_allclose(found.p_value[positive], expected[positive], rtol=1e-4, atol=1e-12)
    assert (found.p_value[~positive] == 1).all()
    assert (found.zero_probability[~positive] == 0).all()
    registered = metrics.get("zero_inflation_test")(observed=observed, mean=mean)
    common = observed.mean(axis=0) >= 0.5
    np.testing.assert_array_equal(registered[common], found.p_value[common])
    assert np.isnan(registered[~common]).all()


def test_dispersion_with_cox_and_reids_correction_agrees_with_edger(of_r):
    """Oracle: edgeR::dispCoxReid, the maximum of the profile log-likelihood minus half the log of
    the scale's information Σ μθ/(μ+θ), to 1e-3; our sums in SciPy's optimiser, the scale at its
    maximum of likelihood for each θ.

    The correction moves log θ by O(1/n): by at most 4 % for these 300 cells, and by more where θ
    runs off to Poisson. That bounds what maximum of likelihood may differ from edgeR by.
    """
    genes, observed, mean, ours = of_r
    usual = [i for i, name in enumerate(genes) if name != "near_poisson"]
    expected = column(genes, "cox_reid_theta")
    np.testing.assert_allclose(ours.inverse_dispersion_nb[usual], expected[usual], rtol=0.04)
    for i in usual:
        table = GeneTable.of(observed[:, [i]], mean[:, [i]])

        def minus_adjusted(t, table=table, m=mean[:, i]):
            def minus_value(s):
                raw = (np.array([v]) for v in (s, t, -np.inf))
                return -table.sums(np.array([0]), *raw)[0, 0]

            profile = optimize.minimize_scalar(
                minus_value, bounds=(-6, 8), method="bounded", options={"xatol": 1e-8}
            )
            mu = np.exp(profile.x) * m
            return profile.fun + 0.5 * np.log((mu / (1 + mu / np.exp(t))).sum())

        found = optimize.minimize_scalar(
            minus_adjusted, bounds=(-5, 6), method="bounded", options={"xatol": 1e-7}
        )
        np.testing.assert_allclose(np.exp(found.x), expected[i], rtol=1e-3)


@pytest.mark.parametrize(("mean", "theta", "zero"), [(4.0, 1.5, 0.3), (1.5, 0.6, 0.2)])
def test_maxima_agree_with_statsmodels(mean, theta, zero):
    """Oracle: statsmodels' NegativeBinomial and ZeroInflatedNegativeBinomialP, to 1e-7."""
    data = simulated(cells=900, mean=[mean], theta=theta, zero=zero, seed=3)
    found = zero_inflation(**data)
    x, offset, one = data["observed"][:, 0], np.log(data["mean"][:, 0]), np.ones((900, 1))
    nb = sm.NegativeBinomial(x, one, offset=offset)
    start = [np.log(found.scale_nb[0]) + 0.2, 1 / theta]
    fit = nb.fit(start, method="bfgs", maxiter=500, gtol=1e-8, disp=False)
    np.testing.assert_allclose(found.log_likelihood_nb, fit.llf, rtol=1e-7)
    np.testing.assert_allclose(1 / found.inverse_dispersion_nb, fit.params[1], rtol=1e-3)
    zinb = sm.ZeroInflatedNegativeBinomialP(x, one, exog_infl=one, offset=offset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its gradient is by differences and may stop early
        fit = zinb.fit([-1.0, 0.0, 1.0], method="bfgs", maxiter=2_000, gtol=1e-7, disp=False)
    np.testing.assert_allclose(found.log_likelihood_zinb, fit.llf, rtol=1e-7)
    np.testing.assert_allclose(found.zero_probability, 1 / (1 + np.exp(-fit.params[0])), rtol=1e-2)


def test_size_with_the_right_means():
    """Calibration: 2,400 NB genes, θ from 0.5 to 8; four standard errors of 5 % are 1.8 %.

    Half of the genes gain nothing, as the mixture says; 10 % in four standard errors is 4 %.
    """
    means, theta = np.geomspace(0.7, 15, 2_400), np.tile(np.geomspace(0.5, 8, 40), 60)
    found = zero_inflation(**simulated(cells=500, mean=means, theta=theta, seed=4))
    p = found.p_value[~np.isnan(found.p_value)]
    assert p.size > 2_300
    assert abs((p < 0.05).mean() - 0.05) < 0.018
    assert abs((p < 0.01).mean() - 0.01) < 0.009
    assert abs((p == 1).mean() - 0.5) < 0.06


def test_power_grows_with_the_mean_and_is_missing_below_one_half():
    """Oracle: METRICS' table, power .06–.09 at a mean of 0.3; 200 genes each, π = 0.4, θ = 2."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_zero_inflation, "LOWEST_AVERAGE", 0.0)
        data = simulated(cells=500, mean=np.repeat([0.3, 1, 5], 200), theta=2.0, zero=0.4, seed=5)
        power = (zero_inflation(**data).p_value < 0.05).reshape(3, 200).mean(axis=1)
    assert power[0] < 0.12
    assert 0.45 < power[1] < 0.75
    assert power[2] > 0.99


def test_two_types_are_no_zero_inflation_where_the_means_know_them():
    """Negative control: NB genes twenty times higher in one of two types of cells.

    With each cell's own mean 5 % are called zero-inflated, with the type ignored most are.
    """
    rng = np.random.default_rng(6)
    level = np.where(rng.random(1_000) < 0.5, 0.3, 6.0)[:, None] * np.ones(400)
    observed = rng.poisson(rng.gamma(2.0, level / 2.0)).astype(float)
    right = zero_inflation(observed=observed, mean=level).p_value
    ignored = zero_inflation(observed=observed, mean=np.ones_like(level)).p_value
    assert (right < 0.05).mean() < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)
    assert (ignored < 0.05).mean() > 0.7


def test_recovers_the_zero_probability():
    """Recovery: π and θ of 30 genes within four of their usual errors (0.02 and 15 %)."""
    zero = np.repeat([0.1, 0.3, 0.6], 10)
    data = simulated(cells=3_000, mean=np.full(30, 6.0), theta=3.0, zero=zero, seed=7)
    found = zero_inflation(**data)
    np.testing.assert_allclose(found.zero_probability, zero, atol=0.06)
    np.testing.assert_allclose(np.median(found.inverse_dispersion_zinb), 3.0, rtol=0.1)
    np.testing.assert_allclose(np.median(found.scale_zinb), 1.0, rtol=0.03)


def test_the_larger_model_never_fits_worse():
    """Limit: 2(l₁ − l₀) ≥ 0, and equal fits where the ZINB gains nothing; underdispersed too."""
    data = simulated(cells=300, mean=np.geomspace(0.6, 30, 300), theta=1.0, seed=8)
    rng = np.random.default_rng(9)
    few = {"observed": rng.binomial(4, 0.4, (300, 20)).astype(float), "mean": np.ones((300, 20))}
    for found in (zero_inflation(**data), zero_inflation(**few)):
        known = ~np.isnan(found.p_value)
        assert known.sum() >= 20
        assert (found.statistic[known] >= 0).all()
        same = found.statistic == 0
        np.testing.assert_array_equal(
            found.log_likelihood_zinb[same], found.log_likelihood_nb[same]
        )
        np.testing.assert_array_equal(found.scale_zinb[same], found.scale_nb[same])
        assert (found.zero_probability[same] == 0).all()
        assert (found.zero_probability[known & ~same] > 0).all()


def test_no_start_leads_higher(of_r):
    """Oracle: Nelder and Mead over SciPy's NB, mixed by hand, from nine starts per gene."""
    genes, observed, mean, found = of_r
    for i in [list(genes).index(name) for name in ("usual", "heavy_zeros", "few_zeros")]:
        x, m = observed[:, i], mean[:, i]

        def deviance(raw, x=x, m=m):
            mu, theta, pi = np.exp(raw[0]) * m, np.exp(raw[1]), 1 / (1 + np.exp(-raw[2]))
            pmf = stats.nbinom(theta, theta / (theta + mu)).pmf(x)
            return -np.log(pi * (x == 0) + (1 - pi) * pmf).sum()

        level = np.log(x.sum() / m.sum())
        best = min(
            optimize.minimize(deviance, [level, t, z], method="Nelder-Mead").fun
            for t in (-1.0, 0.5, 2.0)
            for z in (-4.0, -1.0, 1.0)
        )
        assert -found.log_likelihood_zinb[i] < best + 1e-6


def test_genes_that_cannot_be_tested():
    """By hand: an average below one half, no zero, nine non-zeros; each at the threshold is."""
    observed = np.zeros((40, 6))
    observed[:19, 0], observed[:20, 1] = 1, 1
    observed[:, 2], observed[1:, 3] = 3, 3
    observed[:9, 4], observed[:10, 5] = 5, 5
    p = zero_inflation(observed=observed, mean=np.ones((40, 6))).p_value
    np.testing.assert_array_equal(np.isnan(p), [True, False, True, False, True, False])
    assert np.isnan(zero_inflation(observed=np.zeros((5, 2)), mean=np.ones((5, 2))).p_value).all()


def test_the_scale_of_the_means_and_their_zeros():
    """Limit: means a thousand times as large give the same test; those of 0 are lifted to 1/1,000
    of the gene's average, and a gene whose means are all 0 has the same one in every cell.
    """
    data = simulated(cells=400, mean=np.full(3, 4.0), theta=2.0, zero=0.2, seed=10)
    x, m = data["observed"], data["mean"].copy()
    m[::50, 0], m[:, 1] = 0.0, 0.0
    lifted = m.copy()
    lifted[::50, 0], lifted[:, 1] = 1e-3 * m[:, 0].mean(), 7.0
    expected = zero_inflation(observed=x, mean=lifted)
    for given in (m, 1e3 * m, 1e-3 * m):
        found = zero_inflation(observed=x, mean=given)
        np.testing.assert_allclose(found.statistic, expected.statistic, rtol=1e-6)
        np.testing.assert_allclose(found.p_value, expected.p_value, rtol=1e-5)


def test_genes_keep_their_places_over_blocks():
    """Limit: 600 genes in blocks are what each gene alone is."""
    means = np.tile([0.1, 1.0, 4.0, 12.0], 150)
    data = simulated(cells=120, mean=means, theta=2.0, zero=0.3, seed=11)
    together = zero_inflation(**data)
    for gene in (0, 1, 255, 343, 598):
        alone = zero_inflation(**{key: value[:, [gene]] for key, value in data.items()})
        for name in ("statistic", "p_value", "zero_probability", "log_likelihood_nb"):
            np.testing.assert_allclose(
                getattr(together, name)[gene], getattr(alone, name)[0], rtol=1e-9
            )

"""Simulated counts against the truth that goes with them, by SciPy's distributions."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SETTINGS, prepared
from scipy import special, stats

from countae import baselines, likelihoods, simulate
from countae.config import Source
from countae.counts import CountMatrix
from countae.errors import CountMatrixError, ScoreError
from countae.prepare import prepare, simulated
from countae.score import score_baseline
from countae.simulate import Design, from_design, random_design
from countae.simulate.gaussian import expected_count

SIZE = {"n_cells": 800, "n_genes": 60, "n_types": 4, "n_batches": 1, "depth": 300.0}
NAMES = simulate.names()
SCORED = [name for name in NAMES if simulate.has_oracle(name)]


def truth_of(adata):
    """The truth as arrays, by name."""
    found = {name: adata.var[name].to_numpy() for name in adata.var if name.startswith("true_")}
    found |= {name: np.asarray(adata.layers[name]) for name in adata.layers if "true_" in name}
    return SimpleNamespace(**{name.removeprefix("true_"): value for name, value in found.items()})


def nb_cdf(k, mean, theta):
    return stats.nbinom.cdf(k, theta, theta / (theta + mean))


def zinb_cdf(k, t):
    zero = t.zero_probability
    nb = nb_cdf(k, t.mean / (1 - zero), t.inverse_dispersion)
    return np.where(k < 0, 0.0, zero + (1 - zero) * nb)


def zinb_variance(t):
    zero, mu = t.zero_probability, t.mean / (1 - t.zero_probability)
    return (1 - zero) * (mu + mu**2 / t.inverse_dispersion + mu**2) - t.mean**2


def lognormal_poisson_cdf(k, t):
    """Poisson probabilities averaged over the normal by the trapezoidal rule."""
    sigma2 = np.log1p(1 / t.inverse_dispersion)
    z = np.linspace(-7, 7, 150)
    weight = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    rates = (t.mean * np.exp(np.sqrt(sigma2) * x - sigma2 / 2) for x in z)
    cdf = sum(w * special.pdtr(np.maximum(k, 0), r) for w, r in zip(weight, rates, strict=True))
    return np.where(k < 0, 0.0, cdf)


def gaussian_cdf(k, t):
    return np.where(k < 0, 0.0, stats.norm.cdf(k + 0.5, t.location, t.scale))


def gaussian_variance(t):
    """E X² = Σ (2k + 1) P(X > k)."""
    last = int((t.location + 9 * t.scale).max())
    square = sum(
        (2 * k + 1) * (1 - gaussian_cdf(np.full(t.mean.shape, k), t)) for k in range(last)
    )
    return square - t.mean**2


# heavy_tailed: one entry in 200 has its mean multiplied by a log-normal factor around 20
OUTLIERS, MEAN_FACTOR, MEAN_SQUARE = 0.005, 20 * np.exp(0.125), 400 * np.exp(0.5)


def heavy_cdf(k, t):
    core = t.mean / (1 - OUTLIERS + OUTLIERS * MEAN_FACTOR)
    z, w = np.polynomial.hermite_e.hermegauss(20)
    far = sum(
        weight * nb_cdf(k, core * 20 * np.exp(x / 2), t.inverse_dispersion)
        for x, weight in zip(z, w / w.sum(), strict=True)
    )
    return (1 - OUTLIERS) * nb_cdf(k, core, t.inverse_dispersion) + OUTLIERS * far


def heavy_variance(t):
    core = t.mean / (1 - OUTLIERS + OUTLIERS * MEAN_FACTOR)
    square = core**2 * (1 + 1 / t.inverse_dispersion)
    return t.mean + square * (1 - OUTLIERS + OUTLIERS * MEAN_SQUARE) - t.mean**2


def of_nb(k, t):
    return nb_cdf(k, t.mean, t.inverse_dispersion)


def nb_variance(t):
    return t.mean + t.mean**2 / t.inverse_dispersion


# cumulative distribution and variance of every entry; a new simulator needs its own
ORACLES = {
    "poisson": (lambda k, t: stats.poisson.cdf(k, t.mean), lambda t: t.mean),
    "nb": (of_nb, nb_variance),
    "zinb": (zinb_cdf, zinb_variance),
    "zinb_logistic": (zinb_cdf, zinb_variance),
    "poisson_lognormal": (lognormal_poisson_cdf, nb_variance),
    "gaussian": (gaussian_cdf, gaussian_variance),
    "two_type_nb": (of_nb, nb_variance),
    "heavy_tailed": (heavy_cdf, heavy_variance),
}


@pytest.fixture(scope="module", params=NAMES)
def made(request):
    """Name, data, counts and truth of each simulator."""
    adata = simulated(request.param, SIZE | {"simulation_seed": 3})
    return request.param, adata, adata.X.toarray(), truth_of(adata)


def test_every_simulator_has_an_oracle():
    assert set(ORACLES) == set(NAMES)


def test_shape_names_and_truth(made):
    """What the other steps read."""
    name, adata, counts, t = made
    assert adata.shape == t.mean.shape == (800, 60)
    assert counts.dtype.kind == "i"
    assert counts.min() >= 0
    assert adata.obs_names.is_unique
    assert adata.var_names.is_unique
    assert adata.obs["cell_type"].nunique() == 4
    np.testing.assert_allclose(adata.obs["true_library_size"], t.mean.sum(axis=1))
    truth = adata.uns["truth"]
    assert (truth["family"], truth["seed"]) == (name, 3)
    assert set(truth["layers"]) == set(adata.layers)
    assert truth["likelihood"] in {"", *likelihoods.names()}
    assert (t.mean >= 0).all()


def test_counts_follow_the_true_distribution(made):
    """Oracle: the randomised PIT under the true cdf is uniform, over all entries and genes."""
    name, _, counts, t = made
    cdf, _ = ORACLES[name]
    below = cdf(counts - 1, t)
    pit = below + np.random.default_rng(1).random(counts.shape) * (cdf(counts, t) - below)
    assert stats.kstest(pit.ravel(), "uniform").pvalue > 1e-4
    per_gene = [stats.kstest(column, "uniform").pvalue for column in pit.T]
    assert min(per_gene) > 1e-4 / len(per_gene)


def test_counts_have_the_true_mean(made):
    """Oracle: Σ x − Σ m per gene over its error from the true variance: standard normal."""
    name, _, counts, t = made
    variance = ORACLES[name][1](t).sum(axis=0)
    seen = variance > 10  # genes with so few counts that their sum is not normal
    z = (counts - t.mean).sum(axis=0)[seen] / np.sqrt(variance[seen])
    assert stats.kstest(z, "norm").pvalue > 1e-4


def test_counts_have_the_true_variance(made):
    """Oracle: squared residuals over the true variance average 1, within four standard errors."""
    name, _, counts, t = made
    variance = ORACLES[name][1](t)
    seen = variance.sum(axis=0) > 10
    ratio = ((counts - t.mean) ** 2 / variance)[:, seen]
    error = ratio.std() / np.sqrt(ratio.size)
    assert error < (0.25 if name == "heavy_tailed" else 0.03)
    assert abs(ratio.mean() - 1) < 4 * error


def test_counts_have_the_true_share_of_zeros(made):
    """Oracle: P(0), summed per gene: standard normal over its binomial error."""
    name, _, counts, t = made
    expected = ORACLES[name][0](np.zeros_like(counts), t)
    error = np.sqrt((expected * (1 - expected)).sum(axis=0))
    seen = error > 1
    z = ((counts == 0) - expected).sum(axis=0)[seen] / error[seen]
    assert stats.kstest(z, "norm").pvalue > 1e-4


def test_extra_zeros_are_zeros_and_as_many_as_their_probability(made):
    """Oracle: the sum of the mask over a gene is normal around Σ π."""
    _, adata, counts, t = made
    if not hasattr(t, "zero_probability"):
        assert "extra_zero" not in adata.layers
        return
    mask = adata.layers["extra_zero"].toarray()
    assert mask.dtype == bool
    assert (counts[mask] == 0).all()
    zero = np.broadcast_to(t.zero_probability, mask.shape)
    z = (mask - zero).sum(axis=0) / np.sqrt((zero * (1 - zero)).sum(axis=0))
    assert stats.kstest(z, "norm").pvalue > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_seeds_reproduce(name):
    """Oracle: the same seed twice, then another."""
    small = SIZE | {"n_cells": 40, "n_genes": 20}
    first, again, other = (
        simulated(name, small | {"simulation_seed": seed}) for seed in (1, 1, 2)
    )
    assert (first.X != again.X).nnz == 0
    np.testing.assert_array_equal(first.layers["true_mean"], again.layers["true_mean"])
    assert (first.X != other.X).nnz > 0
    assert not np.array_equal(first.layers["true_mean"], other.layers["true_mean"])


def flat_design(rng, *, cells=4_000, genes=30, **given):
    """Means that differ between genes alone, with what a fit may have found."""
    return Design(np.ones((cells, 1)) * np.geomspace(0.1, 30, genes), **given)


@pytest.mark.parametrize("name", NAMES)
def test_a_fitted_design_is_used_as_it_is(name, rng):
    """The seam for semi-synthetic data: means, θ and π of a fit come back as the truth."""
    theta, zero = rng.uniform(0.5, 5, 30), rng.uniform(0, 0.9, 30)
    plan = flat_design(rng, inverse_dispersion=theta, zero_probability=zero)
    adata = from_design(name, plan, seed=4)
    t = truth_of(adata)
    assert "cell_type" not in adata.obs
    if hasattr(t, "inverse_dispersion"):
        np.testing.assert_array_equal(t.inverse_dispersion, theta)
    if name == "zinb":
        np.testing.assert_array_equal(t.zero_probability, zero)
    if name == "gaussian":
        mean = plan.mean[0]
        np.testing.assert_allclose(t.scale, np.sqrt(mean + mean**2 / theta))
        np.testing.assert_array_equal(t.location, plan.mean)
    else:
        np.testing.assert_allclose(t.mean.mean(axis=0), plan.mean[0], rtol=1e-12)


def test_noise_parameters_are_drawn_as_documented():
    """Oracle: log θ is N(log 2, 0.7²) and π is Beta(2, 3), by Kolmogorov–Smirnov tests."""
    many = SIZE | {"n_cells": 10, "n_genes": 2_000, "depth": 5_000.0, "simulation_seed": 5}
    t = truth_of(simulated("zinb", many))
    assert stats.kstest(np.log(t.inverse_dispersion), stats.norm(np.log(2), 0.7).cdf).pvalue > 1e-4
    assert stats.kstest(t.zero_probability, stats.beta(2, 3).cdf).pvalue > 1e-4


@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0, 7.99, 8.0, 30.0, 400.0])
def test_expected_count_of_a_rounded_normal(scale):
    """Oracle: Σ k P(k) with masses from scipy.stats.norm; the series is right to 1e-8."""
    location = np.array([[0.01], [1.0], [30.0], [500.0]])
    k = np.arange(1, int(500 + 10 * scale) + 2)
    mass = stats.norm.sf(k - 0.5, location, scale) - stats.norm.sf(k + 0.5, location, scale)
    expected = (k * mass).sum(axis=1)
    actual = expected_count(location, np.array([scale]))[:, 0]
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=2e-8)


def test_logistic_zeros_follow_the_mean_before_dropout():
    """Oracle: logit π = x0 − log λ with x0 the median log mean and (1 − π) λ the true mean."""
    t = truth_of(simulated("zinb_logistic", SIZE | {"simulation_seed": 6}))
    before = t.mean / (1 - t.zero_probability)
    midpoint = np.median(np.log(t.mean))
    expected = special.expit(midpoint - np.log(before))
    np.testing.assert_allclose(t.zero_probability, expected, rtol=1e-9)
    order = np.argsort(t.mean, axis=None)
    assert (np.diff(t.zero_probability.ravel()[order]) <= 1e-12).all()
    assert np.median(t.zero_probability) == pytest.approx(1 - 2 / (1 + np.sqrt(5)), abs=1e-3)


def test_hidden_types_keep_the_mean_and_are_not_in_the_labels(rng):
    """Oracles: the mixture's mean by hand, the share, χ² against labels, the spread of d."""
    plan = replace(flat_design(rng, genes=400), label=np.repeat(["a", "b"], 2_000))
    adata = from_design("two_type_nb", plan, seed=1)
    second = (adata.obs["hidden_type"] == "hidden 2").to_numpy()
    assert second.mean() == 0.3
    one, two = (adata.layers["true_mean"][rows][0] for rows in (~second, second))
    np.testing.assert_allclose(0.7 * one + 0.3 * two, plan.mean[0], rtol=1e-12)
    np.testing.assert_allclose(np.log(two / one), adata.var["true_log_fold_change"])
    assert np.log(two / one).std() == pytest.approx(1.5, abs=4 * 1.5 / np.sqrt(800))
    assert abs(np.log(two / one).mean()) < 4 * 1.5 / np.sqrt(400)
    table = [
        [(second & (plan.label == k)).sum(), (~second & (plan.label == k)).sum()] for k in "ab"
    ]
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_outliers_are_marked_and_some_twenty_times_as_large():
    """Oracles: the binomial share; the factor's mean, and its spread in nearly Poisson counts.

    Counts at outliers have the squared coefficient of variation e^¼ − 1 + 1/mean; 600 of them
    tell its root to about 5 %.
    """
    plan = Design(np.full((6_000, 20), 3.0), inverse_dispersion=np.full(20, 1e6))
    adata = from_design("heavy_tailed", plan, seed=2)
    mask = adata.layers["outlier"].toarray()
    assert stats.binomtest(int(mask.sum()), mask.size, 0.005).pvalue > 1e-4
    counts = adata.X.toarray()
    inside, outside = counts[mask], counts[~mask]
    error = inside.std() / np.sqrt(mask.sum()) / outside.mean()
    assert abs(inside.mean() / outside.mean() - MEAN_FACTOR) < 4 * error
    spread = np.sqrt(np.exp(0.25) - 1 + 1 / inside.mean())
    assert inside.std() / inside.mean() == pytest.approx(spread, rel=0.2)


def test_random_designs_have_the_depth_types_and_spread_asked_for():
    """Oracles: the docstring: mean library = depth, its spread 0.35, genes over 1,000-fold."""
    rng = np.random.default_rng(1)
    plan = random_design(cells=4_000, genes=800, types=5, depth=3_000.0, rng=rng)
    library = plan.mean.sum(axis=1)
    np.testing.assert_allclose(library.mean(), 3_000, rtol=0.03)
    assert set(plan.label) == {f"type {k}" for k in range(1, 6)}
    assert plan.batch is None
    assert np.log(library).std() > 0.3
    assert np.ptp(np.log10(plan.mean.mean(axis=0))) > 3 - 0.5
    within = [np.log(plan.mean[plan.label == f"type {k}"]).mean(axis=0) for k in (1, 2)]
    gap = within[0] - within[1]
    gap -= np.median(gap)
    changed = (np.abs(gap) > 0.15).mean()  # a marker in either type, unless the normal is near 0
    assert 0.3 < changed < 0.44  # 1 − 0.75² = 0.4375 at most


def test_batches_shift_genes_by_as_much_as_documented():
    """Oracle: the difference of two normals of 0.3 has a spread of 0.42."""
    adata = simulated(
        "poisson", SIZE | {"n_cells": 4_000, "n_types": 1, "n_batches": 2, "simulation_seed": 8}
    )
    first = (adata.obs["batch"] == "batch 1").to_numpy()
    assert 0.4 < first.mean() < 0.6
    log_mean = np.log(adata.layers["true_mean"])
    gap = log_mean[first].mean(axis=0) - log_mean[~first].mean(axis=0)
    assert gap.std() == pytest.approx(0.3 * np.sqrt(2), rel=0.4)  # 60 genes: 4 errors of 9 %


@pytest.mark.parametrize(
    ("field", "value"),
    [("mean", np.array([[1.0, 0.0]])), ("mean", np.array([[1.0, np.inf]])),
     ("inverse_dispersion", np.array([1.0, 0.0])), ("zero_probability", np.array([0.0, 1.0]))],
)  # fmt: skip
def test_a_design_out_of_range_is_told(field, value):
    with pytest.raises(CountMatrixError, match=rf"design: {field} must be .* at index \(.*1"):
        replace(Design(np.ones((1, 2))), **{field: value})


def same_truth(adata, raw):
    """Whether counts and truth are those of the raw simulation, by names of cells and genes."""
    expected = raw[adata.obs_names, adata.var_names]
    assert (adata.X != expected.X).nnz == 0
    for name in raw.uns["truth"]["layers"]:
        found, wanted = (
            part.layers[name] if name.startswith("true_") else part.layers[name].toarray()
            for part in (adata, expected)
        )
        np.testing.assert_array_equal(found, wanted)
    for table, wanted in ((adata.var, expected.var), (adata.obs, expected.obs)):
        for column in wanted:
            np.testing.assert_array_equal(table[column].to_numpy(), wanted[column].to_numpy())


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_survives_preparation_and_files(name, tmp_path):
    """Masks and parameters stay with their entries when cells and genes are left out."""
    matrix, triage = prepared(f"simulate:{name}")
    raw = simulated(name, triage["settings"]["simulate"])
    same_truth(matrix.adata, raw)
    raw.write_h5ad(tmp_path / "raw.h5ad")
    settings = {part: SETTINGS[part] for part in ("simulate", "quality", "genes")}
    row = Source(str(tmp_path / "raw.h5ad"), genes="25")
    from_file = prepare(row, held_out=SETTINGS["split"], **settings)[0]
    assert from_file.counts.shape[1] == 25
    from_file.save(tmp_path / "counts.h5ad")
    same_truth(CountMatrix.load(tmp_path / "counts.h5ad").adata, raw)
    some = from_file.subset(np.arange(0, 100, 3), np.arange(5, 20))
    same_truth(some.adata, raw)


@pytest.mark.parametrize("name", SCORED)
def test_the_oracle_gives_the_true_probabilities(name):
    """Oracle: SciPy's cdf of the true distribution, differenced."""
    matrix = prepared(f"simulate:{name}")[0]
    test = np.flatnonzero(matrix.part == "test")
    t = truth_of(matrix.adata[test])
    counts = matrix.counts[test].toarray()
    prediction = baselines.get("oracle")().prediction(matrix, test)
    cdf = ORACLES[name][0]
    pmf = np.exp(prediction.log_pmf(counts))
    np.testing.assert_allclose(pmf, cdf(counts, t) - cdf(counts - 1, t), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(prediction.prob_zero, cdf(0 * counts, t), rtol=1e-6)
    if name != "gaussian":  # whose likelihood reports the mean before it is cut
        np.testing.assert_allclose(prediction.mean, t.mean, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_data_of_every_family_can_be_scored(name):
    """The truth beats the null, and metrics that compare with the truth find it."""
    matrix = prepared(f"simulate:{name}")[0]
    wanted = ["log_score", "mean_log_error", "dispersion_log_error"]
    table = score_baseline("gene_mean", matrix, wanted=wanted).table
    assert set(wanted[:2]) <= set(table["metric"])
    known = "true_inverse_dispersion" in matrix.adata.var
    assert ("dispersion_log_error" in set(table["metric"])) == known
    if name in SCORED:
        of_null = table.query("metric == 'log_score' and level == 'dataset'")["value"].min()
        table = score_baseline("oracle", matrix, wanted=wanted).table
        rows = table.query("noise == 'native' and level == 'dataset'").set_index("metric")["value"]
        assert rows["log_score"] < of_null
        assert rows["mean_log_error"] == pytest.approx(0, abs=1e-9) or name == "gaussian"


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(SCORED)))
def test_families_without_a_likelihood_have_no_oracle(name):
    matrix = prepared(f"simulate:{name}")[0]
    with pytest.raises(ScoreError, match=f"those of '{name}' follow none"):
        baselines.get("oracle")().prediction(matrix, np.arange(3))


def test_asking_for_an_oracle_loads_no_torch():
    code = (
        "import sys; from countae import simulate as s\n"
        "assert s.has_oracle('nb') and not s.has_oracle('heavy_tailed')\n"
        "sys.exit('torch' in sys.modules or 'anndata' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

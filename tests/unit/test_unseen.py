"""Noise for cells that nothing was learnt from: wider by one number, and never narrower."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SETTINGS
from scipy import optimize, stats

from countae import baselines, likelihoods, score
from countae.baselines.log1p_pca import LOSS
from countae.fit import fit
from countae.kernels.newton import by_differences
from countae.kernels.unseen import WIDEST, blocks, widening
from countae.noise import fit_noise, noise_cells, noise_families

NB = "log_inverse_dispersion"
NETWORK = {"hidden": [8], "latent": 2, "dropout": 0.1}
TRAINING = SETTINGS["training"] | {"max_epochs": 2, "batch_size": 32}
WITH_HEADS = [name for name in noise_families() if likelihoods.get(name).noise_heads]


@pytest.fixture
def learnt():
    """Counts, and means that are the truth for 300 cells and miss it for 600 by a half."""
    rng = np.random.default_rng(4)
    truth = rng.lognormal(0, 0.3, (900, 1)) * np.geomspace(1.0, 9.0, 25)
    counts = rng.poisson(rng.gamma(4.0, truth / 4.0)).astype(float)
    unseen = np.arange(900) >= 300
    mean = truth * np.where(unseen[:, None], rng.lognormal(-0.125, 0.5, truth.shape), 1.0)
    return {"counts": counts, "mean": mean, "size_factor": np.ones(900)}, unseen


def negative_nb(counts, mean, log_theta):
    theta = np.exp(log_theta)
    return -stats.nbinom(theta, theta / (theta + mean)).logpmf(counts).sum()


def shrunk(best, log_likelihood, number=10, step=1e-3):
    """By hand: the change less its variance over itself, that of the slopes of blocks."""
    at = np.array([
        [log_likelihood(best + by, slice(k, None, number)) for by in (-step, 0.0, step)]
        for k in range(number)
    ])  # fmt: skip
    slopes = (at[:, 2] - at[:, 0]) / (2 * step)
    bend = (at[:, 2] - 2 * at[:, 1] + at[:, 0]).sum() / step**2
    return best - number * slopes.var(ddof=1) / bend**2 / best


def test_one_number_for_all_genes_is_the_most_likely_one(learnt):
    """Oracle: scipy.optimize over scipy.stats.nbinom of the unseen cells alone."""
    given, unseen = learnt
    plain, wide = fit_noise("nb", **given), fit_noise("nb", **given, unseen=unseen)
    before, after = plain.raw[NB].numpy(), wide.raw[NB].numpy()
    x, m = given["counts"][unseen], plain.scale * given["mean"][unseen]
    best = optimize.minimize_scalar(
        lambda by: negative_nb(x, m, before + by), bounds=(-3, 3), method="bounded",
        options={"xatol": 1e-8},
    ).x  # fmt: skip
    expected = shrunk(best, lambda by, rows: -negative_nb(x[rows], m[rows], before + by))
    assert best < expected < -0.2
    np.testing.assert_allclose(after - before, expected, atol=2e-4)


@pytest.mark.parametrize("family", WITH_HEADS)
def test_every_family_has_more_variance_and_the_same_means(family, learnt):
    """And new cells are scored better by it: 300 others, whose means miss as those do."""
    given, unseen = learnt
    new, test = unseen & (np.arange(900) % 2 == 0), unseen & (np.arange(900) % 2 == 1)
    known = ~test
    at = {name: value[known] for name, value in given.items()}
    plain, wide = (fit_noise(family, **at, unseen=flag) for flag in (None, new[known]))
    was, now = (n.around(given["mean"][test], np.ones(test.sum())) for n in (plain, wide))
    assert (now.variance > was.variance).all()
    np.testing.assert_allclose(now.mean, was.mean, rtol=2e-3)
    gain = (now.log_pmf(given["counts"][test]) - was.log_pmf(given["counts"][test])).mean(axis=1)
    assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))


def test_only_the_first_head_moves(learnt):
    given, unseen = learnt
    plain, wide = fit_noise("zinb", **given), fit_noise("zinb", **given, unseen=unseen)
    torch.testing.assert_close(wide.raw["zero_logit"], plain.raw["zero_logit"])
    step = (wide.raw[NB] - plain.raw[NB]).numpy()
    assert step[0] < -0.1
    np.testing.assert_allclose(step, step[0])


@pytest.mark.parametrize("family", WITH_HEADS)
def test_noise_is_never_narrower(family, learnt):
    """Where the others are the ones that are missed, narrower noise would be more likely."""
    given, unseen = learnt
    plain, same = fit_noise(family, **given), fit_noise(family, **given, unseen=~unseen)
    for name, value in plain.raw.items():
        torch.testing.assert_close(same.raw[name], value, rtol=0, atol=0)


def test_noise_without_heads_or_without_unseen_cells_stays_as_it_is(learnt):
    given, unseen = learnt
    assert fit_noise("poisson", **given, unseen=unseen).raw == {}
    plain, none = fit_noise("nb", **given), fit_noise("nb", **given, unseen=unseen & ~unseen)
    assert torch.equal(plain.raw[NB], none.raw[NB])


def parabolas(*tops):
    """A log-likelihood per block of cells, of genes that all have the same top and curvature."""
    return [
        by_differences(lambda raw, genes, top=t: -((raw - genes - top) ** 2), 0.01) for t in tops
    ]


@pytest.mark.parametrize(("top", "sign", "expected"), [
    (0.7, 1.0, 0.7), (-0.4, -1.0, -0.4), (-0.4, 1.0, 0.0), (0.7, -1.0, 0.0), (9.0, 1.0, WIDEST),
])  # fmt: skip
def test_widening_of_a_parabola(top, sign, expected):
    """By hand: the top, if it lies on the wider side, and at most the bound."""
    found = widening(parabolas(top, top), np.arange(5.0)[None], sign=sign)
    assert found == pytest.approx(expected, abs=1e-4)
    assert expected != 0 or found == 0


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("tops", [(0.4, 0.6, 0.8), (0.1, 1.3), (-1.0, 1.2), (0.2,)])
def test_chance_between_blocks_of_cells_is_taken_off(tops, sign):
    """By hand: the mean of the blocks' tops, as their curvatures agree, and its squared standard
    error; one block says nothing.
    """
    mean, number = np.mean(tops), len(tops)
    expected = 0.0 if number < 2 else mean * max(0.0, 1 - np.var(tops, ddof=1) / number / mean**2)
    found = widening(parabolas(*(sign * np.array(tops))), np.arange(3.0)[None], sign=sign)
    assert sign * found == pytest.approx(expected, abs=2e-4)


def test_blocks_hold_every_cell_once():
    for cells in (0, 1, 7, 10, 57):
        found = [np.arange(cells)[block] for block in blocks(cells)]
        assert len(found) == min(10, cells)
        np.testing.assert_array_equal(np.sort(np.concatenate([[], *found])), np.arange(cells))


def test_widening_holds_all_parameters_but_the_first():
    """By hand: −(a − 1)² − (b − 5a)² at b = 0 has its top at a = 1/26."""

    def fits(raw, genes):
        a, b = raw
        slopes = np.stack([-2 * (a - 1) + 10 * (b - 5 * a), -2 * (b - 5 * a)])
        return -((a - 1) ** 2) - (b - 5 * a) ** 2, slopes, np.full((2, 2, len(genes)), -52.0)

    assert widening([fits, fits], np.zeros((2, 4))) == pytest.approx(1 / 26, abs=2e-4)


def test_noise_stays_where_widening_is_chance():
    """Ten unseen cells like all others: mostly nothing is moved, or hardly; without a look at
    chance half of such draws would be, by a tenth and more.
    """
    moved = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        mean = rng.lognormal(0, 0.3, (120, 1)) * np.geomspace(1.0, 9.0, 25)
        counts = rng.poisson(rng.gamma(2.0, 1.0, (120, 25)) * mean / 2.0).astype(float)
        given = {"counts": counts, "mean": mean, "size_factor": np.ones(120)}
        plain, wide = (fit_noise("nb", **given, unseen=u) for u in (None, np.arange(120) >= 110))
        moved.append(float((plain.raw[NB] - wide.raw[NB]).mean()))
    assert min(moved) >= 0
    assert np.mean(np.array(moved) > 0.02) < 0.5
    assert np.mean(moved) < 0.05


@pytest.mark.parametrize("per_entry", [False, True])
def test_scales_of_squared_errors_are_widened_too(per_entry):
    """Oracle: scipy.optimize over SciPy's normal, cut by hand, of the unseen cells alone; with as
    many genes as cells, so that a parameter per gene cannot be taken for one per cell.
    """
    rng, n = np.random.default_rng(6), 60
    location = np.tile(np.linspace(5.0, 20.0, n), (n, 1))
    unseen = np.arange(n) >= 40
    counts = np.rint(rng.normal(location, np.where(unseen, 4.0, 2.0)[:, None])).clip(min=0)
    scale = np.ones(n) if not per_entry else np.ones((n, n))
    at = {
        "location": torch.as_tensor(location),
        "scale": torch.as_tensor(scale),
        "size_factor": torch.as_tensor(np.ones((n, 1))),
    }
    mse = likelihoods.get("mse_counts")()
    plain = mse.calibrate(torch.as_tensor(counts), at)["log_scale"].numpy()
    wide = mse.calibrate(torch.as_tensor(counts), at, torch.as_tensor(unseen))["log_scale"].numpy()
    x, m = counts[unseen], location[unseen]

    def log_likelihood(by, rows=slice(None)):
        s = np.exp(plain + by)
        lower = np.where(x > 0, stats.norm.cdf((x - 0.5 - m) / s), 0.0)
        return np.log(stats.norm.cdf((x + 0.5 - m) / s) - lower)[rows].sum()

    best = optimize.minimize_scalar(lambda by: -log_likelihood(by), bounds=(0, 3)).x
    expected = shrunk(best, log_likelihood, step=0.01)
    assert best > expected > 0.2
    np.testing.assert_allclose(wide - plain, expected, atol=2e-3)


def test_validation_cells_are_the_unseen_ones(small_nb, monkeypatch):
    """In noise columns, scales after training and the closed-form baseline alike."""
    cells = noise_cells(small_nb)
    validation = small_nb.part[cells] == "validation"
    asked = []

    def spied(family, *, unseen, **given):
        asked.append(unseen)
        return fit_noise(family, **given, unseen=unseen)

    monkeypatch.setattr(score, "fit_noise", spied)
    score.score_baseline("gene_mean", small_nb, wanted=["log_score"])
    family = likelihoods.get(LOSS)
    before = family.calibrate

    def calibrate(self, counts, parameters, unseen=None):
        asked.append(unseen.numpy())
        return before(self, counts, parameters, unseen)

    monkeypatch.setattr(family, "calibrate", calibrate)
    baselines.get("log1p_pca")().prediction(small_nb, np.flatnonzero(small_nb.part == "test"))
    fit(small_nb, LOSS, seed=0, network=NETWORK, training=TRAINING, device="cpu")
    assert len(asked) == len(noise_families()) + 2
    for found in asked:
        np.testing.assert_array_equal(found, validation)

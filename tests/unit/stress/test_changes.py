"""What each stress test does to the counts, against closed forms; nothing leaks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import SETTINGS, prepared
from scipy import stats
from scipy.sparse import csr_matrix

from countae import likelihoods, simulate, stress
from countae.baselines.gene_mean import GeneMean
from countae.errors import ConfigError, UnsuitableError
from countae.predict import Prediction
from countae.protocols.masked import Masked
from countae.split import size_without
from countae.stress._depth_link import latent_depth, residual_depth
from countae.stress.depth import _kept

HARD = SETTINGS["stress"] | {"most_groups": 2}


def grouped(**row):
    """Simulated counts with types, batches and, in their place, donors."""
    from countae.config import Source
    from countae.prepare import prepare

    size = {"n_cells": 300, "n_genes": 60, "n_types": 4, "n_batches": 3, "depth": 240}
    source = Source("simulate:nb", genes="all", label_key="cell_type", batch_key="batch", **row)
    return prepare(
        source, simulate=SETTINGS["simulate"] | size, quality=SETTINGS["quality"],
        genes=SETTINGS["genes"], held_out=SETTINGS["split"],
    )[0]  # fmt: skip


@pytest.fixture(scope="module")
def matrix():
    return grouped(donor_key="batch")


def made(matrix, name, level, **settings):
    return stress.get(name)(matrix, level, settings=HARD | settings)


def counts(matrix):
    return matrix.rows(slice(None)).toarray()


def with_these(matrix, dense):
    """The same tables with other counts."""
    other = matrix.with_own_tables()
    other.adata.X = csr_matrix(dense)
    return other


def test_every_stress_test_says_what_it_is():
    assert set(stress.names()) >= {
        "outliers", "outliers_input", "heavy_tails", "depth", "batch_shift", "donor_shift",
        "cell_type_shift", "composition_shift", "library_size",
    }  # fmt: skip
    for name in stress.names():
        member = stress.get(name)
        assert member.name == name
        assert member.level
        assert member.meaning
        assert all(member.bounds[0] <= level <= member.bounds[1] for level in member.levels)
        assert member.clean not in member.levels


@pytest.mark.parametrize("name", stress.names())
def test_at_the_clean_level_nothing_happens_and_the_given_matrix_never_changes(matrix, name):
    """Every number that fit and score look at, to the last bit."""
    before, part = counts(matrix), matrix.part.copy()
    for level in (stress.get(name).clean, stress.get(name).levels[-1]):
        stressed = made(matrix, name, level)
        np.testing.assert_array_equal(counts(matrix), before)
        np.testing.assert_array_equal(matrix.part, part)
    for clean in made(matrix, name, stress.get(name).clean):
        np.testing.assert_array_equal(counts(clean), before)
        np.testing.assert_array_equal(clean.library_size, matrix.library_size)
        np.testing.assert_array_equal(clean.gene_share, matrix.gene_share)
        np.testing.assert_array_equal(clean.fitted, matrix.fitted)
        assert clean.reference_size == matrix.reference_size
        cells = np.flatnonzero(clean.part == "test")
        np.testing.assert_array_equal(clean.fold_of(cells), matrix.fold_of(cells))
        for protocol in (Masked(clean), Masked(matrix)):
            np.testing.assert_array_equal(
                protocol.size_factor(cells), Masked(matrix).size_factor(cells)
            )
    assert stressed


@pytest.mark.parametrize("name", stress.names())
def test_levels_are_nested_and_drawn_once(matrix, name):
    """The same level twice is the same data; another seed of the split is other data."""
    level = stress.get(name).levels[0]
    for one, other in zip(made(matrix, name, level), made(matrix, name, level), strict=True):
        np.testing.assert_array_equal(counts(one), counts(other))
        np.testing.assert_array_equal(one.part, other.part)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_depth_thins_test_cells_binomially(share):
    """Mean p x and variance p (1 − p) x of each count, over 6,000 draws' worth of counts."""
    matrix = prepared("simulate:nb", cells=400, genes=60)[0]
    (found,) = made(matrix, "depth", share)
    test = matrix.part == "test"
    x, y = counts(matrix)[test].astype(float), counts(found)[test]
    np.testing.assert_array_equal(counts(found)[~test], counts(matrix)[~test])
    assert (y <= x).all()
    z = (y - share * x)[x > 0] / np.sqrt(share * (1 - share) * x[x > 0])
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    # the variance of z² is 2 plus the excess kurtosis of a binomial, (1 − 6p(1−p)) / (x p (1−p))
    excess = (1 - 6 * share * (1 - share)) / (share * (1 - share) * x[x > 0])
    assert abs((z**2).mean() - 1) < 4 * np.sqrt((2 + excess).mean() / z.size)


def test_depth_thins_the_library_with_the_genes_that_are_not_modelled(small_nb):
    """A library of twice the modelled counts loses half of both halves."""
    whole = small_nb.with_own_tables()
    modelled = whole.counts.sum(axis=1).A1
    whole.obs["library_size"] = 2.0 * modelled
    whole.info["reference_size"] = 2 * whole.reference_size
    (found,) = made(whole, "depth", 0.5)
    test = whole.part == "test"
    rest = found.library_size - found.counts.sum(axis=1).A1
    n = modelled[test].sum()
    assert abs(rest[test].sum() - 0.5 * n) < 4 * np.sqrt(0.25 * n)
    np.testing.assert_array_equal(found.library_size[~test], whole.library_size[~test])


@pytest.mark.parametrize(
    ("family", "noise"),
    [("poisson", {}), ("nb", {"inverse_dispersion": 1.7}),
     ("zinb", {"inverse_dispersion": 1.7, "zero_logit": -0.4})],
)  # fmt: skip
def test_families_that_thin_are_their_own_thinned_distribution(family, noise):
    """Σ_x f(x) Bin(y; x, p) with SciPy's binomial is the pmf with p times the mean."""
    import torch

    assert simulate.get(family).thins
    share, x = 0.3, np.arange(400)
    member = likelihoods.get(family)()

    def pmf(mean, counts):
        parameters = {"mean": mean} | noise
        wide = {
            k: torch.full((1, len(counts)), v, dtype=torch.float64) for k, v in parameters.items()
        }
        return np.exp(Prediction(member, wide).log_pmf(counts[None].astype(float))[0])

    y = np.arange(12)
    thinned = (pmf(6.0, x)[:, None] * stats.binom.pmf(y, x[:, None], share)).sum(axis=0)
    np.testing.assert_allclose(pmf(6.0 * share, y), thinned, rtol=1e-8)


def test_depth_scales_the_truth_where_that_is_right_and_drops_it_elsewhere(matrix):
    (found,) = made(matrix, "depth", 0.25)
    test = matrix.part == "test"
    truth, then = found.adata.layers["true_mean"], matrix.adata.layers["true_mean"]
    np.testing.assert_allclose(truth[test], 0.25 * then[test])
    np.testing.assert_array_equal(truth[~test], then[~test])
    assert found.adata.uns["truth"]["likelihood"] == "nb"
    rounded = prepared("simulate:gaussian")[0]
    assert made(rounded, "depth", 0.25)[0].adata.uns["truth"]["likelihood"] == ""
    assert rounded.adata.uns["truth"]["likelihood"] == "mse_counts"


@pytest.mark.parametrize("name", ["outliers", "outliers_input"])
def test_a_share_of_the_counts_becomes_so_many_times_larger(matrix, name):
    """The number hit is binomial: four standard deviations around share × number."""
    (found,) = made(matrix, name, 0.2, outlier_factor=50)
    trained = matrix.part != "test"
    inside = trained if name == "outliers" else ~trained
    before = counts(matrix)
    after = counts(found) if name == "outliers" else found.adata.layers["shown"].toarray()
    np.testing.assert_array_equal(after[~inside], before[~inside])
    ratio = after[inside][before[inside] > 0] / before[inside][before[inside] > 0]
    assert set(np.unique(ratio)) == {1.0, 50.0}
    assert not after[before == 0].any()
    n, hit = ratio.size, (ratio == 50).sum()
    assert abs(hit - 0.2 * n) < 4 * np.sqrt(n * 0.2 * 0.8)
    library = (
        found.library_size if name == "outliers" else found.obs["shown_library_size"].to_numpy()
    )
    np.testing.assert_array_equal(
        library - matrix.library_size, (after.astype(float) - before).sum(axis=1)
    )


def test_levels_of_outliers_are_nested(matrix):
    few, many = (counts(made(matrix, "outliers", share)[0]) for share in (0.05, 0.2))
    assert ((few > counts(matrix)) <= (many > counts(matrix))).all()


def test_outliers_of_whole_cells_take_their_library_along(matrix):
    (found,) = made(matrix, "outliers", 0.3, outlier_unit="cells", outlier_factor=10)
    ratio = found.library_size / matrix.library_size
    assert set(np.unique(ratio)) == {1.0, 10.0}
    np.testing.assert_array_equal(counts(found), counts(matrix) * ratio[:, None].astype(int))
    assert (ratio[matrix.part == "test"] == 1).all()
    n, hit = (matrix.part != "test").sum(), (ratio == 10).sum()
    assert abs(hit - 0.3 * n) < 4 * np.sqrt(n * 0.3 * 0.7)


def test_what_training_sees_of_outliers_is_summed_anew_and_what_is_shown_is_not(matrix):
    (trained,), (shown,) = (made(matrix, n, 0.2) for n in ("outliers", "outliers_input"))
    train = trained.part == "train"
    expected = counts(trained)[train].sum(axis=0) / trained.library_size[train].sum()
    np.testing.assert_allclose(trained.gene_share, expected)
    assert trained.reference_size == np.median(trained.library_size[train])
    np.testing.assert_array_equal(shown.gene_share, matrix.gene_share)


def test_a_network_sees_the_outliers_and_must_predict_the_clean_counts(matrix):
    """Size factors by hand, from the shown counts outside each fold."""
    (found,) = made(matrix, "outliers_input", 0.2)
    test = np.flatnonzero(matrix.part == "test")
    shown, fold = found.adata.layers["shown"].toarray()[test], matrix.fold_of(test)
    for k, task in enumerate(Masked(found).held_out_tasks(test)):
        np.testing.assert_array_equal(task.counts.numpy(), shown)
        np.testing.assert_array_equal(task.target.numpy(), counts(matrix)[test])
        hidden = fold == k
        visible = found.obs["shown_library_size"].to_numpy()[test] - (shown * hidden).sum(axis=1)
        share = 1 - (hidden * matrix.gene_share).sum(axis=1)
        expected = np.maximum(visible, 1) / share / matrix.reference_size
        np.testing.assert_allclose(task.exposure, expected, rtol=1e-6)
        rows = Masked(found).size_factor(test)
        np.testing.assert_allclose(rows[hidden], np.repeat(expected, hidden.sum(axis=1)))
    whole = Masked(found).whole(test)
    np.testing.assert_array_equal(whole.counts.numpy(), shown)


def test_outliers_too_large_to_store_are_refused(matrix):
    large = matrix.with_own_tables()
    large.adata.X = matrix.rows(slice(None)).copy()
    large.adata.X.data[:] = 10**8
    with pytest.raises(
        UnsuitableError, match=r"at most 2,147,483,647 can be stored.*outlier_factor"
    ):
        made(large, "outliers", 1.0)


@pytest.mark.parametrize("tail", [0.2, 0.4])
def test_heavy_tails_keep_the_mean_and_have_the_variance_of_the_pareto(tail):
    """E x' = x; var x' is x² ((1−t)²/(1−2t) − 1) plus at most ¼ from rounding."""
    matrix = prepared("simulate:nb", cells=150, genes=40)[0].with_own_tables()
    matrix.adata.X = matrix.rows(slice(None)).copy()
    matrix.adata.X.data[:] = 1000
    (found,) = made(matrix, "heavy_tails", tail)
    factor = found.counts[matrix.counts.nonzero()].A1 / 1000
    # P(F > f) = ((1 − t)/f)^(1/t): Kolmogorov against SciPy's Pareto
    assert stats.kstest(factor, stats.pareto(1 / tail, scale=1 - tail).cdf).pvalue > 1e-3
    if tail < 0.25:  # the fourth moment is finite, so that the variance can be compared
        variance = (1 - tail) ** 2 / (1 - 2 * tail) - 1
        fourth = stats.pareto(1 / tail, scale=1 - tail).expect(lambda f: (f - 1) ** 4)
        error = np.sqrt((fourth - variance**2) / factor.size)
        assert abs(((factor - 1) ** 2).mean() - variance) < 4 * error
        assert abs(factor.mean() - 1) < 4 * np.sqrt(variance / factor.size)


def test_rounding_of_heavy_tails_is_unbiased_and_has_no_oracle():
    """Ones times F < 2 become 0, 1 or 2 with mean F: over many, the mean stays 1."""
    matrix = prepared("simulate:poisson", cells=400, genes=60)[0].with_own_tables()
    matrix.adata.X = matrix.rows(slice(None)).copy()
    matrix.adata.X.data[:] = 1
    (found,) = made(matrix, "heavy_tails", 0.2)
    n, variance = matrix.counts.nnz, 0.8**2 / 0.6 - 1 + 0.25
    assert abs(found.counts.sum() / n - 1) < 4 * np.sqrt(variance / n)
    assert found.adata.uns["truth"]["likelihood"] == ""
    assert matrix.adata.uns["truth"]["likelihood"] == "poisson"


SHIFTS = [("batch_shift", "batch_key"), ("donor_shift", "donor_key"),
          ("cell_type_shift", "label_key")]  # fmt: skip


@pytest.mark.parametrize(("name", "key"), SHIFTS)
def test_a_left_out_group_is_scored_alone_and_never_trained_on(matrix, name, key):
    group = matrix.obs[matrix.info[key]].to_numpy(str)
    size = dict(zip(*np.unique(group, return_counts=True), strict=True))
    largest = sorted(size, key=lambda one: (-size[one], one))[:2]
    for left, found in zip(largest, made(matrix, name, 1.0), strict=True):
        inside = group == left
        assert not np.isin(found.part[inside], ("train", "validation")).any()
        assert set(group[found.part == "test"]) == {left}
        same = ~inside & (matrix.part != "test")
        np.testing.assert_array_equal(found.part[same], matrix.part[same])
        np.testing.assert_array_equal(
            np.flatnonzero(found.part == "test"),
            np.flatnonzero(inside & (matrix.part == "test")),
        )


@pytest.mark.parametrize(("name", "key"), SHIFTS)
def test_counts_of_a_left_out_group_move_nothing_that_is_trained_on(matrix, name, key):
    """Whatever the left-out training cells hold: genes, shares, sizes, folds and null are same."""
    group = matrix.obs[matrix.info[key]].to_numpy(str)
    names, size = np.unique(group, return_counts=True)
    left = group == names[np.lexsort((names, -size))][0]
    scrambled = counts(matrix)
    scrambled[left & (matrix.part != "test")] = 7
    noisy = with_these(matrix, scrambled)
    one, other = made(matrix, name, 1.0)[0], made(noisy, name, 1.0)[0]
    np.testing.assert_array_equal(one.gene_id, other.gene_id)
    np.testing.assert_array_equal(one.gene_share, other.gene_share)
    assert one.reference_size == other.reference_size
    np.testing.assert_array_equal(one.part, other.part)
    np.testing.assert_array_equal(counts(one)[one.fitted], counts(other)[other.fitted])
    test = np.flatnonzero(one.part == "test")
    np.testing.assert_array_equal(GeneMean().mean(one, test), GeneMean().mean(other, test))


def test_genes_that_only_the_left_out_group_shows_are_not_modelled(matrix):
    group = matrix.labels
    names, size = np.unique(group, return_counts=True)
    left = names[np.lexsort((names, -size))][0]
    special = counts(matrix)
    special[group != left, 5] = 0
    special = with_these(matrix, special)
    one, other = made(special, "cell_type_shift", 1.0)
    assert matrix.gene_id[5] not in one.gene_id
    assert len(one.gene_id) == len(matrix.gene_id) - 1
    assert matrix.gene_id[5] in other.gene_id  # the group that shows it is trained on there


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_composition_takes_a_share_of_every_second_type(matrix, share):
    (found,) = made(matrix, "composition_shift", share)
    names, size = np.unique(matrix.labels, return_counts=True)
    ordered = names[np.lexsort((names, -size))]
    for place, name in enumerate(ordered):
        for of in ("train", "validation"):
            before, after = (((m.part == of) & (m.labels == name)).sum() for m in (matrix, found))
            expected = before if place % 2 == 0 else before - round(share * before)
            assert after == expected, (name, of)
    np.testing.assert_array_equal(found.part == "test", matrix.part == "test")
    less, more = (made(matrix, "composition_shift", s)[0].part for s in (0.5, 0.9))
    assert ((less == "left_out") <= (more == "left_out")).all()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_library_sizes_go_round_within_each_part(matrix, share):
    (found,) = made(matrix, "library_size", share)
    by = found.obs["sized_by"].to_numpy()
    np.testing.assert_array_equal(np.sort(by), np.arange(len(by)))
    np.testing.assert_array_equal(matrix.part[by], matrix.part)
    for name in ("train", "validation", "test"):
        inside = matrix.part == name
        assert (by != np.arange(len(by)))[inside].sum() == round(share * inside.sum())
    cells = np.flatnonzero(matrix.part == "test")
    expected = matrix.size_factor[by[cells]]
    np.testing.assert_allclose(Masked(found).full_size_factor(cells), expected)
    fold = matrix.fold_of(cells)
    for k, task in enumerate(Masked(found).held_out_tasks(cells)):
        hidden = fold == k
        size = size_without(
            (counts(matrix)[by[cells]] * hidden).sum(axis=1),
            (hidden * matrix.gene_share).sum(axis=1),
            library_size=matrix.library_size[by[cells]], reference_size=matrix.reference_size,
        )  # fmt: skip
        np.testing.assert_allclose(task.exposure, size, rtol=1e-6)
        np.testing.assert_array_equal(task.counts.numpy(), counts(matrix)[cells])
        np.testing.assert_allclose(
            Masked(found).size_factor(cells)[hidden], np.repeat(size, hidden.sum(axis=1))
        )


def test_hidden_counts_do_not_move_a_size_that_another_cell_passed_on(matrix):
    """A cell's own counts may change by any amount: its size is that of the cell before it."""
    other = matrix.with_own_tables()
    other.adata.X = matrix.rows(slice(None)).copy()
    cell = np.flatnonzero(matrix.part == "test")[:1]
    start, stop = other.counts.indptr[cell[0] : cell[0] + 2]
    other.adata.X.data[start:stop] += 50
    sizes = [Masked(made(m, "library_size", 1.0)[0]).size_factor(cell) for m in (matrix, other)]
    np.testing.assert_array_equal(*sizes)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["depth"], {"depth": [0.5, 0.25, 0.1]}),
        (["depth=0.5", "depth=0.05"], {"depth": [0.5, 0.05]}),
        (["outliers=0.01", "depth=1"], {"outliers": [0.01], "depth": [1.0]}),
        (["depth=0.5", "depth"], {"depth": [0.5, 0.25, 0.1]}),
        ([], {}),
    ],
)
def test_words_of_the_configuration_are_tests_and_levels(words, expected):
    assert stress.wanted(words) == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("dept", "no stress test called 'dept'. Did you mean 'depth'?"),
        ("depth=2", "must lie between 0 and 1, but is 2. Fix: choose another, such as depth=0.5"),
        ("depth=half", "'depth=half' has 'half' where the level should be"),
        ("depth=", "'depth=' has '' where the level should be"),
        ("heavy_tails=nan", "must lie between 0 and 0.9, but is nan"),
        ("depth=" + "9" * 300, "must lie between 0 and 1, but is 1e"),
    ],
)
def test_a_wrong_word_is_told(word, message):
    with pytest.raises(ConfigError) as error:
        stress.wanted([word])
    assert message in str(error.value)
    assert len(str(error.value)) < 600


def test_a_test_that_needs_a_column_says_which(small_nb):
    with pytest.raises(ConfigError, match=r"'batch_shift' needs groups.*`batch_key`"):
        made(small_nb, "batch_shift", 1.0)


def test_one_group_cannot_be_left_out(matrix):
    one = matrix.with_own_tables()
    one.obs["cell_type"] = "T"
    for name in ("cell_type_shift", "composition_shift"):
        with pytest.raises(UnsuitableError, match="two"):
            made(one, name, 1.0)


def test_too_few_cells_that_are_left_are_told(matrix):
    two = matrix.with_own_tables()
    label = np.full(len(two.obs), "a", dtype=object)
    few = np.flatnonzero(matrix.part == "train")[:4]
    label[few] = "b"
    label[np.flatnonzero(matrix.part == "test")[:6]] = "b"
    two.obs["cell_type"] = label.astype(str)
    found = made(two, "cell_type_shift", 1.0)
    assert found[0].group == "a"
    assert "leaves 4 for train, 0 for validation" in str(found[0])


def test_a_group_that_cannot_be_left_out_has_its_reason_and_the_others_are_made(matrix):
    """One type holds all validation cells but a few; without it too few are left."""
    two = matrix.with_own_tables()
    label = two.obs["cell_type"].to_numpy(str).astype(object)
    label[np.flatnonzero(matrix.part == "validation")[3:]] = "most"
    label[np.flatnonzero(matrix.part == "test")[:20]] = "most"
    label[np.flatnonzero(matrix.part == "train")[:80]] = "most"
    two.obs["cell_type"] = label.astype(str)
    names, size = np.unique(label.astype(str), return_counts=True)
    largest = names[np.lexsort((names, -size))].tolist()
    assert largest[0] == "most"
    first, *others = made(two, "cell_type_shift", 1.0, most_groups=3)
    assert isinstance(first, UnsuitableError)
    assert first.group == "most"
    assert "3 for validation" in str(first)
    assert "'most'" in str(first)
    assert [one.info["left_out_group"] for one in others] == largest[1:3]


def test_a_group_with_few_test_cells_has_its_reason(matrix):
    """It comes after all groups that can be left out, and only as far as `most_groups`."""
    rare = matrix.with_own_tables()
    label = rare.obs["cell_type"].to_numpy(str).astype(object)
    label[np.flatnonzero(matrix.part == "test")[:3]] = "rare"
    rare.obs["cell_type"] = label.astype(str)
    n = len(np.unique(rare.labels))
    last = made(rare, "cell_type_shift", 1.0, most_groups=n)[-1]
    assert last.group == "rare"
    assert "3 for test" in str(last)
    assert len(made(rare, "cell_type_shift", 1.0, most_groups=n - 1)) == n - 1


def test_a_count_never_grows_when_fewer_molecules_are_kept(matrix):
    """Levels are calls of their own, with one seed; libraries shrink with the counts."""
    whole = matrix.with_own_tables()
    whole.obs["library_size"] = matrix.library_size + 50.0  # of genes that are not modelled
    kept = [made(whole, "depth", share)[0] for share in (0.1, 0.25, 0.5, 1.0)]
    for fewer, more in itertools.pairwise(kept):
        assert (counts(fewer) <= counts(more)).all()
        rest = [one.library_size - counts(one).sum(axis=1) for one in (fewer, more)]
        assert (rest[0] <= rest[1]).all()


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_thinned_counts_are_binomial_whatever_their_size(share, rng):
    """Oracle: SciPy's binomial pmf, by a chi-squared test of each of a few counts."""
    for x in (1, 3, 40):
        found = _kept(np.full(20_000, x), share, rng)
        expected = stats.binom.pmf(np.arange(x + 1), x, share) * 20_000
        seen = np.bincount(found, minlength=x + 1)
        often = expected > 20
        rest = [values[~often].sum() for values in (seen, expected)]
        gap = np.append((seen - expected)[often] ** 2 / expected[often], 0.0)
        gap[-1] = (rest[0] - rest[1]) ** 2 / max(rest[1], 20)
        assert stats.chi2.sf(gap.sum(), often.sum() - 1) > 1e-4


def test_hidden_molecules_cannot_be_stressed(matrix):
    other = matrix.with_own_tables()
    other.info["protocol"] = "thinning"
    with pytest.raises(ConfigError, match=r"hides molecules \(thinning\)"):
        made(other, "depth", 0.5)


def test_latent_depth_is_the_adjusted_share_of_scikit_learn(rng):
    """Oracle: scikit-learn's R², adjusted; near 0 for noise and 1 for the logarithm itself."""
    from sklearn.linear_model import LinearRegression

    latent = rng.normal(size=(200, 5))
    library = np.exp(0.3 * latent[:, 0] + rng.normal(size=200))
    share = LinearRegression().fit(latent, np.log(library)).score(latent, np.log(library))
    expected = 1 - (1 - share) * 199 / 194
    assert latent_depth(latent=latent, library_size=library) == pytest.approx(expected, rel=1e-9)
    perfect = latent_depth(latent=np.log(library)[:, None], library_size=library)
    assert perfect == pytest.approx(1.0)
    noise = [
        latent_depth(latent=rng.normal(size=(60, 5)), library_size=library[:60])
        for _ in range(200)
    ]
    assert abs(np.mean(noise)) < 4 * np.std(noise) / np.sqrt(200)
    assert np.isnan(latent_depth(latent=latent, library_size=np.full(200, 3.0)))
    assert np.isnan(latent_depth(latent=latent[:7], library_size=library[:7]))


def test_residual_depth_by_hand():
    """Residuals that rise with depth correlate at 1, falling ones at −1, equal ones not at all."""
    library, mean = np.array([10.0, 20, 40, 80]), np.ones((4, 2))
    rising = mean + np.array([0.0, 1, 2, 5])[:, None]
    given = {"mean": mean, "variance": 4 * mean, "library_size": library}
    assert residual_depth(observed=rising, **given) == pytest.approx(1.0)
    assert residual_depth(observed=rising[::-1], **given) == pytest.approx(-1.0)
    assert np.isnan(residual_depth(observed=mean, **given))
    # the divisor is the standard deviation: 4/2 beats 6/6
    apart = {"mean": 0 * mean[:2], "variance": np.array([[4.0, 4], [36, 36]])}
    observed = np.array([[4.0, 4], [6, 6]])
    found = residual_depth(observed=observed, library_size=library[:2], **apart)
    assert found == pytest.approx(-1.0)

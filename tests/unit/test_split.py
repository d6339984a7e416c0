"""What is held out: sizes, strata, folds, and that hidden counts leak nowhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from countae.errors import CountMatrixError
from countae.split import KeptFolds, draw_folds, split_cells, visible_size_factor


def split(batch, seed=0, test=0.2, validation=0.1, most=(10_000, 10_000)):
    return split_cells(
        np.asarray(batch), test_fraction=test, validation_fraction=validation, seed=seed,
        max_test_cells=most[0], max_validation_cells=most[1],
    )  # fmt: skip


@pytest.mark.parametrize("n", [50, 77, 101, 1_000, 2_503])
@pytest.mark.parametrize(("test", "validation"), [(0.2, 0.1), (0.15, 0.15), (0.333, 0.25)])
def test_parts_have_exactly_the_size_asked_for(n, test, validation):
    """Oracle: fractions of n, rounded, by hand; all other cells train."""
    part = split(np.full(n, ""), test=test, validation=validation)
    assert (part == "test").sum() == round(n * test)
    assert (part == "validation").sum() == round(n * validation)
    assert (part == "train").sum() == n - round(n * test) - round(n * validation)


@pytest.mark.parametrize("seed", range(5))
def test_batches_share_the_proportions(seed):
    """Oracle: n_batch × fraction; systematic sampling is off by less than one per boundary."""
    batch = np.random.default_rng(1).permutation(np.repeat(["a", "b", "c"], [500, 120, 30]))
    part = split(batch, seed=seed)
    for value, n in (("a", 500), ("b", 120), ("c", 30)):
        inside = part[batch == value]
        assert abs((inside == "test").sum() - 0.2 * n) < 2
        assert abs((inside == "validation").sum() - 0.1 * n) < 2


def test_held_out_cells_beyond_the_limits_are_trained_on():
    """Oracle: by hand, 40 test and 25 validation cells of 1,000, two thirds of each from a."""
    batch = np.random.default_rng(1).permutation(np.repeat(["a", "b"], [670, 330]))
    part = split(batch, most=(40, 25))
    assert [(part == name).sum() for name in ("train", "validation", "test")] == [935, 25, 40]
    for name, number in (("test", 40), ("validation", 25)):
        assert abs((part[batch == "a"] == name).sum() - 0.67 * number) < 2
    # the limits change nothing where there are fewer cells
    np.testing.assert_array_equal(split(batch), split(batch, most=(200, 100)))


def test_is_repeatable_and_depends_on_the_seed():
    """Oracle: the same seed twice; different seeds share about the square of a fraction."""
    batch = np.full(1_000, "")
    first, again, other = split(batch, 3), split(batch, 3), split(batch, 4)
    np.testing.assert_array_equal(first, again)
    shared = ((first == "test") & (other == "test")).sum()
    assert 15 <= shared <= 65  # hypergeometric: 40 ± 4 × 5


def test_every_cell_is_as_likely_to_be_tested():
    """Oracle: χ² over cells of how often each is tested in 400 seeds; order must not matter."""
    tested = sum((split(np.repeat(["a", "b"], [70, 30]), seed) == "test") for seed in range(400))
    expected = 400 * 0.2
    statistic = ((tested - expected) ** 2 / (expected * 0.8)).sum()
    assert stats.chi2(99).sf(statistic) > 1e-4
    assert stats.chi2(99).cdf(statistic) > 1e-4


@pytest.mark.parametrize(
    ("n", "test", "validation"), [(20, 0.2, 0.2), (100, 0.04, 0.2), (100, 0.5, 0.48)]
)
def test_too_few_cells_are_refused(n, test, validation):
    """The message says how many were left and what to change."""
    with pytest.raises(CountMatrixError, match=r"at least 5 cells.*Fix: bring more cells"):
        split(np.full(n, ""), test=test, validation=validation)


def test_fewest_cells_are_accepted():
    """Limit: 25 cells with a fifth each for test and validation have five of each."""
    part = split(np.full(25, ""), test=0.2, validation=0.2)
    assert (part == "test").sum() == (part == "validation").sum() == 5


def test_folds_are_uniform_and_independent_of_place():
    """Oracle: χ² of fold shares, of pairs of neighbours, and of pairs 256 cells apart."""
    fold = draw_folds(np.arange(1_024), n_genes=60, n_folds=5, seed=2)
    assert fold.dtype == np.uint8
    assert fold.shape == (1_024, 60)
    assert stats.chisquare(np.bincount(fold.ravel(), minlength=5)).pvalue > 1e-4
    for a, b in ((fold[:, :-1], fold[:, 1:]), (fold[:-1], fold[1:]), (fold[:-256], fold[256:])):
        pairs = np.bincount((a.astype(int) * 5 + b).ravel(), minlength=25)
        assert len(pairs) == 25
        assert stats.chisquare(pairs).pvalue > 1e-4


@pytest.mark.parametrize("cells", [1, 255, 256, 257, 700])
def test_folds_do_not_depend_on_the_number_of_cells(cells):
    """Oracle: the first rows of a longer matrix."""
    given = {"n_genes": 9, "n_folds": 5, "seed": 6}
    longer = draw_folds(np.arange(1_000), **given)
    np.testing.assert_array_equal(draw_folds(np.arange(cells), **given), longer[:cells])


def test_folds_are_those_of_the_first_release():
    """Oracle: its own lines, which drew all folds of a matrix at once."""
    expected = np.empty((700, 9), dtype=np.uint8)
    for block, start in enumerate(range(0, 700, 256)):
        rng = np.random.Generator(np.random.Philox(key=[6, block]))
        drawn = rng.integers(5, size=(256, 9), dtype=np.uint8)
        expected[start : start + 256] = drawn[: 700 - start]
    given = {"n_genes": 9, "n_folds": 5, "seed": 6}
    cells = np.random.default_rng(0).permutation(700)[:300]
    np.testing.assert_array_equal(draw_folds(cells, **given), expected[cells])
    kept = KeptFolds()
    for _ in range(2):
        np.testing.assert_array_equal(kept.of(cells, **given), expected[cells])
        np.testing.assert_array_equal(kept.of(cells[::-1], **given), expected[cells[::-1]])
    assert kept.of(cells, **given) is kept.of(cells.copy(), **given)
    other = kept.of(cells, **(given | {"seed": 7}))
    np.testing.assert_array_equal(other, draw_folds(cells, **(given | {"seed": 7})))


def test_no_more_folds_are_kept_than_fit(monkeypatch):
    """Limit: with room for one of two requests the second is drawn anew each time."""
    monkeypatch.setattr("countae.split.FOLD_MEMORY", 100)
    kept, given = KeptFolds(), {"n_genes": 9, "n_folds": 5, "seed": 6}
    first, second = np.arange(10), np.arange(10, 20)
    assert kept.of(first, **given) is kept.of(first, **given)
    assert kept.of(second, **given) is not kept.of(second, **given)


def test_folds_depend_on_the_seed():
    """Oracle: independent draws of five folds agree in a fifth of the entries."""
    a, b = (draw_folds(np.arange(500), n_genes=40, n_folds=5, seed=seed) for seed in (0, 1))
    assert abs((a == b).mean() - 0.2) < 4 * np.sqrt(0.16 / a.size)


@pytest.fixture
def entries():
    """Counts of 40 cells × 30 genes with a sixth of the library outside, and hidden entries."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(rng.gamma(1.0, 3.0, 30), (40, 30)).astype(float)
    outside = rng.poisson(20, (40, 1)).astype(float)
    hidden = (rng.random((40, 30)) < 0.2).astype(float)
    share = counts.sum(axis=0) / (counts.sum() + outside.sum())
    return counts, outside, hidden, share


def test_size_factor_by_hand():
    """Oracle: of 100 counts 10 are hidden where 20 % of the library is expected; reference 50."""
    value = visible_size_factor(
        counts=np.array([[10.0, 30.0]]), hidden=np.array([[1, 0]]),
        library_size=np.array([[100.0]]), gene_share=np.array([0.2, 0.4]), reference_size=50.0,
    )  # fmt: skip
    np.testing.assert_allclose(value, [[(100 - 10) / (1 - 0.2) / 50]])


def test_hidden_counts_do_not_leak_into_the_size_factor(entries):
    """Leak test: other hidden counts, with the library they add up to, change nothing."""
    counts, outside, hidden, share = entries
    changed = np.where(hidden == 1, np.random.default_rng(0).poisson(50, counts.shape), counts)
    assert (changed != counts).any()
    values = [
        visible_size_factor(
            counts=x, hidden=hidden, library_size=x.sum(axis=1, keepdims=True) + outside,
            gene_share=share, reference_size=80.0,
        )
        for x in (counts, changed)
    ]  # fmt: skip
    np.testing.assert_allclose(values[0], values[1], rtol=1e-12)


def test_hidden_counts_do_not_leak_in_float32(entries):
    """Leak test as in training: float32 tensors; whole numbers below 2²⁴ subtract exactly."""
    counts, outside, hidden, share = entries
    changed = np.where(hidden == 1, counts + 1_000.0, counts)

    def f32(array):
        return torch.as_tensor(np.asarray(array, dtype=np.float32))

    values = [
        visible_size_factor(
            counts=f32(x), hidden=f32(hidden), gene_share=f32(share), reference_size=80.0,
            library_size=f32(x.sum(axis=1, keepdims=True) + outside),
        )
        for x in (counts, changed)
    ]  # fmt: skip
    assert torch.equal(values[0], values[1])


def test_nothing_hidden_is_the_plain_size_factor(entries):
    """Limit: without hidden entries it is library size over reference size."""
    counts, outside, hidden, share = entries
    library = counts.sum(axis=1, keepdims=True) + outside
    value = visible_size_factor(
        counts=counts,
        hidden=0 * hidden,
        library_size=library,
        gene_share=share,
        reference_size=80.0,
    )
    np.testing.assert_allclose(value, library / 80.0)


def test_is_unbiased_for_a_typical_cell():
    """Oracle: Poisson cells of one size; the mean over cells within four standard errors."""
    rng = np.random.default_rng(4)
    share = rng.dirichlet(np.ones(50))
    counts = rng.poisson(2_000 * share, (3_000, 50)).astype(float)
    hidden = rng.random(counts.shape) < 0.2
    value = visible_size_factor(
        counts=counts, hidden=hidden, library_size=counts.sum(axis=1, keepdims=True),
        gene_share=share, reference_size=2_000.0,
    )  # fmt: skip
    assert abs(value.mean() - 1) < 4 * value.std() / np.sqrt(len(value))


def test_a_cell_without_visible_counts_keeps_a_positive_size():
    """Limit: at least one visible count is assumed."""
    value = visible_size_factor(
        counts=np.array([[7.0, 0.0]]), hidden=np.array([[1.0, 0.0]]),
        library_size=np.array([[7.0]]), gene_share=np.array([0.5, 0.5]), reference_size=10.0,
    )  # fmt: skip
    np.testing.assert_allclose(value, [[1 / 0.5 / 10]])


@pytest.mark.parametrize("form", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_cell_of_which_nothing_is_seen_is_average(form, dtype):
    """By hand: shares of 0.7 and 0.3 are the whole library; the second cell hides both."""
    given = {
        "counts": np.array([[30, 10], [30, 10], [30, 10]]), "hidden": np.eye(3, 2)[[0, 0, 1]],
        "library_size": np.full((3, 1), 40), "gene_share": np.array([0.7, 0.3]),
    }  # fmt: skip
    given["hidden"][1] = 1
    given = {name: form(value.astype(dtype)) for name, value in given.items()}
    value = visible_size_factor(**given, reference_size=20.0)
    assert value.dtype == given["counts"].dtype
    expected = [[10 / 0.3 / 20], [1], [30 / 0.7 / 20]]
    np.testing.assert_allclose(value, expected, rtol=1e-6)  # float32


@pytest.mark.parametrize("form", [np.asarray, torch.as_tensor])
def test_cells_of_which_something_is_seen_keep_every_bit(entries, form):
    """Oracle: the formula itself; float32 as in training."""
    counts, outside, hidden, share = (form(np.asarray(x, dtype=np.float32)) for x in entries)
    library = counts.sum(-1)[:, None] + outside
    value = visible_size_factor(
        counts=counts, hidden=hidden, library_size=library, gene_share=share, reference_size=80.0
    )
    visible = library - (counts * hidden).sum(-1)[:, None]
    expected = visible.clip(1.0) / (1.0 - (hidden * share).sum(-1)[:, None]) / 80.0
    assert (value == expected).all()

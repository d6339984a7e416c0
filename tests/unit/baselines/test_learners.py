"""What all baselines promise that learn from other cells."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import prepared
from scipy.sparse import csr_matrix

from countae import baselines
from countae.baselines._base import PARTS, Learner, Seen, averaged, hold_out, taught
from countae.baselines._log_space import LogSpace
from countae.noise import fit_noise, noise_cells

LEARNERS = [name for name in baselines.names() if issubclass(baselines.get(name), Learner)]


def whole(counts: np.ndarray, size_factor: np.ndarray) -> Seen:
    return Seen(
        counts.astype(float), np.reshape(size_factor, (-1, 1)), np.zeros(counts.shape, dtype=bool)
    )


def nb_score(member, matrix) -> float:
    """Log score of test entries under NB noise around a baseline's means."""
    test, fitted = np.flatnonzero(matrix.part == "test"), noise_cells(matrix)
    noise = fit_noise(
        "nb", counts=matrix.target(fitted).toarray().astype(float),
        mean=member.mean(matrix, fitted), size_factor=hold_out(matrix).size_factor(fitted),
    )  # fmt: skip
    found = noise.around(member.mean(matrix, test), hold_out(matrix).size_factor(test))
    return -found.log_pmf(matrix.target(test).toarray()).mean()


def test_all_six_are_there():
    assert LEARNERS == ["alra", "cluster_mean", "glm_pca", "knn_smoothing", "log1p_pca", "magic"]


@pytest.fixture(scope="module")
def typed():
    """400 cells of three types, and the scores of the truth and of the gene's mean."""
    matrix = prepared("simulate:nb", cells=400, genes=80)[0]
    return matrix, *(nb_score(baselines.get(name)(), matrix) for name in ("oracle", "gene_mean"))


@pytest.mark.parametrize("name", sorted({*LEARNERS} - {"alra"}))
def test_knowing_similar_cells_is_better_than_the_genes_mean(typed, name):
    """ALRA is left out: it says of many counts that they are 0, and is worse than that mean."""
    matrix, truth, null = typed
    assert truth < nb_score(baselines.get(name)(), matrix) < null


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("part", ["test", "train"])
def test_a_hidden_count_never_reaches_its_own_prediction(small_nb, name, part):
    """Counts of one fold of a cell are raised, and its library with them: that fold's stay."""
    cell = np.flatnonzero(small_nb.part == part)[3:4]
    adata = small_nb.adata.copy()
    changed = type(small_nb)(adata, "changed")
    hidden = small_nb.fold_of(cell)[0] == 2
    counts = adata.X.toarray()
    counts[cell[0], np.flatnonzero(hidden)] += 50
    adata.X = csr_matrix(counts)
    adata.obs.iloc[cell, adata.obs.columns.get_loc("library_size")] += 50.0 * hidden.sum()
    member, setting = baselines.get(name)(), baselines.get(name).settings[0]
    before, after = (member._values(matrix, cell, setting)[0] for matrix in (small_nb, changed))
    np.testing.assert_array_equal(after[hidden], before[hidden])
    assert not np.allclose(after[~hidden], before[~hidden], rtol=1e-3)  # those see the others


def test_a_training_cell_is_never_learnt_from_for_itself(small_nb):
    cells = noise_cells(small_nb)
    train = np.flatnonzero(small_nb.part == "train")
    groups = list(taught(small_nb, cells))
    assert len(groups) == PARTS + 1
    np.testing.assert_array_equal(
        np.sort(np.concatenate([rows for rows, _ in groups])), np.arange(len(cells))
    )
    for rows, reference in groups:
        assert not set(cells[rows]) & set(reference)
        assert set(reference) <= set(train)
        assert len(reference) >= 0.79 * len(train)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_panel_of_two_genes_is_predicted(small_nb, name):
    panel = small_nb.subset(slice(None), np.array([0, 1]))
    found = baselines.get(name)().mean(panel, np.flatnonzero(panel.part == "test"))
    assert np.isfinite(found).all()
    assert (found >= 0).all()


def test_the_validation_cells_choose_the_setting(small_nb):
    """Oracle: a learner whose only good setting is known."""

    class Guess(Learner):
        settings = (0.01, 1.0, 50.0)

        def learn(self, reference, setting):
            return lambda seen: (
                seen.size_factor
                * reference.rate
                * np.where(np.arange(len(reference.rate)) % 2, setting, 1.0 / setting)
                ** np.where(np.arange(len(seen.counts))[:, None] % 2, 1, -1)
            )

    assert Guess().setting(small_nb) == 1.0


def test_one_average_cell_is_added_to_every_mean(rng):
    counts, size = rng.poisson(2.0, (4, 3)), np.array([0.5, 1.0, 2.0, 0.7])
    rate = counts.sum(axis=0) / size.sum()
    found = averaged(np.array([[1.0, 0.0, 1.0, 0.0]]), whole(counts, size))
    np.testing.assert_allclose(found[0], (counts[0] + counts[2] + rate) / (0.5 + 2.0 + 1.0))


@pytest.mark.parametrize("hidden_share", [0.0, 0.3])
def test_a_cell_lies_where_least_squares_over_its_visible_genes_puts_it(rng, hidden_share):
    """Oracle: singular vectors, and numpy's least squares cell by cell."""
    counts, size = rng.poisson(rng.gamma(1.0, 3.0, (60, 1)), (60, 20)), rng.uniform(0.5, 2, 60)
    reference = whole(counts, size)
    space = LogSpace.of(reference, 4)
    logged = np.log1p(counts / size[:, None])
    centre = logged.mean(axis=0)
    axes = np.linalg.svd(logged - centre, full_matrices=False)[2][:4].T
    np.testing.assert_allclose(space.axes @ space.axes.T, axes @ axes.T, atol=1e-8)
    hidden = rng.random(counts.shape) < hidden_share
    seen = Seen(np.where(hidden, 0.0, counts), size[:, None], hidden)
    for i in range(len(counts)):
        at = ~hidden[i]
        solution = np.linalg.lstsq(axes[at], (logged[i] - centre)[at], rcond=None)[0]
        np.testing.assert_allclose(space.location(seen)[i], centre + axes @ solution, atol=1e-7)

"""Margins of simulated and observed counts: by hand, and on redraws of right and wrong truths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csc_matrix, csr_matrix

from countae import simulate
from countae.errors import CountMatrixError
from countae.simulate import marginals, random_design
from countae.simulate._marginals import margins


def plan_of(cells, depth=300.0, seed=0):
    """A design that knows its noise, as a fit would."""
    rng = np.random.default_rng(seed)
    plan = random_design(cells=cells, genes=200, types=4, depth=depth, rng=rng)
    return replace(
        plan,
        inverse_dispersion=plan.inverse_dispersions(rng),
        zero_probability=plan.zero_probabilities(rng),
    )


def redrawn(family, plan, seed):
    return csr_matrix(simulate.get(family)(plan, np.random.default_rng(seed)).counts)


@pytest.mark.parametrize("kind", [csr_matrix, csc_matrix])
def test_margins_agree_with_numpy_and_do_not_depend_on_blocks(kind, rng, monkeypatch):
    """Oracle: dense NumPy, with a stored zero and blocks of seven cells."""
    counts = rng.poisson(0.7, (40, 9))
    sparse = kind(counts)
    sparse.data[0] = 0
    counts = sparse.toarray()
    for cells in (4096, 7):
        monkeypatch.setattr("countae.simulate._marginals.CELLS_AT_A_TIME", cells)
        found = margins(sparse)
        np.testing.assert_allclose(found.zero_fraction, (counts == 0).mean(axis=0))
        np.testing.assert_allclose(found.mean, counts.mean(axis=0))
        np.testing.assert_allclose(found.variance, counts.var(axis=0))
        np.testing.assert_array_equal(found.library_size, counts.sum(axis=1))


def test_distances_agree_with_scipy(rng):
    """Oracle: each distance from dense arrays, by the docstring."""
    means = np.geomspace(0.02, 20, 30)
    a, b = rng.poisson(means, (120, 30)), rng.poisson(1.3 * means, (150, 30))
    found = marginals(csr_matrix(a), csr_matrix(b))
    kept = np.minimum(a.mean(axis=0), b.mean(axis=0)) > 0.05
    zeros = [(x == 0).mean(axis=0) for x in (a, b)]
    log_mean = np.log(b.mean(axis=0)[kept]) - np.log(a.mean(axis=0)[kept])
    log_variance = np.log(b.var(axis=0)[kept]) - np.log(a.var(axis=0)[kept])
    expected = {
        "zero_fraction_difference": np.median(np.abs(zeros[1] - zeros[0])[kept]),
        "zero_fraction_shift": (zeros[1] - zeros[0])[kept].mean(),
        "zero_fraction_correlation": stats.pearsonr(*zeros).statistic,
        "log_mean_difference": np.median(np.abs(log_mean)),
        "log_mean_shift": np.median(log_mean),
        "log_variance_difference": np.median(np.abs(log_variance)),
        "log_variance_shift": np.median(log_variance),
        "log_variance_correlation": stats.spearmanr(*(x.var(axis=0)[kept] for x in (a, b)))[0],
        "library_size_distance": stats.ks_2samp(a.sum(axis=1), b.sum(axis=1)).statistic,
        "genes_compared": kept.sum(),
    }
    assert set(found) == {*expected, "match", "reason"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("family", ["poisson", "nb", "zinb"])
@pytest.mark.parametrize(("cells", "depth"), [(150, 300.0), (300, 600.0), (1_000, 100.0)])
def test_a_redraw_from_the_truth_matches(family, cells, depth):
    for seed in (1, 2, 3):
        plan = plan_of(cells, depth, seed)
        found = marginals(redrawn(family, plan, 10), redrawn(family, plan, 11))
        assert found["match"], found["reason"]
        assert found["reason"] == ""


@pytest.mark.parametrize("cells", [300, 1_000])
@pytest.mark.parametrize(
    ("truth", "wrong", "reason"),
    [
        ("nb", "poisson", "Variances are off on average"),
        ("nb", "gaussian", "Variances are off on average"),
        ("nb", "zinb", "The share of zeros is off on average"),
        ("zinb", "nb", "The share of zeros is off on average"),
        ("nb", "heavy_tailed", "off on average"),
    ],
)
def test_another_family_does_not_match(truth, wrong, reason, cells):
    for seed in (1, 2, 3):
        plan = plan_of(cells, 300.0, seed)
        found = marginals(redrawn(truth, plan, 10), redrawn(wrong, plan, 11))
        assert not found["match"]
        assert reason in found["reason"]


def test_errors_that_cancel_over_genes_are_seen(rng):
    """θ of the wrong genes: no shift of the variances, but a difference at every gene."""
    plan = plan_of(2_000)
    theta = np.where(rng.random(200) < 0.5, 0.3, 8.0)
    swapped = np.where(theta < 1, 8.0, 0.3)
    first, second = (
        redrawn("nb", replace(plan, inverse_dispersion=value), seed)
        for seed, value in enumerate([theta, swapped])
    )
    found = marginals(first, second)
    assert "Variances differ gene by gene" in found["reason"]


def test_other_means_genes_and_cells_are_seen():
    """Every other limit is broken by a change that it is there for."""
    plan = plan_of(600)
    counts = redrawn("nb", plan, 1)
    more = replace(plan, mean=1.3 * plan.mean)
    assert "Means are off" in marginals(counts, redrawn("nb", more, 2))["reason"]
    order = np.random.default_rng(1).permutation(200)
    reason = marginals(counts, counts[:, order])["reason"]
    assert "Other genes have zeros" in reason
    assert "Variances rank the genes otherwise" in reason
    size = np.where(np.arange(600) % 2, 0.4, 1.6)[:, None]
    uneven = replace(plan, mean=plan.mean * size)
    assert "other library sizes" in marginals(counts, redrawn("nb", uneven, 3))["reason"]


def test_genes_without_any_zero_match_themselves():
    counts = csr_matrix(np.random.default_rng(1).poisson(np.geomspace(50, 500, 20), (100, 20)))
    found = marginals(counts, counts)
    assert found["zero_fraction_correlation"] == 1.0
    assert found["match"], found["reason"]


def test_matrices_that_cannot_be_compared_are_told():
    counts = redrawn("nb", plan_of(100), 1)
    with pytest.raises(CountMatrixError, match="200 observed and 199 simulated"):
        marginals(counts, counts[:, 1:])
    with pytest.raises(CountMatrixError, match="2 genes have a mean above"):
        marginals(counts[:, :2], counts[:, :2])

"""Scoring end to end on small data: what is written, what is missing, which control wins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from conftest import SETTINGS, prepared
from scipy import sparse
from sklearn.metrics import silhouette_score

from countae import likelihoods, metrics
from countae.config import Source
from countae.errors import ScoreError
from countae.fit import fit
from countae.hold_out import hide
from countae.noise import noise_families
from countae.predict import reconstruct
from countae.prepare import prepare
from countae.score import score_baseline, score_network

SECONDARY = {name for name in metrics.names() if metrics.get(name).secondary}


@pytest.fixture(scope="module")
def oracle(small_nb):
    return score_baseline("oracle", small_nb, wanted=[])


@pytest.fixture(scope="module")
def null(small_nb):
    return score_baseline("gene_mean", small_nb, wanted=[])


def summary(scores, metric, noise):
    table = scores.table.query("metric == @metric and noise == @noise and level == 'dataset'")
    return table["value"].item()


def test_every_metric_is_there_for_the_oracle(oracle, small_nb):
    found = oracle.table.query("noise == 'native'")["metric"].unique()
    left_out = {"extra_zero_calibration", "zero_inflation_test"} | SECONDARY
    assert set(found) == set(metrics.names()) - left_out
    assert "zero_inflation_test" in set(oracle.table.query("noise == 'nb'")["metric"])
    per_gene = oracle.table.query(
        "noise == 'native' and level == 'gene' and metric == 'log_score'"
    )
    assert per_gene["id"].tolist() == small_nb.gene_id.tolist()


def test_the_truth_beats_the_null_and_its_spread_is_right(oracle, null):
    for metric in ("log_score", "ranked_probability_score", "brier_zero"):
        assert summary(oracle, metric, "native") < summary(null, metric, "nb")
    assert summary(null, "log_score", "nb") < summary(null, "log_score", "poisson")
    # 30 test cells × 40 genes: four standard errors of a 90 % coverage are 0.035
    assert summary(oracle, "coverage_90", "native") == pytest.approx(0.9, abs=0.035)


def test_cells_and_genes_and_entries_tell_the_same_mean(oracle):
    of_cells = oracle.cells.query("noise == 'native' and metric == 'log_score'")["value"].mean()
    assert of_cells == pytest.approx(summary(oracle, "log_score", "native"), rel=1e-9)
    assert oracle.entries["native"].mean() == pytest.approx(of_cells, rel=1e-5)
    assert set(oracle.entries) == {"native"}


def test_the_null_has_no_distribution_of_its_own(null):
    assert set(null.table["noise"]) == {"mse_counts", "nb", "poisson", "zinb"}


def test_only_what_is_wanted_is_computed_besides_what_the_verdict_needs(small_nb):
    scores = score_baseline("gene_mean", small_nb, wanted=["pearson_variance"])
    assert set(scores.table["metric"]) == {
        "pearson_variance", "log_score", "brier_zero", "dispersion_standard_error",
        "zero_inflation_test",
    }  # fmt: skip


def test_metrics_of_the_truth_are_left_out_without_one(small_nb):
    adata = small_nb.adata.copy()
    del adata.uns["truth"]
    blind = type(small_nb)(adata, "real")
    scores = score_baseline("gene_mean", blind, wanted=[])
    assert not {"mean_log_error", "dispersion_log_error"} & set(scores.table["metric"])
    with pytest.raises(ScoreError, match="oracle needs simulated data"):
        score_baseline("oracle", blind, wanted=[])


def test_the_oracle_is_the_truth_of_whole_counts_only(small_nb):
    thinned = hide(small_nb, "thinning")
    with pytest.raises(ScoreError, match=r"truth of whole counts.*\(thinning\)\. Fix: score it"):
        score_baseline("oracle", thinned, wanted=[])


@pytest.mark.parametrize("n_genes", [1, 2])
def test_panels_of_few_genes_are_fitted_and_scored(n_genes, tmp_path):
    """All genes of many cells are hidden at once; their size is then that of the average cell."""
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(2.0, 10.0, (80, n_genes)) + 1))
    names = [f"gene{j}" for j in range(n_genes)]
    AnnData(counts, var=pd.DataFrame(index=names)).write_h5ad(tmp_path / "panel.h5ad")
    matrix, _ = prepare(
        Source(str(tmp_path / "panel.h5ad"), genes="all"),
        simulate=SETTINGS["simulate"],
        quality=SETTINGS["quality"] | {"min_genes_per_cell": 1, "min_counts_per_cell": 1},
        genes=SETTINGS["genes"],
        held_out=SETTINGS["split"],
    )
    fold = matrix.fold_of(np.arange(len(matrix.obs)))
    assert (fold == fold[:, :1]).all(axis=1).any()
    null = score_baseline("gene_mean", matrix, wanted=[])
    assert np.isfinite(summary(null, "log_score", "nb"))
    network, record = fit(
        matrix, "nb", seed=0, network={"hidden": [8], "latent": 2, "dropout": 0.0},
        training=SETTINGS["training"] | {"max_epochs": 4},
    )  # fmt: skip
    assert np.isfinite(record.validation_loss).all()
    found = score_network(network, matrix, wanted=["log_score"])
    assert np.isfinite(found.cells["value"]).all()


def test_extra_zeros_are_judged_where_the_data_and_the_noise_have_them(monkeypatch):
    """The true posterior beats the constant; noise without extra zeros has no posterior."""
    monkeypatch.setattr("countae.score.GENE_BLOCK", 17)
    scores = score_baseline(
        "oracle", prepared("simulate:zinb")[0], wanted=["extra_zero_calibration"]
    )
    found = scores.table.query("metric == 'extra_zero_calibration'")
    assert set(found["noise"]) == {"native", "zinb"}
    value = found.query("noise == 'native'").set_index("id")["value"]
    assert value["brier"] < value["brier_constant"]
    assert value["auc"] > 0.6
    assert set(found["level"]) == {"dataset"}


def test_scores_do_not_depend_on_the_blocks_of_genes(small_nb, oracle, monkeypatch):
    monkeypatch.setattr("countae.score.GENE_BLOCK", 7)
    again = score_baseline("oracle", small_nb, wanted=["log_score", "ranked_probability_score"])
    for metric in ("log_score", "ranked_probability_score"):
        assert summary(again, metric, "native") == pytest.approx(summary(oracle, metric, "native"))


def test_files_hold_what_was_computed(oracle, tmp_path):
    paths = [tmp_path / name for name in ("scores.parquet", "cells.parquet", "entries.npz")]
    oracle.save(*paths)
    pd.testing.assert_frame_equal(pd.read_parquet(paths[0]), oracle.table)
    with np.load(paths[2]) as file:
        np.testing.assert_array_equal(file["native"], oracle.entries["native"])


def test_reads_with_huge_counts_are_scored(real_data):
    """Full-length reads: counts of tens of thousands, every score finite."""
    path = str(real_data / "neural_c1_smarter_reads.h5ad")
    matrix, triage = prepared(path)
    matrix = matrix.subset(slice(None), np.argsort(-matrix.gene_share)[:60])
    assert triage["raw"]["largest_count"] > 10_000
    scores = score_baseline("gene_mean", matrix, wanted=["log_score", "ranked_probability_score"])
    assert np.isfinite(scores.cells["value"]).all()


def test_a_metric_out_of_its_bounds_is_a_defect(small_nb, monkeypatch):
    wrong = metrics.Metric(
        "log_score", lambda *, log_prob: log_prob, "lower", "nats", (0.0, np.inf), "entry", "mean"
    )
    monkeypatch.setitem(metrics.registry._members, "log_score", wrong)
    with pytest.raises(ScoreError, match="log_score must lie in"):
        score_baseline("gene_mean", small_nb, wanted=["log_score"])


def test_scoring_a_network_gives_all_columns(small_nb):
    training = SETTINGS["training"] | {"max_epochs": 2}
    network, _ = fit(small_nb, "nb", seed=0, network=SETTINGS["network"], training=training)
    scores = score_network(network, small_nb, wanted=["log_score"])
    assert set(scores.entries) == {"native"}
    assert set(scores.table["noise"]) == {"native", "mse_counts", "nb", "poisson", "zinb"}


def test_a_squared_error_is_also_shown_with_the_single_scale_it_asserts(small_nb):
    """Genes differ in spread, so that one scale for all cannot predict as well."""
    training = SETTINGS["training"] | {"max_epochs": 30}
    network, _ = fit(
        small_nb, "mse_counts", seed=0, network=SETTINGS["network"], training=training
    )
    scores = score_network(network, small_nb, wanted=["log_score"])
    assert summary(scores, "log_score", "native") < summary(scores, "log_score", "single_scale")


@pytest.mark.parametrize("loss", sorted(set(likelihoods.names()) - set(noise_families())))
def test_every_loss_that_is_no_noise_column_is_scored_as_itself(small_nb, loss):
    """All metrics are within their bounds; the columns of noise stay the four that they were.

    Beside them stand a loss's own other readings.
    """
    training = SETTINGS["training"] | {"max_epochs": 10}
    network, _ = fit(small_nb, loss, seed=0, network=SETTINGS["network"], training=training)
    scores = score_network(network, small_nb, wanted=[])
    columns = {"native", "mse_counts", "nb", "poisson", "zinb"}
    own = {"hurdle_nb_focal": {"recalibrated"}}.get(loss, {"single_scale"})
    assert set(scores.table["noise"]) - own == columns
    assert np.isfinite(summary(scores, "log_score", "native"))
    assert summary(scores, "ranked_probability_score", "native") < 5


@pytest.fixture(scope="module")
def labelled():
    """A network of data with labels, as both."""
    matrix = prepared("simulate:nb", label_key="cell_type")[0]
    training = SETTINGS["training"] | {"max_epochs": 1}
    return fit(matrix, "nb", seed=0, network=SETTINGS["network"], training=training)[0], matrix


def test_the_latent_space_is_judged_once_on_test_cells_with_nothing_hidden(labelled):
    """Oracle: the exported latent coordinates of the test cells, and scikit-learn on them."""
    network, matrix = labelled
    scores = score_network(network, matrix, wanted=sorted(SECONDARY))
    found = scores.table[scores.table["metric"].isin(SECONDARY)]
    assert set(found["noise"]) == {"native"}
    assert set(found["metric"]) == SECONDARY
    assert set(found["level"]) == {"dataset"}
    test = matrix.part == "test"
    latent = reconstruct(network, matrix)[0][test]
    expected = silhouette_score(latent.astype(float), matrix.labels[test])
    assert summary(scores, "silhouette", "native") == pytest.approx(expected, abs=1e-5)


def test_the_latent_space_needs_labels_that_differ(labelled):
    network, matrix = labelled
    for cells in (np.flatnonzero(matrix.labels == "type 1"), slice(None)):
        part = matrix.subset(cells, slice(None))
        if isinstance(cells, slice):
            part.info["label_key"] = ""
        scores = score_network(network, part, wanted=["silhouette", "nmi"])
        assert not SECONDARY & set(scores.table["metric"])

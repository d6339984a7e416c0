"""The confusion matrix of rehearsals, and the rehearsal itself on a small matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SETTINGS, prepared

from countae.errors import CountMatrixError, ScoreError
from countae.fit import fit
from countae.referee import TOLD_BY, confusion
from countae.rehearsal import (
    _marginals,
    draw_simpler,
    fitted_design,
    rehearse,
    simulated_like,
    stream_of,
)
from countae.simulate import names
from countae.story import ASKED, would_be_seen

QUICK = {
    "network": {"hidden": [16], "latent": 4, "dropout": 0.1},
    "training": SETTINGS["training"] | {"max_epochs": 20, "patience": 5, "batch_size": 64},
    "verdict": SETTINGS["verdict"],
}


def made(family, story, *, zeros=False, significant=10):
    return {
        "family": family, "story": {"family": story}, "recommended": story, "n_genes": 100,
        "asserted": {"zero_inflation": zeros}, "observed": {"n_significant": significant},
    }  # fmt: skip


def test_confusion_counts_stories_by_true_family():
    found = confusion([
        made("nb", "nb"), made("nb", "nb"), made("zinb", "zinb", zeros=True, significant=40),
        made("zinb", "nb", significant=20), made("heavy_tailed", "nb"),
    ])  # fmt: skip
    assert found["families"] == ["nb", "zinb", "heavy_tailed"]
    assert found["rows"]["nb"] == {
        "n": 2, "stories": {"nb": 2}, "recommended": {"nb": 2}, "right": 2, "zero_inflation": 0,
    }  # fmt: skip
    assert found["rows"]["zinb"]["stories"] == {"zinb": 1, "nb": 1}
    assert found["rows"]["zinb"]["right"] == found["rows"]["zinb"]["zero_inflation"] == 1
    assert found["rows"]["heavy_tailed"]["right"] is None
    assert found["told_apart"] == {"genes": 30, "of": 100}
    assert found["sentence"] == (
        "On data simulated from your own fit the verdict names the true family of nb every time; "
        "of zinb 1 of 2 times, else negative binomial. At your depth NB and ZINB can be told "
        "apart for 30 of 100 genes."
    )


def test_without_zinb_rehearsals_nothing_is_said_of_genes():
    found = confusion([made("nb", "nb")])
    assert found["told_apart"] is None
    assert found["sentence"].endswith("nb every time.")
    assert confusion([made("heavy_tailed", "nb")])["sentence"].startswith("None of the simulated")
    with pytest.raises(ScoreError, match="Fix: run `countae rehearse`"):
        confusion([])


def test_every_simulator_has_its_story():
    """A new family must say which loss tells its story, or that none does."""
    assert set(TOLD_BY) == set(names())


@pytest.fixture(scope="module")
def fitted():
    torch.set_num_threads(1)
    matrix = prepared("simulate:nb", cells=300, genes=40)[0]
    training = SETTINGS["training"] | {"batch_size": 64}
    network, _ = fit(matrix, "nb", seed=0, network=QUICK["network"], training=training)
    return matrix, fitted_design(network, matrix, device="cpu")


def test_the_design_resembles_the_truth(fitted):
    """Recovery: means correlate with the true ones on the log scale, θ is right to factor two."""
    matrix, plan = fitted
    true_mean = matrix.adata.layers["true_mean"]
    assert np.corrcoef(np.log(plan.mean).ravel(), np.log(true_mean).ravel())[0, 1] > 0.9
    assert plan.mean.sum() == pytest.approx(matrix.counts.sum(), rel=0.05)
    theta = matrix.adata.var["true_inverse_dispersion"].to_numpy()
    assert abs(np.median(np.log(plan.inverse_dispersion / theta))) < np.log(2)


def test_simulated_counts_keep_cells_split_and_keys(fitted):
    matrix, plan = fitted
    like = simulated_like(matrix, plan, "zinb", seed=3)
    assert like.cell_id.tolist() == matrix.cell_id.tolist()
    assert set(like.gene_id) <= set(matrix.gene_id)
    np.testing.assert_array_equal(like.part, matrix.part)
    np.testing.assert_array_equal(like.labels, matrix.labels)
    again = simulated_like(matrix, plan, "zinb", seed=3)
    assert (like.counts != again.counts).nnz == 0
    assert (like.counts[:, :5] != simulated_like(matrix, plan, "zinb", seed=4).counts[:, :5]).nnz
    np.testing.assert_allclose(like.library_size, like.counts.sum(axis=1).A1)


def test_a_rehearsal_tells_what_the_referee_needs(fitted):
    matrix, plan = fitted
    record = rehearse(
        matrix, plan, "nb", replicate=0, likelihoods=["poisson", "nb", "zinb"], seeds=[0],
        settings=QUICK, device="cpu", bootstrap=True,
    )  # fmt: skip
    assert record["marginals"]["genes_compared"] > 20
    assert set(record["scores"]) == {"poisson", "nb", "zinb"}
    found = confusion([record])
    assert found["rows"]["nb"]["n"] == 1
    assert {"same_means_gap", "network_gap", "significant_share"} <= set(record["observed"])


def test_a_rehearsal_and_its_own_bootstrap_are_different_draws(fitted):
    """Streams differ, and the residuals of a draw and of its own replicate do not correlate."""
    matrix, plan = fitted
    first = simulated_like(matrix, plan, "nb", seed=stream_of(matrix, "nb", 0))
    streams = {
        stream_of(matrix, "nb", 0), stream_of(matrix, "nb", 1), stream_of(matrix, "poisson", 0),
        stream_of(first, "nb", 0), stream_of(first, "poisson", 0),
    }  # fmt: skip
    assert len(streams) == 5
    again = simulated_like(matrix, plan, "nb", seed=stream_of(first, "nb", 0))
    both = [gene for gene in first.gene_id if gene in again.gene_id]
    rest = [standardised(made.adata[:, both]) for made in (first, again)]
    assert abs(np.corrcoef(rest[0].ravel(), rest[1].ravel())[0, 1]) < 0.04


def standardised(adata):
    """Pearson residuals: of plain ones the few largest would decide a correlation."""
    mean = adata.layers["true_mean"]
    theta = adata.var["true_inverse_dispersion"].to_numpy()
    return (adata.X.toarray() - mean) / np.sqrt(mean + mean**2 / theta)


def test_margins_that_cannot_be_compared_do_not_end_a_rehearsal(fitted, monkeypatch):
    def refuse(*_):
        raise CountMatrixError("too few genes")

    monkeypatch.setattr("countae.rehearsal.simulate.marginals", refuse)
    assert _marginals(fitted[0], fitted[0]) == {"match": None, "reason": "too few genes"}


def test_only_questioned_families_are_drawn(fitted):
    """One question that a single replicate settles: no more than that one is made."""
    matrix, plan = fitted
    condition = {"met": None, "observed": -10.0}
    not_asked = {f"{name}_exceeds_bootstrap": {"met": None} for name in ASKED["zero_inflation"]}
    shown = {"same_means": {"met": True}, "same_means_gap_exceeds_bootstrap": condition}
    asked = {
        "overdispersion": {"conditions": shown | {"valid": {"met": True}}},
        "zero_inflation": {"conditions": {"same_means": {"met": False}} | not_asked},
    }
    drawn = draw_simpler(matrix, plan, asked, settings=QUICK, device="cpu")
    assert list(drawn) == ["poisson"]
    assert len(drawn["poisson"]) == 1


def test_where_no_extra_zeros_are_told_data_with_them_are_drawn(fitted):
    """The lead over Poisson noise is beyond any replicate's, that of ZINB noise is none."""
    matrix, plan = fitted
    lead = {"met": None, "observed": 1e3}
    absent = {"met": False, "interval": (-0.001, 0.001), "delta": 0.002}
    not_asked = {f"{name}_exceeds_bootstrap": {"met": None} for name in ASKED["zero_inflation"]}
    found = {
        "overdispersion": {
            "conditions": {
                "same_means": {"met": True}, "same_means_gap_exceeds_bootstrap": lead,
                "valid": {"met": True},
            }
        },
        "zero_inflation": {
            "conditions": {
                "same_means": absent, "no_normal_noise": {"met": True, "normal_is_better": False},
            } | not_asked
        },
    }  # fmt: skip
    settings = QUICK | {"verdict": QUICK["verdict"] | {"bootstrap": 6}}
    drawn = draw_simpler(matrix, plan, found, settings=settings, device="cpu")
    assert list(drawn) == ["poisson", "zinb_logistic"]
    assert len(drawn["zinb_logistic"]) <= 3
    assert would_be_seen(drawn, 0.05)["met"] is not None
    assert {"zero_p", "network_gap"} <= set(drawn["zinb_logistic"][0])

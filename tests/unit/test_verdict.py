"""The verdict on made-up scores whose right answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up import CELLS, GENES, World

from countae.errors import ScoreError


@pytest.fixture
def world(tmp_path):
    return World(tmp_path).add("gene_mean", 0.1)


def test_a_clear_winner_is_named_with_its_lead(world):
    world.add("nb", 0.0).add("poisson", 0.03).add("mse_log1p", 0.05)
    verdict, genes = world.decide(["mse_log1p", "poisson", "nb"])
    overall = verdict["axes"]["overall"]
    assert (overall["outcome"], overall["winner"], overall["against"]) == (
        "winner",
        "nb",
        "poisson",
    )
    assert overall["difference"] == pytest.approx(0.03, abs=0.003)
    low, high = overall["interval"]
    assert low < 0.03 < high
    assert overall["aa_error"] == 0
    assert "made_up: NB predicts best (0.0" in verdict["sentence"]
    assert verdict["genes"] == {
        "mse_log1p": 0, "poisson": 0, "nb": GENES, "tie": 0, "undecided": 0, "not_testable": 0,
    }  # fmt: skip
    assert {p["genes"] for p in verdict["gene_pairs"] if p["better"] == "nb"} == {GENES}
    assert verdict["n_test_cells"] == CELLS
    assert set(genes["class"]) == {"nb"}


def test_equal_losses_tie_and_the_simplest_is_recommended(world):
    world.add("nb", 0.0).add("zinb", 0.0).add("poisson", 0.03)
    verdict, genes = world.decide(["poisson", "zinb", "nb"])
    overall = verdict["axes"]["overall"]
    assert overall["outcome"] == "tie"
    assert overall["winner"] is None
    assert set(overall["contenders"]) == {"nb", "zinb"}
    assert verdict["recommended"] == "nb"
    assert "predict equally well, so the simplest, NB, is enough" in verdict["sentence"]
    assert set(genes["class"]) == {"tie"}


def test_a_difference_within_its_noise_is_undecided(tmp_path):
    world = World(tmp_path, cell_noise=0.1).add("gene_mean", 0.3)
    world.add("nb", 0.0).add("zinb", -0.004)
    verdict, genes = world.decide(["zinb", "nb"])
    overall = verdict["axes"]["overall"]
    assert overall["outcome"] == "undecided"
    assert "cannot be told from these cells and seeds" in overall["reason"]
    assert set(genes["class"]) == {"undecided"}


def test_spread_between_seeds_alone_can_make_it_undecided(tmp_path):
    """The cells agree to a hair, the fits do not: three seeds must not decide."""
    world = World(tmp_path, cell_noise=1e-4, seed_noise=0.02).add("gene_mean", 0.3)
    world.add("nb", 0.0).add("zinb", 0.02)
    assert world.decide(["zinb", "nb"])[0]["axes"]["overall"]["outcome"] == "undecided"


def abstains(verdict, words):
    overall = verdict["axes"]["overall"]
    assert overall["outcome"] == "abstain"
    assert overall["winner"] is None
    assert words in overall["reason"]
    assert words in verdict["sentence"]


def test_networks_that_lose_to_the_null_get_no_verdict(tmp_path):
    world = World(tmp_path).add("gene_mean", -0.01).add("nb", 0.0).add("zinb", 0.05)
    abstains(
        world.decide(["zinb", "nb"])[0],
        "no network is shown to predict better than the gene's mean",
    )


def test_too_few_seeds_get_no_verdict(tmp_path):
    world = World(tmp_path, seeds=(0, 1)).add("gene_mean", 0.1).add("nb", 0.0).add("zinb", 0.05)
    abstains(world.decide(["zinb", "nb"])[0], "only 2 of the 3 seeds needed")


def test_one_seed_is_no_error(tmp_path):
    world = World(tmp_path, seeds=(4,)).add("gene_mean", 0.1).add("nb", 0.0).add("zinb", 0.05)
    abstains(world.decide(["zinb", "nb"])[0], "only 1 of the 3 seeds needed")


def test_a_fit_that_did_not_converge_gets_no_verdict(world):
    world.add("nb", 0.0).add("zinb", 0.05, stop="max_epochs")
    abstains(world.decide(["zinb", "nb"])[0], "zinb seed 0, zinb seed 1, zinb seed 2")


def test_a_loss_that_differs_from_itself_gets_no_verdict(world, monkeypatch):
    world.add("nb", 0.0).add("zinb", 0.05)
    monkeypatch.setattr("countae.verdict.aa_error", lambda *_, **__: 0.3)
    abstains(world.decide(["zinb", "nb"])[0], "called different in 30% of cases")


def test_dispersion_that_nobody_can_know_gets_no_verdict_on_its_axis(world):
    world.dispersion_error = 2.0
    world.add("nb", 0.0).add("zinb", 0.05)
    axes = world.decide(["zinb", "nb"])[0]["axes"]
    assert axes["overall"]["outcome"] == "winner"
    assert axes["dispersion"]["outcome"] == "abstain"
    assert "can be identified for 0% of the genes" in axes["dispersion"]["reason"]


def test_axes_look_at_different_columns(world):
    """Poisson has the better mean (its |nb is lowest) and the worse spread."""
    world.add("nb", 0.0, columns={"nb": 0.0}).add("poisson", 0.02, columns={"nb": -0.04})
    axes = world.decide(["poisson", "nb"])[0]["axes"]
    assert axes["overall"]["winner"] == "nb"
    assert axes["mean"]["winner"] == "poisson"
    assert axes["dispersion"]["winner"] == "nb"
    assert axes["dispersion"]["null"] is None
    assert axes["zeros"]["unit"] == "probability²"


def test_intervals_are_labelled_with_their_own_level(world):
    world.add("nb", 0.0).add("zinb", 0.05)
    found = world.decide(["zinb", "nb"], {"level": 0.01})[0]
    assert "99 % interval" in found["axes"]["overall"]["reason"]
    assert "95 %" not in found["sentence"] + found["zero_inflation"]["reason"]


def test_genes_with_few_counts_are_not_testable(world):
    world.add("nb", 0.0).add("zinb", 0.05)
    nonzeros = np.array([3] * 10 + [100] * 20)
    found, genes = world.decide(["zinb", "nb"], nonzeros=nonzeros)
    assert (found["genes"]["nb"], found["genes"]["not_testable"]) == (20, 10)
    assert set(genes["class"][:10]) == {"not_testable"}
    found, _ = world.decide(["zinb", "nb"], nonzeros=np.zeros(GENES))
    assert found["genes"]["not_testable"] == GENES
    assert "no gene has enough counts" in found["sentence"]


def test_scores_of_different_cells_are_refused(world):
    world.add("nb", 0.0).add("zinb", 0.05)
    path = world.folder / "zinb" / "seed1" / "cells.parquet"
    cells = pd.read_parquet(path)
    cells["id"] = cells["id"].str.replace("id", "other")
    cells.to_parquet(path)
    with pytest.raises(ScoreError, match="scored on different cells"):
        world.decide(["zinb", "nb"])


def test_genes_have_the_test_of_extra_zeros_with_and_without_correction(world):
    """Oracle: with p = k/1000 and 29 testable genes, Benjamini and Hochberg give all 29/1000."""
    world.p_values = np.array([np.nan, *(np.arange(1, GENES) / 1000)])
    world.add("nb", 0.0).add("zinb", 0.0)
    genes = world.decide(["nb", "zinb"])[1]
    np.testing.assert_allclose(genes["zero_inflation_p"], world.p_values)
    assert np.isnan(genes["zero_inflation_fdr"][0])
    np.testing.assert_allclose(genes["zero_inflation_fdr"][1:], 0.029)


def test_without_a_zinb_network_no_gene_is_tested_for_zeros(world):
    world.add("nb", 0.0).add("poisson", 0.03)
    assert "zero_inflation_p" not in world.decide(["poisson", "nb"])[1]

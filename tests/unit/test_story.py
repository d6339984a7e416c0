"""The story on made-up scores: each step of complexity must be earned."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import CELLS, GENES, World
from scipy import stats

from countae.story import (
    absence_claimed,
    exceeds,
    questions,
    settled,
    significant,
    would_be_seen,
)

LOSSES = ["poisson", "zinb", "nb"]
NULL_NB = {
    "same_means_gap": 0.2, "network_gap": -0.003, "significant_share": 0.0, "normal_gap": 0.5,
}  # fmt: skip
NULL_POISSON = {"same_means_gap": 0.01}
NULL_NORMAL = {"normal_gap": 0.01}
SEEN = {"zero_p": 1e-4, "network_gap": 0.03, "significant_share": 0.4, "normal_gap": 0.2}


def around(rng, centre):
    """Eight replicates whose statistics spread by a thousandth."""
    return [
        {key: value + 1e-3 * rng.standard_normal() for key, value in centre.items()}
        for _ in range(8)
    ]


@pytest.fixture
def drawn():
    rng = np.random.default_rng(2)
    return {
        "poisson": around(rng, NULL_POISSON),
        "nb": around(rng, NULL_NB),
        "gaussian": around(rng, NULL_NORMAL),
        "zinb_logistic": [SEEN],
    }


@pytest.fixture
def world(tmp_path):
    """NB networks best; the columns of every network are |poisson +.2, |nb and |zinb alike."""
    return World(tmp_path).add("gene_mean", 0.1).add("poisson", 0.2)


def test_overdispersion_is_the_story_of_nb_counts(world, drawn):
    found = world.add("nb", 0.0).add("zinb", 0.0).decide(LOSSES, drawn=drawn)[0]
    assert found["story"] == found["story"] | {"family": "nb", "doubts": []}
    assert found["overdispersion"]["asserted"]
    boot = found["overdispersion"]["conditions"]["same_means_gap_exceeds_bootstrap"]
    assert boot["observed"] == pytest.approx(0.2, abs=0.01)
    assert boot["replicates"] == 8
    assert not found["zero_inflation"]["asserted"]
    assert found["zero_inflation"]["reason"].startswith("No excess of zeros over the negative")
    assert "the story is negative binomial; zero inflation is not asserted" in found["sentence"]


@pytest.mark.parametrize("leads", ["nb", "zinb"])
def test_a_large_gain_over_the_null_hides_no_spread_and_no_zeros(tmp_path, drawn, leads):
    """The null is 3 nats behind, so that .06 does not matter for a prediction; noise that leads by
    .05 with certainty is not told as absent for that.
    """
    world = World(tmp_path).add("gene_mean", 3.0)
    world.p_values = np.full(GENES, 1e-8)
    of_noise = {"poisson": 0.05} if leads == "nb" else {"zinb": -0.05}
    for loss, level in (("poisson", 0.3), ("nb", 0.05), ("zinb", 0.0)):
        world.add(loss, level, columns=of_noise)
    found = world.decide(LOSSES, drawn=drawn)[0]
    assert found["axes"]["overall"]["delta"] > 0.05
    step = found[{"nb": "overdispersion", "zinb": "zero_inflation"}[leads]]
    assert step["conditions"]["same_means"]["met"]
    assert not step["reason"].startswith("No ")
    assert found["story"]["family"] == leads


def test_a_lead_that_errors_of_means_explain_is_a_poisson_story(world, drawn):
    """NB noise leads by 0.2, but so it does on data drawn from the fitted Poisson."""
    drawn["poisson"] = [{"same_means_gap": 0.2 + 0.01 * k} for k in range(-4, 5)]
    found = world.add("nb", 0.0).add("zinb", 0.0).decide(LOSSES, drawn=drawn)[0]
    assert found["axes"]["overall"]["recommended"] == "nb"
    assert found["story"]["family"] == "poisson"
    assert "errors of the means explain it" in found["overdispersion"]["reason"]


def zero_inflated(world):
    """ZINB noise leads around the same means, the ZINB network too, and genes are significant."""
    world.p_values = np.where(np.arange(GENES) < 20, 1e-6, 0.7)
    levels = {"zinb": -0.05, "mse_counts": -0.01}
    return world.add("nb", 0.0, columns=levels).add("zinb", -0.04, columns=levels)


def test_zero_inflation_is_asserted_when_all_conditions_hold(world, drawn):
    found = zero_inflated(world).decide(LOSSES, drawn=drawn)[0]
    inflation = found["zero_inflation"]
    assert {name: c["met"] for name, c in inflation["conditions"].items()} == {
        "same_means": True, "significant_share_exceeds_bootstrap": True,
        "network_gap_exceeds_bootstrap": True, "normal_gap_exceeds_bootstrap": True,
        "no_normal_noise": True, "valid": True,
    }  # fmt: skip
    assert inflation["asserted"]
    assert found["story"]["family"] == "zinb"
    assert inflation["observed"]["n_significant"] == 20
    assert inflation["observed"]["significant_share"] == pytest.approx(20 / GENES)
    assert "zero inflation is asserted" in found["sentence"]
    assert inflation["reason"].startswith("Zeros beyond the NB's")


@pytest.mark.parametrize("statistic", ["significant_share", "network_gap"])
def test_one_failing_bootstrap_condition_is_enough(world, drawn, statistic):
    for record in drawn["nb"]:
        record[statistic] = 0.9
    found = zero_inflated(world).decide(LOSSES, drawn=drawn)[0]
    assert not found["zero_inflation"]["asserted"]
    assert found["story"]["family"] == "nb"
    assert "data without extra zeros do the same" in found["zero_inflation"]["reason"]
    assert found["story"]["doubts"] == ["zero_inflation"]  # nor would those with them be seen
    for record in drawn["nb"]:
        record[statistic] = 0.9 * SEEN[statistic]
    world.p_values = np.full(GENES, 0.7)
    told = world.add("zinb", 0.01, columns={"zinb": -0.05}).decide(LOSSES, drawn=drawn)[0]
    assert told["story"] == told["story"] | {"family": "nb", "doubts": []}


def test_absence_of_extra_zeros_is_claimed_only_where_they_would_be_seen(world, drawn):
    world.add("nb", 0.0).add("zinb", 0.0)
    for replicates, claim, said in (
        ([SEEN], "No excess of zeros", "would be seen, as they were in 1 of 1"),
        ([SEEN | {"zero_p": 0.4}], "Not shown", "would not be seen here (they were in 0 of 1"),
        ([SEEN | {"zero_p": 0.01}] * 2, "Not shown", "is open (they were in 2 of 2"),
        ([SEEN | {"zero_p": 0.01}] * 3, "No excess of zeros", "in 3 of 3"),
        ([SEEN | {"zero_p": 0.01}] * 2 + [SEEN | {"network_gap": -1}], "Not shown", "in 2 of 3"),
        ([], "Not shown", "was not tested"),
    ):
        drawn["zinb_logistic"] = replicates
        found = world.decide(LOSSES, drawn=drawn)[0]
        inflation = found["zero_inflation"]
        assert inflation["reason"].startswith(claim)
        assert said in inflation["reason"]
        assert found["story"]["family"] == "nb"
        assert (found["story"]["doubts"] == []) == (claim == "No excess of zeros")
        assert ("no more zeros" in found["story"]["reason"]) == (claim == "No excess of zeros")


def test_extra_zeros_are_put_in_only_where_their_absence_is_claimed(tmp_path, world, drawn):
    found = world.add("nb", 0.0).add("zinb", 0.0).decide(LOSSES)[0]
    assert absence_claimed(found, drawn, 0.05)
    as_poisson = drawn | {"poisson": [{"same_means_gap": 0.2 + 0.01 * k} for k in range(-4, 5)]}
    assert not absence_claimed(found, as_poisson, 0.05)
    found = zero_inflated(world).decide(LOSSES)[0]
    assert not absence_claimed(found, drawn, 0.05)  # they are asserted
    without = drawn | {"nb": [record | {"network_gap": 0.9} for record in drawn["nb"]]}
    assert absence_claimed(found, without, 0.05)
    levels = {"zinb": -0.05, "mse_counts": -0.2}
    world.add("nb", 0.0, columns=levels).add("zinb", -0.04, columns=levels)
    assert not absence_claimed(world.decide(LOSSES)[0], without, 0.05)  # they are normal
    world.add("nb", 0.0, columns={"mse_counts": -0.2})
    world.add("zinb", 0.0, columns={"mse_counts": -0.2})
    assert not absence_claimed(world.decide(LOSSES)[0], without, 0.05)
    wide = World(tmp_path / "wide", cell_noise=0.0).add("gene_mean", 0.3).add("poisson", 0.2)
    noise = 0.1 * np.random.default_rng(3).standard_normal((CELLS, 1))
    wide.add("nb", 0.0, columns={"zinb": -0.003 + noise}).add("zinb", 0.01)
    assert not absence_claimed(wide.decide(LOSSES)[0], drawn, 0.05)  # nobody can tell


def test_one_data_set_in_which_extra_zeros_are_not_seen_denies_the_power():
    assert would_be_seen({}, 0.05) == {"met": None, "seen": 0, "replicates": 0}
    unclear = SEEN | {"zero_p": 0.02}
    assert would_be_seen({"zinb_logistic": [unclear]}, 0.05)["met"] is None
    assert would_be_seen({"zinb_logistic": [unclear] * 3}, 0.05)["met"] is True
    assert would_be_seen({"zinb_logistic": [SEEN]}, 0.05)["met"] is True
    assert would_be_seen({"zinb_logistic": [SEEN, unclear | {"zero_p": 0.03}]}, 0.05) == {
        "met": False, "seen": 1, "replicates": 2,
    }  # fmt: skip
    without = [{"significant_share": 0.1, "network_gap": 0.04, "same_means_gap": 0.2}]
    assert would_be_seen({"zinb_logistic": [SEEN], "nb": without}, 0.05)["met"] is False


def test_a_lead_beyond_all_replicates_but_not_clearly_is_open(world, drawn):
    """Three wide-spread replicates below 0.2: neither shown nor refuted."""
    drawn["poisson"] = [{"same_means_gap": value} for value in (0.0, 0.19, 0.1)]
    found = world.add("nb", 0.0).add("zinb", 0.0).decide(LOSSES, drawn=drawn)[0]
    step = found["overdispersion"]
    assert step["conditions"]["same_means_gap_exceeds_bootstrap"]["met"] is None
    assert "not clearly beyond errors of the means" in step["reason"]
    assert found["story"]["family"] == "unsettled"
    drawn["poisson"] = around(np.random.default_rng(0), NULL_POISSON)
    drawn["nb"] = [NULL_NB | {"network_gap": value} for value in (0.0, 0.039, 0.02)]
    found = zero_inflated(world).decide(LOSSES, drawn=drawn)[0]
    assert "not clearly beyond what data without extra" in found["zero_inflation"]["reason"]
    assert found["story"] == found["story"] | {"family": "nb", "doubts": ["zero_inflation"]}


def test_too_few_replicates_are_told_as_such(world, drawn):
    drawn["poisson"] = drawn["poisson"][:2]
    found = world.add("nb", 0.0).add("zinb", 0.0).decide(LOSSES, drawn=drawn)[0]
    assert "2 drawn, at least 3 are needed" in found["overdispersion"]["reason"]


def test_nothing_is_asserted_before_the_bootstrap_was_run(world):
    found = zero_inflated(world).decide(LOSSES)[0]
    assert not found["zero_inflation"]["asserted"]
    assert not found["overdispersion"]["asserted"]
    assert found["story"]["family"] == "unsettled"
    assert found["story"]["doubts"] == ["overdispersion", "zero_inflation"]
    assert "(not run)" in found["zero_inflation"]["reason"]
    assert "the story is not settled; zero inflation is not asserted" in found["sentence"]
    assert questions(found) == {
        "poisson": {"same_means_gap": pytest.approx(0.2, abs=0.01)},
        "nb": {
            "significant_share": pytest.approx(20 / GENES),
            "network_gap": pytest.approx(0.04, abs=0.01),
        },
        "gaussian": {"normal_gap": pytest.approx(0.04, abs=0.01)},
    }


def test_a_better_zinb_network_alone_is_no_zero_inflation(world, drawn):
    world.add("nb", 0.0).add("zinb", -0.05)
    found = world.decide(LOSSES, drawn=drawn)[0]
    assert found["axes"]["overall"]["winner"] == "zinb"
    assert not found["zero_inflation"]["asserted"]
    assert "predicts better, but not because of excess zeros" in found["zero_inflation"]["reason"]
    assert "nb" not in questions(found)


def test_a_gap_that_nobody_can_tell_is_no_proof_of_absence(tmp_path, drawn):
    """The interval reaches far above what would matter: absence must not be claimed."""
    world = World(tmp_path, cell_noise=0.0).add("gene_mean", 0.3).add("poisson", 0.2)
    noise = 0.1 * np.random.default_rng(3).standard_normal((CELLS, 1))
    world.add("nb", 0.0, columns={"zinb": -0.003 + noise}).add("zinb", 0.01)
    found = world.decide(LOSSES, drawn=drawn)[0]
    assert found["zero_inflation"]["reason"].startswith("Not shown")
    assert found["story"]["doubts"] == ["zero_inflation"]


def test_normal_noise_that_fits_best_is_the_story(world, drawn):
    """Counts cut from a normal have more zeros than an NB makes, and no extra zeros."""
    levels = {"zinb": -0.05, "mse_counts": -0.2}
    world.p_values = np.full(GENES, 1e-6)
    world.add("nb", 0.0, columns=levels).add("zinb", -0.04, columns=levels)
    found = world.decide(LOSSES, drawn=drawn)[0]
    assert found["story"] == found["story"] | {"family": "mse_counts", "doubts": []}
    assert not found["zero_inflation"]["asserted"]
    assert "normal noise fits better than either" in found["zero_inflation"]["reason"]
    assert "MSE counts, was not compared" in found["story"]["reason"]
    assert "nb" not in questions(found)


def test_zeros_that_cut_normals_make_are_a_normal_story(world, drawn):
    """ZINB noise leads, but on data drawn from the fitted normal it leads as much."""
    drawn["gaussian"] = [{"normal_gap": 0.04 + 0.01 * k} for k in range(-3, 6)]
    found = zero_inflated(world).decide(LOSSES, drawn=drawn)[0]
    assert found["story"] == found["story"] | {"family": "mse_counts", "doubts": []}
    assert not found["zero_inflation"]["asserted"]
    assert "normal noise cut at zero does the same" in found["zero_inflation"]["reason"]


def test_normals_that_fit_worse_than_an_nb_leave_extra_zeros_open(world, drawn):
    """Data drawn from a normal lead as much, but the counts are no normals: nothing is settled."""
    world.p_values = np.where(np.arange(GENES) < 20, 1e-6, 0.7)
    levels = {"zinb": -0.05, "mse_counts": 0.25}
    world.add("nb", 0.0, columns=levels).add("zinb", -0.04, columns=levels)
    drawn["gaussian"] = [{"normal_gap": 0.3 + 0.1 * k} for k in range(-1, 3)]
    found = world.decide(LOSSES, drawn=drawn)[0]
    assert found["story"] == found["story"] | {"family": "nb", "doubts": ["zero_inflation"]}
    assert not found["zero_inflation"]["asserted"]


def test_normal_noise_that_is_not_shown_to_be_worse_stays_open(world, drawn):
    world.add("nb", 0.0, columns={"mse_counts": 0.001}).add("zinb", 0.01)
    found = world.decide(LOSSES, drawn=drawn)[0]
    assert found["story"] == found["story"] | {"family": "nb", "doubts": ["normal_noise"]}
    assert "normal noise of one spread per gene would do as well" in found["story"]["reason"]


def test_zero_inflation_needs_normal_noise_to_be_shown_worse(world, drawn):
    """All else holds, but normal noise scores like ZINB noise: nothing is asserted."""
    world.p_values = np.where(np.arange(GENES) < 20, 1e-6, 0.7)
    levels = {"zinb": -0.05, "mse_counts": -0.0495}
    world.add("nb", 0.0, columns=levels).add("zinb", -0.04, columns=levels)
    drawn["gaussian"] = [{"normal_gap": -0.02 - 0.001 * k} for k in range(5)]
    found = world.decide(LOSSES, drawn=drawn)[0]
    assert not found["zero_inflation"]["asserted"]
    assert "normal noise is not shown to fit worse" in found["zero_inflation"]["reason"]
    story = {"family": "nb", "doubts": ["zero_inflation", "normal_noise"]}
    assert found["story"] == found["story"] | story
    assert "nb" in questions(found)  # the counts may turn out to be normal


def test_networks_that_cannot_be_compared_tell_no_story(tmp_path, drawn):
    """Two seeds: everything else holds, and still nothing is asserted or drawn."""
    world = World(tmp_path, seeds=(0, 1)).add("gene_mean", 0.1).add("poisson", 0.2)
    found = zero_inflated(world).decide(LOSSES, drawn=drawn)[0]
    assert found["story"]["family"] == "unsettled"
    assert "only 2 of the 3 seeds" in found["story"]["reason"]
    assert not found["overdispersion"]["asserted"]
    assert not found["zero_inflation"]["asserted"]
    assert questions(found) == {}


def test_other_protocols_tell_no_story(world, drawn):
    found = zero_inflated(world).decide(LOSSES, drawn=drawn, masked=False)[0]
    assert "story" not in found["sentence"].split("; ", 1)[1]
    assert not found["zero_inflation"]["asserted"]


def test_a_failed_condition_counts_more_than_one_that_was_not_run(world, drawn):
    drawn["nb"] = [{"significant_share": 0.9, "network_gap": -0.003}]
    del drawn["gaussian"]
    found = zero_inflated(world).decide(LOSSES, drawn=drawn)[0]
    assert "not run" not in found["zero_inflation"]["reason"]
    assert "data without extra zeros do the same" in found["zero_inflation"]["reason"]


def test_without_both_networks_zero_inflation_is_not_tested(world, drawn):
    world.add("nb", 0.0, columns={"zinb": -0.05})
    found = world.decide(["poisson", "nb"], drawn=drawn)[0]
    gap = found["zero_inflation"]["conditions"]["network_gap_exceeds_bootstrap"]
    assert gap == {"met": None, "reason": "needs networks of ZINB and NB, and normal noise"}
    assert not found["zero_inflation"]["asserted"]
    assert set(questions(found)) == {"poisson"}


def test_the_prediction_limit_is_students():
    """Oracle: the size of the test on normal statistics, 5 % within three standard errors; the
    demand to exceed every replicate makes it smaller when they are many.
    """
    rng, runs = np.random.default_rng(5), 4_000
    values = rng.standard_normal((runs, 6))
    p = [exceeds("network_gap", x[0], list(x[1:]), 0.05)["p"] for x in values]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=3 * 0.0035)
    drawn = values[0, 1:]
    statistic = (values[0, 0] - drawn.mean()) / (drawn.std(ddof=1) * np.sqrt(1 + 1 / 5))
    assert p[0] == pytest.approx(stats.t.sf(statistic, 4))
    met = [exceeds("network_gap", x[0], list(x[1:]), 0.05)["met"] for x in values]
    assert all(x[0] > x[1:].max() for x, yes in zip(values, met, strict=True) if yes)


def test_stopping_early_keeps_the_size():
    """Recovery: drawing until settled, 19 at most, errs in 5 % of normal statistics (± 3 SE)."""
    rng, runs, wrong = np.random.default_rng(6), 3_000, 0
    for values in rng.standard_normal((runs, 20)):
        asked, drawn = {"network_gap": values[0]}, []
        for value in values[1:]:
            drawn.append({"network_gap": value})
            if settled(asked, drawn, 0.05):
                break
        answer = exceeds("network_gap", values[0], [d["network_gap"] for d in drawn], 0.05)
        wrong += bool(answer["met"])
    assert wrong / runs == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / runs))


def test_a_statistic_without_spread_needs_a_visible_lead():
    """Shares of zero in every replicate: one gene in a thousand more is no evidence."""
    assert exceeds("significant_share", 0.5, [0.0] * 5, 0.05)["met"]
    assert not exceeds("significant_share", 0.001, [0.0] * 5, 0.05)["met"]


def test_drawing_stops_when_the_answer_is_clear():
    asked = {"network_gap": 0.01}
    null = [{"network_gap": value} for value in (0.0, 0.001, -0.001, 0.0005)]
    assert not settled(asked, null[:3], 0.05)  # p = 0.007: clear enough only with the fourth
    assert settled(asked, null, 0.05)
    assert not settled({"network_gap": 1.0}, null[:2], 0.05)
    assert settled({"network_gap": 0.1}, null[:3], 0.05)
    assert settled({"network_gap": 0.0008}, null[:2], 0.05)  # one replicate exceeds it: never met
    assert not settled({"network_gap": 0.002}, null, 0.05)


def test_genes_without_a_test_do_not_count():
    """NaN is "not testable"; the correction is over the tested genes only."""
    p = np.array([np.nan, 0.01, 0.04, np.nan, 0.9])
    assert significant(p, 0.05) == 1
    assert significant(np.full(4, np.nan), 0.05) == 0

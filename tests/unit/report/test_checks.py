"""The story, its steps, other protocols, the referee, ranks, and the two exams."""

from __future__ import annotations

import json

import altair as alt
import numpy as np
import pytest

from countae.errors import ScoreError
from countae.report import checks, commands, fit_figures, methods, steps, story, tables
from countae.report.load import load
from countae.report.ranking import ranking, read_ranking


def texts(table):
    """Rows of a table by their first cell, as text."""
    return {cells[0].text: [cell.text for cell in cells[1:]] for cells, _ in table.rows}


@pytest.fixture(scope="module")
def data(toy):
    return load(toy)


def test_the_story_stands_beside_the_prediction(data):
    told = steps.told(data)
    assert told.family == "Negative binomial"
    assert told.reason == "Told so."
    assert told.doubts == "whether there are extra zeros"
    assert told.agrees == "Here both answers name the same distribution."


def test_a_story_that_differs_from_the_prediction_says_so(results):
    results.family, results.doubts = "poisson", []
    told = steps.told(load(results.write()))
    assert told.doubts == ""
    assert (
        "NB is recommended to train with, while the counts themselves look Poisson" in told.agrees
    )


def test_without_a_verdict_nothing_is_compared_with_the_story(results):
    results.outcome = "abstain"
    assert steps.told(load(results.write())).agrees == ""


def test_noise_around_the_best_means_is_ordered_and_the_story_bold(data):
    table = steps.noise_scores(data)
    assert [cells[0].text for cells, _ in table.rows] == ["NB", "ZINB", "Poisson", "Normal"]
    assert texts(table)["ZINB"] == ["0.8704", "+0.0004"]
    assert [cells[1].mark for cells, _ in table.rows] == ["won", "", "", ""]


def test_conditions_of_both_steps_have_states_and_numbers(data):
    first, second = steps.steps(data)
    assert (first.said, second.said) == (
        "Overdispersion is asserted.", "Zero inflation is not asserted.",
    )  # fmt: skip
    assert [c.state for c in first.conditions] == ["met", "met"]
    assert [c.state for c in second.conditions] == [
        "not met", "not met", "not run", "met", "met", "met", "not met",
    ]  # fmt: skip
    assert "NB noise predicts held-out counts better than Poisson" in first.conditions[0].what
    assert "ZINB noise predicts held-out counts better than NB" in second.conditions[0].what
    assert "95 % interval +0.0101 to +0.0145; at least 0.0020 is needed" in (
        first.conditions[0].detail
    )
    assert first.conditions[1].detail == (
        "observed: +0.0123 nats/entry; largest in 5 simulated Poisson data sets: +0.0040 "
        "nats/entry (mean +0.0020); Student's t prediction: p = 0.0012"
    )
    share, gap, leads_normal, normal, valid, power = second.conditions[1:]
    assert power.detail == "seen in 1 of 2 simulated data sets with extra zeros"
    assert "simulated normal data sets: +0.0100 nats/entry" in leads_normal.detail
    assert valid.what == "The networks can be compared at all"
    assert "5 % of the testable genes; largest in 5 simulated NB" in share.detail
    assert "6 % of the testable genes (mean 3 %)" in share.detail
    assert gap.detail == "observed: −0.0100 nats/entry; no NB data were simulated"
    assert normal.detail == ""


def test_power_is_shown_only_where_it_was_looked_at(results):
    found = results.verdict()
    found["zero_inflation"]["power"] = {"met": None, "seen": 0, "replicates": 0}
    folder = results.write()
    results._json("verdict.json", found)
    assert (
        steps.steps(load(folder))[1].conditions[-1].what == "The networks can be compared at all"
    )


def test_a_condition_that_lacks_a_network_says_which(results):
    found = results.verdict()
    conditions = found["zero_inflation"]["conditions"]
    conditions["network_gap_exceeds_bootstrap"] = {"met": None, "reason": "needs both"}
    folder = results.write()
    results._json("verdict.json", found)
    assert steps.steps(load(folder))[1].conditions[2].detail == "needs both"


def test_protocols_by_loss_with_survival_and_reason(data):
    table = checks.protocols(data)
    assert [column.label for column in table.columns] == [
        "Way of hiding", "MSE log1p", "NB", "ZINB", "Survives?", "Why",
    ]  # fmt: skip
    found = texts(table)
    assert found["Masked entries"] == ["0.9500", "0.8700", "0.8800", "the verdict", ""]
    assert found["Binomial thinning"][3:] == ["no", "Under thinning ZINB is better than NB."]
    assert found["NB count splitting"][3] == "cannot tell"
    best = {cells[0].text: cells[2].note for cells, _ in table.rows}
    assert best["Masked entries"] == "best"


def test_a_protocol_that_is_survived(results):
    results.protocols = {"thinning": results.other_protocol(True, "No loss is better.")}
    assert texts(checks.protocols(load(results.write())))["Binomial thinning"][3] == "yes"


def test_no_other_protocol_no_table(results):
    assert checks.protocols(load(results.write())) is None


def test_referee_tells_true_family_and_story(data):
    found = checks.referee(data)
    assert found.sentence == "At your depth this can be told apart."
    assert [column.label for column in found.table.columns] == [
        "Counts drawn from", "Poisson", "NB", "ZINB", "Normal", "Unsettled", "Told rightly",
        "Recommended loss",
    ]  # fmt: skip
    rows = texts(found.table)
    assert rows["NB"] == ["1", "2", "0", "0", "0", "2 of 3", "NB 3×"]
    assert rows["NB with outliers"] == ["0", "1", "0", "0", "0", "–", "ZINB 1×"]


def test_no_referee_no_section(results):
    assert checks.referee(load(results.write())) is None


def test_zero_tests_are_counted_beside_simulated_data(data):
    rows = texts(checks.zero_tests(data))
    assert rows["Testable genes"] == ["30"]
    assert rows["Significant at a false discovery rate of 5 %"] == ["1.5"]
    assert rows["Share of the testable genes"] == ["5 %"]
    assert rows["Largest share in simulated data without extra zeros"] == ["6 %"]


def test_zero_tests_need_networks_of_nb_and_zinb(results):
    results.zero_tests = False
    data = load(results.write())
    assert checks.zero_tests(data) is None
    assert fit_figures.zero_tests(data) is None


def test_histogram_of_zero_tests_holds_every_testable_gene(data):
    made = fit_figures.zero_tests(data)
    alt.Chart.from_dict(made.spec, validate=True)
    bars = made.spec["layer"][0] if "layer" in made.spec else made.spec
    rows = bars["data"]["values"]
    assert sum(row["genes"] for row in rows) == 30
    assert (rows[0]["from"], rows[-1]["to"]) == (0, 1)


def test_spread_is_shown_beside_what_is_right(data):
    metrics = ["pearson_variance", "coverage_90", "pit_total_variation"]
    table = checks.spread(data, metrics, "Spread")
    rows = texts(table)
    assert rows["What is right"] == ["1", "0.90", "0", "–"]
    assert rows["NB"][-1] == "75 %"
    assert rows["NB"][1] == "0.9010"
    assert {len(cells) for cells, _ in table.rows} == {len(table.columns)}


def test_spread_without_dispersion_errors_has_no_column_for_them(results):
    results.metrics = ["pearson_variance"]
    table = checks.spread(load(results.write()), ["pearson_variance", "coverage_90"], "Spread")
    assert [column.label for column in table.columns] == ["Loss", "Pearson variance"]


def test_zeros_have_references_around_the_best_means(data):
    spec = fit_figures.zeros_against_mean(data).spec
    lines = spec["layer"][1]
    names = {row["loss"] for row in lines["data"]["values"]}
    assert {"Poisson around NB means", "NB around NB means"} <= names
    assert lines["encoding"]["color"]["scale"]["domain"][-2:] == [
        "Poisson around NB means", "NB around NB means",
    ]  # fmt: skip


def test_normal_noise_has_a_name_of_its_own(data):
    labels = [column.label for column in tables.factorial(data).columns]
    assert "Normal noise" in labels
    assert "Own noise" in labels


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("cell", "Errors are by cell: every cell counts as one"),
        ("cell (all test cells are of one donor)", "nothing is known of other donors"),
        ("donor (7)", "Errors are by donor (7): cells of one donor are alike"),
    ],
)
def test_limits_say_what_errors_are_by(results, by, words):
    results.errors_by = by
    data = load(results.write())
    assert any(words in line for line in story.limits(data))
    assert methods.by_donor(data) == (by == "donor (7)")


def test_methods_cite_what_was_used(results):
    results.errors_by = "donor (7)"
    results.protocols = {
        name: results.other_protocol(True, "Nothing is better.")
        for name in ("thinning", "nb_splitting")
    }
    data = load(results.write())
    text = " ".join(paragraph for _, paragraph in methods.paragraphs(data))
    drawn = (
        "5 were drawn from the Poisson fit, 5 were drawn from the NB fit and 2 from the NB fit "
        "with extra zeros"
    )
    means = "errors of the means look like noise"
    for words in (means, drawn, "beta-binomial", "variance over donors"):
        assert words in text
    found = {identifier for _, identifier, _ in methods.references(data)}
    assert {
        "doi:10.1080/01621459.1987.10478472", "doi:10.48550/arXiv.2307.12985",
        "doi:10.1101/786269", "doi:10.1093/biomet/73.1.13",
    } <= found  # fmt: skip


def test_methods_do_not_cite_what_was_not_used(results):
    found = {identifier for _, identifier, _ in methods.references(load(results.write()))}
    assert "doi:10.1093/biomet/73.1.13" not in found
    assert "doi:10.1101/786269" not in found


def test_commands_hide_molecules_for_each_protocol(data):
    text = commands.commands(data)
    assert "countae hide results/toy/counts.h5ad results/toy/thinning/counts.h5ad" in text
    assert "--protocol nb_splitting --model results/toy/nb/seed0/model.safetensors" in text
    assert "--protocols thinning,nb_splitting --drawn results/toy/bootstrap.json" in text
    for protocol in ("thinning", "nb_splitting"):
        assert f"results/toy/{protocol}/gene_mean/seed0/entries.npz --baseline gene_mean" in text
        assert f"results/toy/{protocol}/oracle" not in text
    assert "results/toy/oracle/seed0/entries.npz --baseline oracle" in text


def test_ranks_are_ordered_by_their_mean(ranks):
    made = ranking(ranks)
    assert [column.label for column in made.table.columns] == [
        "Data set", "ZINB", "NB", "MSE log1p",
    ]  # fmt: skip
    assert texts(made.table) == {
        "toy": ["2", "1", "3"], "other": ["1", "2", "–"], "Mean rank": ["1.40", "1.50", "3.00"],
    }  # fmt: skip
    assert made.words == "Below six data sets no test."
    assert made.drawing is None
    assert ranking(None) is None


def test_critical_difference_is_drawn_and_told(ranks):
    ranks |= {"critical_difference": 1.35, "friedman": {"statistic": 9.1, "p": 0.0111}}
    made = ranking(ranks)
    assert "Friedman's test that all losses rank alike: χ² = 9.10, p = 0.011." in made.words
    assert "more than 1.35 apart" in made.words
    alt.Chart.from_dict(made.drawing.spec, validate=True)
    band, lines, _ = (layer["data"]["values"] for layer in made.drawing.spec["layer"])
    np.testing.assert_allclose([band[0]["low"], band[0]["high"]], [1.4, 2.75])
    assert [row["loss"] for row in lines] == ["ZINB", "NB", "MSE log1p"]


def test_ranks_are_read_beside_several_folders_only(ranks, tmp_path):
    folders = [tmp_path / "toy", tmp_path / "other"]
    assert read_ranking(folders) is None
    (tmp_path / "ranking.json").write_text(json.dumps(ranks))
    assert read_ranking(folders) == ranks
    assert read_ranking(folders[:1]) is None


def test_a_verdict_of_an_older_version_is_refused(results):
    found = results.verdict()
    del found["story"]
    folder = results.write()
    results._json("verdict.json", found)
    with pytest.raises(ScoreError, match=r"verdict\.json.*lacks story.*countae verdict"):
        load(folder)

"""The section of the stress tests: curves with intervals, the table, and its absence."""

from __future__ import annotations

import altair as alt
import pytest

from countae.errors import ScoreError
from countae.report import page as page_module
from countae.report import stress, write_report
from countae.report.load import load


def told(data):
    return stress.told(data, stress.curves(data))


@pytest.fixture
def stressed(results):
    results.stress = results.stressed()
    return results


def test_a_curve_has_a_point_with_its_interval_per_loss_and_level(stressed):
    """Only the own distribution; the clean level comes first, the hardest last."""
    (test,) = told(load(stressed.write()))
    change, lead = (drawing.spec for drawing in test["drawings"].figures)
    points = change["layer"][1]["data"]["values"]
    assert len(points) == 3 * 3
    nb = [point for point in points if point["loss"] == "NB"]
    assert [point["level"] for point in nb] == ["1 (clean)", "0.5", "0.1"]
    assert nb[2] == {"loss": "NB", "level": "0.1", "value": 1.9, "low": 1.89, "high": 1.92}
    assert change["layer"][1]["encoding"]["x"]["sort"] == ["1 (clean)", "0.5", "0.1"]
    assert lead["layer"][1]["data"]["values"][0]["value"] == 0.5
    for spec in (change, lead):
        alt.Chart.from_dict(spec, validate=True)
        encoded = [layer["encoding"] for layer in spec["layer"]]
        assert [e["y"]["field"] for e in encoded] == ["zero", "value", "low", "value"]
        assert encoded[2]["y2"]["field"] == "high"


def test_the_table_has_change_and_lead_of_both_noises(stressed):
    (test,) = told(load(stressed.write()))
    table = test["table"]
    assert [column.label for column in table.columns] == [
        "Loss", "Noise", "Clean", "Change at 0.5", "Lead at 0.5", "Change at 0.1", "Lead at 0.1",
        "Above the truth", "Latent v. depth", "Residuals v. depth",
    ]  # fmt: skip
    assert len(table.rows) == 6
    cells = table.rows[2][0]
    assert [cell.text for cell in cells[:5]] == ["NB", "own", "0.8700", "+1.5000", "−0.5000"]
    assert cells[3].note == "(+1.4900 to +1.5200)"
    assert [cell.text for cell in cells[7:]] == ["+0.0700", "0.1250", "–"]


def test_without_a_truth_the_table_says_nothing_of_it(stressed):
    for row in stressed.stress["tests"]["depth"]["rows"]:
        row["above_oracle"] = None
    (test,) = told(load(stressed.write()))
    assert "Above the truth" not in [column.label for column in test["table"].columns]
    assert "truth" not in test["hint"]


def test_a_loss_that_is_no_longer_compared_is_not_shown(stressed):
    for row in stressed.stress["tests"]["depth"]["rows"]:
        row["likelihood"] = row["likelihood"].replace("zinb", "zip")
    (test,) = told(load(stressed.write()))
    assert len(test["table"].rows) == 4
    points = test["drawings"].figures[0].spec["layer"][1]["data"]["values"]
    assert {point["loss"] for point in points} == {"NB", "MSE log1p"}


def test_a_loss_whose_fits_diverged_has_no_result_there(stressed):
    """A dash would be said of what was never asked."""
    test = stressed.stress["tests"]["depth"]
    test["rows"] = [r for r in test["rows"] if r["likelihood"] != "nb" or r["level"] != 0.1]
    stressed.stress["left_out"] = [reason("depth", level=0.1, likelihood="nb", seed=3)]
    (test,) = told(load(stressed.write()))
    cells = {cells[0].text: cells for cells, _ in test["table"].rows}
    assert [cell.text for cell in cells["NB"][2:9]] == [
        "0.8700", "+1.5000", "−0.5000", "no result", "no result", "–", "–"
    ]  # fmt: skip
    assert cells["ZINB"][5].text == "+2.9000"


def reason(test, **given):
    known = {"level": None, "group": "", "likelihood": None, "seed": None}
    return known | {"test": test, "reason": "cannot be had. Fix: name `batch_key`."} | given


def test_what_was_left_out_stands_there_with_its_reason(stressed, text):
    stressed.stress["left_out"] = [
        reason("donor_shift"), reason("batch_shift", level=1.0, group="<b>" + "x" * 300),
        reason("outliers", level=0.01, likelihood="mse_log1p", seed=2),
    ]  # fmt: skip
    page = text(stressed)
    assert "<strong>Donor shift:</strong> cannot be had. Fix: name <code>batch_key</code>" in page
    assert "<strong>Batch shift at 1, &#39;&lt;b&gt;xxx" in page
    assert "x" * 61 not in page
    assert "<strong>Outliers at 0.01, MSE log1p with seed 2:</strong>" in page


def test_a_data_set_that_can_have_no_test_says_why(results, text):
    """It is not told to add what it has asked for."""
    results.stress = results.stressed() | {"tests": {}, "left_out": [reason("donor_shift")]}
    page = text(results)
    assert "<strong>Donor shift:</strong>" in page
    assert "stress: {tests: [depth, outliers]}" not in page


def test_each_left_out_group_has_a_line_of_its_own(stressed, text):
    test = stressed.stress["tests"]["depth"]
    longest = "<b>" + "T" * 300
    test["by_group"] = {"B cell": test["rows"], longest: test["rows"][:6]}
    test["over"] = "cells of these 2 groups, and seeds, not over groups"
    (one,) = told(load(stressed.write()))
    rows = [[cell.text for cell in cells] for cells, _ in one["groups"].rows]
    assert len(rows) == (3 + 1) * 2
    assert rows[2] == ["B cell", "NB", "0.5", "140", "0.8700", "+1.5000", "−0.5000"]
    assert one["groups"].rows[2][0][6].note == "(−0.5100 to −0.4800)"
    page = text(stressed)
    assert "interval over cells of these 2 groups, and seeds, not over groups" in page
    assert "&lt;b&gt;TTT" in page
    assert "T" * 61 not in page


@pytest.mark.parametrize("key", ["by_group", "over"])
def test_a_test_of_another_version_is_refused(stressed, key):
    del stressed.stress["tests"]["depth"][key]
    with pytest.raises(ScoreError, match=r"stress.json must have.*countae stress-table"):
        told(load(stressed.write()))


def test_a_file_of_another_version_is_refused(stressed):
    del stressed.stress["confidence"]
    with pytest.raises(ScoreError, match=r"stress.json must have.*countae stress-table"):
        told(load(stressed.write()))


@pytest.fixture
def text(tmp_path, monkeypatch):
    """The page of some results."""
    monkeypatch.setattr(page_module, "bundle", lambda: "")

    def render(results):
        write_report([results.write()], tmp_path / "report.html", title="?")
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return render


def test_the_page_tells_each_test_with_its_sentence(stressed, text):
    page = text(stressed)
    assert "<h4>Depth</h4>" in page
    assert "<strong>At 0.1 nothing is told apart.</strong>" in page
    assert "Bars: 95 % interval over cells and seeds." in page
    assert "Networks are those trained on clean counts." in page


def test_words_of_a_plugin_are_shown_as_text(stressed, text):
    test = stressed.stress["tests"].pop("depth")
    hostile = dict.fromkeys(("meaning", "level", "sentence"), "<img src=x>")
    stressed.stress["tests"]["<b>"] = test | hostile
    page = text(stressed)
    assert "<img src=x>" not in page
    assert "<b>" not in page


def test_the_page_says_how_to_ask_for_stress_tests(results, text):
    assert "stress: {tests: [depth, outliers]}" in text(results)


def test_later_use_stands_beside_the_controls(results, text):
    results.downstream = results.later()
    page = text(results)
    assert "<strong>Overlap of neighbours:</strong> NB is highest; the losses tie." in page
    table = stress.later(load(results.write()))["table"]
    rows = {cells[0].text: (cells[1].text, cells[1].note) for cells, _ in table.rows}
    assert rows == {
        "MSE log1p": ("0.7000", "(0.6500 to 0.7500)"), "NB": ("0.7000", "(0.6500 to 0.7500)"),
        "ZINB": ("0.7000", "(0.6500 to 0.7500)"), "no denoising": ("0.5000", ""),
        "log1p + PCA": ("0.6000", ""),
    }  # fmt: skip


def test_proteins_are_a_column_where_they_were_counted(results, text):
    results.downstream = results.later()
    assert "Spearman" not in text(results)
    results.downstream["measures"]["rna_protein"] = {
        "losses": {}, "controls": {"no denoising": 0.31}, "sentence": "Not known for these cells.",
    }  # fmt: skip
    page = text(results)
    assert "<strong>RNA and protein:</strong> Not known" in page
    assert "Spearman’s correlation" in page
    table = stress.later(load(results.write()))["table"]
    assert [column.label for column in table.columns][-1] == "RNA and protein"
    assert table.rows[-2][0][-1].text == "0.3100"


def test_what_is_not_known_of_later_use_is_a_dash(results):
    results.downstream = results.later()
    none = {"losses": {}, "controls": {}, "sentence": "Not known for these cells."}
    results.downstream["measures"]["silhouette"] = none
    table = stress.later(load(results.write()))["table"]
    assert [cells[3].text for cells, _ in table.rows] == ["–"] * 5


def test_later_use_of_another_version_is_refused(results):
    results.downstream = results.later()
    del results.downstream["measures"]["nmi"]
    with pytest.raises(ScoreError, match="countae downstream"):
        stress.later(load(results.write()))

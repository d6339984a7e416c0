"""The page as a whole: what it says, that it is safe and whole, and what it refuses."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from countae.errors import ScoreError
from countae.report import embed, write_report
from countae.report import page as page_module
from countae.report.load import load

HOSTILE = "<script>alert(1)</script>\"'"
PARTS = [
    "verdict", "leaderboard", "means", "zeros", "spread", "training", "latent", "stress",
    "downstream", "genes", "cost", "methods", "data",
]  # fmt: skip
TITLE = "Which loss?"


class Page(HTMLParser):
    """Text, elements and embedded JSON of a page, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.tags, self.ids, self.text = html, [], set(), ""
        self._script, self.json = None, {}
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        self.ids.add(found.get("id"))
        self._script = (tag, found)

    def handle_endtag(self, tag):
        self._script = None

    def handle_data(self, data):
        tag, found = self._script or ("", {})
        if tag == "script" and found.get("type") == "application/json":
            # the browser's JSON has no NaN, Python's would take it
            self.json[found["id"]] = json.loads(data, parse_constant=pytest.fail)
        elif tag not in ("script", "style"):
            self.text += data

    def values(self, tag, attribute):
        return [
            found[attribute] for name, found in self.tags if name == tag and attribute in found
        ]


def unpacked(text: str):
    """What the browser makes of a compressed part."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


@pytest.fixture
def rendered(results, tmp_path, monkeypatch):
    """Function that writes results and returns their page; the plotting library is left out."""
    monkeypatch.setattr(page_module, "bundle", lambda: "")

    def render(*more, title=TITLE, **given):
        folders = [each.write() for each in (results, *more)]
        output = tmp_path / "out" / "report.html"
        write_report(folders, output, title=title, **given)
        return Page(output.read_text(encoding="utf-8"))

    return render


@pytest.fixture(scope="module")
def page(toy):
    """The page of results that no test changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "bundle", lambda: "")
        write_report([toy], toy / "report.html", title=TITLE)
    return Page((toy / "report.html").read_text(encoding="utf-8"))


def test_peers_that_were_asked_for_and_left_out_are_named(rendered, results):
    """Not those whose results an earlier run left, nor anything where none was asked for."""
    assert "not compared, since" not in rendered().text
    found = rendered(absent_peers=["scvi_zinb", "<b>"]).text
    assert "since scvi-tools was not installed where this ran: SCVI zinb, <B>." in found
    peer = results.path / "scvi_zinb" / "seed0" / "peer.json"
    peer.parent.mkdir(parents=True)
    peer.write_text("{}")
    found = rendered(absent_peers=["scvi_zinb", "scvi_nb"]).text
    assert "where this ran: SCVI NB." in found


def test_all_sections_are_there_and_linked(page):
    assert {f"d1-{part}" for part in PARTS} | {"glossary", "main"} <= page.ids
    links = [href[1:] for href in page.values("a", "href") if href.startswith("#")]
    assert set(links) <= page.ids
    for words in ("toy: the verdict is tie.", "Recommended loss: Negative binomial (NB)",
                  "not met", "not run", "When not to believe it", "140 test cells",
                  "The story: Negative binomial, as far as can be told", "Told so.",
                  "Open: whether there are extra zeros", "look like noise", "cannot tell",
                  "At your depth this can be told apart.", "30 testable genes"):  # fmt: skip
        assert words in page.text


def test_every_figure_has_a_place_a_name_and_a_specification(page):
    places = {found["id"]: found for _, found in page.tags if found.get("class") == "plot"}
    of_genes = {f"{key}-gene-plot" for key in page.json["panels"]}  # filled when a gene is chosen
    assert set(places) == set(page.json["figures"]) | of_genes
    assert all(found["role"] == "group" and found["aria-label"] for found in places.values())


def test_names_from_data_are_shown_as_text(results, rendered, monkeypatch):
    results.dataset, results.genes[0], results.labels = HOSTILE, HOSTILE, [HOSTILE, "T"]
    results.notes = [HOSTILE]
    hostile = dict.fromkeys(("what", "consequence", "fix"), HOSTILE)
    names = {"total": 20_001, "names": [HOSTILE] * 101}
    results.findings = [results.findings[0] | hostile | {"cells": names, "genes": names}]
    results.protocols = {HOSTILE: results.other_protocol(True, HOSTILE)}
    results.referee = results.confusion() | {"sentence": HOSTILE}
    results.referee["rows"]["nb"]["recommended"] = {HOSTILE: 1}
    table = results.gene_table()
    table["class"], table[HOSTILE] = HOSTILE, 1.0
    monkeypatch.setattr(results, "gene_table", lambda: table)
    page = rendered(title=HOSTILE)
    # three of JSON, two of code: nothing that data brought in
    assert [tag for tag, _ in page.tags].count("script") == 5
    assert "alert" not in "".join(str(found) for tag, found in page.tags if tag == "script")
    assert page.text.count(HOSTILE) >= 9
    assert not any(name.startswith("on") for _, found in page.tags for name in found)
    assert HOSTILE in page.values("option", "value")
    assert HOSTILE in page.json["genes"]["d1"]["columns"]["gene"]
    assert HOSTILE in json.dumps(page.json["figures"], ensure_ascii=False).replace('\\"', '"')
    scripts = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page.html, re.S)
    assert len(scripts) == 3
    assert not any(character in script for script in scripts for character in "<>&\u2028")


def test_nothing_is_fetched_and_no_path_of_this_machine_is_told(page, toy):
    assert (
        not page.values("script", "src") + page.values("img", "src") + page.values("link", "href")
    )
    away = [href for href in page.values("a", "href") if not href.startswith("#")]
    assert away
    assert all(href.startswith("https://doi.org/10.") for href in away)
    assert str(toy.parent) not in page.html
    assert "secret" not in page.html
    assert "toy.h5ad" in page.text
    policy = page.values("meta", "content")
    assert any("default-src 'none'" in content for content in policy)


@pytest.mark.parametrize(
    ("outcome", "word"),
    [("winner", "Winner"), ("tie", "Tie"), ("undecided", "Undecided"), ("abstain", "No verdict")],
)
def test_outcomes(results, rendered, outcome, word):
    results.outcome, results.metrics = outcome, ["log_score"]
    page = rendered()
    assert f"toy: the verdict is {outcome}." in page.text
    assert word in page.text
    assert f"Because of {outcome}." in page.text
    recommended = "Recommended loss: Negative binomial (NB)" in page.text
    assert recommended == (outcome != "abstain")
    assert ("none, because there is no verdict" in page.text) == (outcome == "abstain")


def test_one_seed_claims_no_spread(results, rendered):
    results.seeds, results.control_seeds = [0], []
    page = rendered()
    assert "with one seed there is no spread" in page.text
    assert "fewer than 3 seeds give no verdict" in page.text
    assert "There was no A/A control" in page.text
    assert "± " not in page.text


def test_data_without_labels_losses_without_zinb_and_fits_that_did_not_converge(results, rendered):
    results.labels, results.label_key = None, ""
    results.losses, results.stop_reason = ["mse_log1p", "nb"], "max_epochs"
    page = rendered()
    assert "9 of 9 fits did not converge" in page.text
    assert "ZINB noise" in page.text
    assert "no labels to colour by" in page.text
    assert "Latent maps" in page.text


def test_missing_metrics_leave_a_sentence(results, rendered):
    results.metrics = ["log_score", "brier_zero", "ranked_probability_score"]
    page = rendered()
    for metric in (
        "expected_zero_fraction",
        "implied_variance",
        "pit_histogram",
        "pearson_variance",
    ):
        assert f"because {metric} is not among the metrics" in page.text
    assert "PIT histogram of each loss" not in page.text


def test_several_data_sets_get_a_matrix(results, rendered, tmp_path):
    other = type(results)(tmp_path)
    other.dataset = other.folder = "other"
    other.losses, other.metrics = ["nb", "zinb"], ["log_score"]
    results.metrics = ["log_score"]
    page = rendered(other)
    assert {"overview", "d1-verdict", "d2-verdict"} <= page.ids
    assert page.text.index("All data sets") < page.text.index("Recommended loss")
    assert "not run" in page.text
    assert set(page.json["genes"]) == {"d1", "d2"}


def test_ranks_over_data_sets_are_shown_where_they_were_made(results, rendered, tmp_path, ranks):
    other = type(results)(tmp_path)
    other.dataset = other.folder = "other"
    other.metrics = results.metrics = ["log_score"]
    assert "Ranks over data sets" not in rendered(other).text
    ranks |= {"critical_difference": 1.35, "datasets": ["toy", HOSTILE]}
    ranks["ranks"][HOSTILE] = ranks["ranks"].pop("other")
    (tmp_path / "ranking.json").write_text(json.dumps(ranks))
    page = rendered(other)
    assert "Ranks over data sets" in page.text
    assert "Below six data sets no test." in page.text
    assert HOSTILE in page.text
    assert [tag for tag, _ in page.tags].count("script") == 5
    assert any("Mean rank of each loss" in str(found) for _, found in page.tags)


def test_pieces_that_were_not_run_leave_a_line_or_nothing(results, rendered):
    results.zero_tests, results.doubts = False, []
    page = rendered()
    assert "only masked entries were used; add protocols: [thinning, nb_splitting]" in page.text
    assert "needs networks of both NB and ZINB" in page.text
    assert "What can be told apart at this depth?" not in page.text
    assert "Open:" not in page.text
    assert "as far as can be told" not in page.text


def test_headings_leave_no_level_out(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in zip(levels, levels[1:], strict=False))


def test_every_table_has_a_caption(page):
    tags = [tag for tag, _ in page.tags]
    tables = [k for k, tag in enumerate(tags) if tag == "table"]
    assert all(tags[k + 1] == "caption" for k in tables)


def test_the_same_data_set_twice_is_refused(toy, tmp_path):
    with pytest.raises(ScoreError, match="'toy' was given 2 times"):
        write_report([toy, toy], tmp_path / "report.html", title=TITLE)


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("triage.json", "countae prepare"),
        ("verdict.json", "countae verdict"),
        ("verdict_genes.parquet", "countae verdict"),
        ("nb/seed1/fit.json", "countae fit"),
        ("zinb/seed2/scores.parquet", "countae score"),
        ("gene_mean/seed0/scores.parquet", "countae score"),
        ("toy.h5ad", "countae export"),
    ],
)
def test_a_missing_file_is_named_with_the_verb_that_makes_it(toy, tmp_path, name, verb):
    away = (toy / name).rename(tmp_path / "away")
    try:
        with pytest.raises(ScoreError, match=f"{re.escape(name)}.*does not exist.*{verb}"):
            write_report([toy], tmp_path / "report.html", title=TITLE)
    finally:
        away.rename(toy / name)
    assert not (tmp_path / "report.html").exists()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ScoreError, match="no such folder"):
        write_report([tmp_path / "nowhere"], tmp_path / "report.html", title=TITLE)


def test_too_large_a_page_is_refused(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "bundle", lambda: "x" * 8_000_000)
    with pytest.raises(ScoreError, match=r"8\.\d MB, but at most 8 MB"):
        write_report([toy], tmp_path / "report.html", title=TITLE)
    assert list(tmp_path.iterdir()) == []


def test_numbers_have_at_most_five_digits_and_are_finite(page):
    numbers = re.findall(r"-?\d+\.\d+(?:e-?\d+)?", json.dumps(page.json))
    long = [text for text in numbers if float(text) != float(f"{float(text):.5g}")]
    assert not long
    text = re.sub(r"doi:\S+|doi = \{[^}]*\}", "", page.text)  # a DOI may hold such
    assert not re.search(r"(?<![\d.])\d+\.\d{5,}", text)
    assert "nan" not in page.text.split()


def test_scores_that_are_not_finite_are_shown_not_hidden(results, rendered, monkeypatch):
    honest = results.gene_value

    def broken(metric, contestant, seed):
        value = honest(metric, contestant, seed)
        if metric == "poisson_deviance_explained" and contestant == "mse_log1p":
            return np.full_like(value, -np.inf)
        return value

    monkeypatch.setattr(results, "gene_value", broken)
    assert "−∞" in rendered().text


def test_long_gene_tables_are_compressed(toy, monkeypatch):
    monkeypatch.setattr(embed, "MANY_GENES", 10)
    table = embed.gene_table(load(toy), 100_000)
    columns = unpacked(table["packed"])
    assert len(columns["gene"]) == table["n"] == 40
    assert columns["gene"][0] == "gene39"  # the largest difference first


def test_what_has_no_room_is_left_out_from_the_end_and_said(toy, monkeypatch):
    """The genes on which the losses differ most stay, in fewer digits; the page says how many."""
    data = load(toy)
    table = embed.gene_table(data, 1000)
    assert len(table["packed"]) <= 1000
    columns = unpacked(table["packed"])
    assert columns["gene"] == [f"gene{k}" for k in range(39, 39 - table["n"], -1)]
    assert 1 <= table["n"] < 40
    pictures = embed.panels(data, 400)
    assert len(pictures["packed"]) <= 400
    shares = unpacked(pictures["packed"])
    assert set(shares) == {"", "mse_log1p", "nb", "zinb"}
    assert [len(of_bin) for of_bin in shares["nb"]] == [pictures["n"]] * len(pictures["bins"])
    monkeypatch.setattr(page_module, "bundle", lambda: "")
    monkeypatch.setattr(page_module, "GENE_BYTES", 1000)
    html = page_module.render([data], title=TITLE)
    assert f"The {table['n']} of 40 genes on which the losses differ most" in html


def test_long_figures_are_compressed():
    figures = {"f1": {"data": {"columns": {"a": ["<"] * 10}}}}
    assert json.loads(embed.embedded_figures(figures)) == figures
    figures["f1"]["data"]["columns"]["a"] *= 100_000
    found = json.loads(embed.embedded_figures(figures))
    assert unpacked(found["packed"]) == figures


def test_genes_without_histograms_leave_a_sentence(results, rendered):
    results.histograms = False
    page = rendered()
    assert "because count_histogram is not among the metrics" in page.text
    assert page.json["panels"] == {}


def test_the_plotting_library_is_inside(toy, tmp_path):
    output = tmp_path / "report.html"
    write_report([toy], output, title=TITLE)
    html = output.read_text(encoding="utf-8")
    assert "window.vegaEmbed=" in html
    assert 500_000 < len(html) < 2_000_000
    assert html.count("</script>") == 5


def test_the_page_is_the_same_each_time(page, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "bundle", lambda: "")
    write_report([toy], tmp_path / "again.html", title=TITLE)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page.html


def test_findings_of_the_triage_are_shown_with_what_to_do(page, results, rendered):
    for words in ("2 cells have no count at all.", "They have no library size.", "leave them out",
                  "names of cells (2)", "cell9"):  # fmt: skip
        assert words in page.text
    results.findings = []
    assert "What was found in the matrix" not in rendered().text


def test_backticks_become_code_and_the_rest_is_escaped():
    assert page_module._code("set `a<b` & `c`, not `") == (
        "set <code>a&lt;b</code> &amp; <code>c</code>, not `"
    )


def test_what_two_data_sets_share_is_told_once():
    first, other, same = {"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1, "b": 2}
    alike = page_module._first_alike
    assert alike([first, other, same], same, ["a", "b"]) is first
    assert alike([first, other, same], other, ["a", "b"]) is other
    assert alike([first, other, same], other, ["a"]) is first


@pytest.mark.parametrize("content", ["{}", "[]", '"x"', "null", "[" * 100_000])
@pytest.mark.parametrize(
    "name", ["triage.json", "verdict.json", "nb/seed0/fit.json", "referee.json", "stress.json",
             "downstream.json"],
)  # fmt: skip
def test_json_of_another_kind_is_told(results, name, content):
    folder = results.write()
    (folder / name).write_text(content)
    with pytest.raises(ScoreError, match=f"{name}: .*Fix: "):
        load(folder)

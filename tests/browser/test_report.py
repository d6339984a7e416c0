"""The report as people meet it: in a browser, from disk, without a network."""

from __future__ import annotations

import csv
import importlib.resources
import io
import json
import re

import pytest

from countae.report.paper import write_figures

from .conftest import FORMULA, HOSTILE, PATIENCE

WCAG = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    "resultTypes": ["violations"],
}


def violations(page) -> list[str]:
    """What axe-core finds at WCAG 2 A and AA."""
    script = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    page.evaluate(script)
    found = page.evaluate("options => axe.run(document, options)", WCAG)
    assert len(found["passes"]) > 15
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def column(table, number: int) -> list[str]:
    """Sort values of a column of a table, row by row."""
    cells = table.locator(f"tbody tr:visible > :nth-child({number})")
    return [cell.get_attribute("data-value") for cell in cells.all()]


def test_it_opens_without_a_complaint_or_a_request(report, one):
    report.genes()
    assert report.complaints == []
    away = [url for url in report.requests if not url.startswith(("file:", "data:", "blob:"))]
    assert away == []
    assert [url for url in report.requests if url.startswith("file:")] == [one.as_uri()]


def test_every_figure_is_drawn(report):
    report.genes()
    plots = report.page.locator(".plot")
    assert plots.count() > 15
    drawn = report.page.locator(".plot:has(svg, canvas)")
    assert drawn.count() == plots.count()


def test_names_from_data_are_shown_as_text(report):
    page = report.page
    plain = HOSTILE.replace("\u202e", "")  # it would turn the rest of the sentence
    assert page.title() == page.locator("h1").inner_text() == plain
    assert "\u202e" not in page.locator("#main").inner_text().replace(HOSTILE, "")
    assert page.locator("script").count() == 5  # three of data, two of code
    assert report.genes().get_by_role("button", name=HOSTILE, exact=True).count() == 1
    assert plain in page.locator("#d1-latent .legend").text_content()
    assert page.locator("svg script").count() == 0
    assert report.complaints == []


def test_leaderboard_is_sorted_by_mouse_and_by_key(report):
    board = report.page.locator("#d1-board table")
    head = board.locator("th", has_text="log score")
    assert head.get_attribute("aria-sort") == "ascending"
    numbers = [float(text) for text in column(board, 3)]
    assert numbers == sorted(numbers)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(board, 3)] == numbers[::-1]
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    loss = board.locator("th", has_text="Loss").first
    loss.locator("button").press("Space")
    assert loss.get_attribute("aria-sort") == "ascending"
    assert head.get_attribute("aria-sort") is None
    assert column(board, 1) == sorted(column(board, 1), key=str.lower)
    head.locator("button").click()


def test_refitted_noise_is_shown_on_request(report):
    rows = report.page.locator("#d1-board tbody tr:visible")
    before = rows.count()
    box = report.page.locator(".show-refitted")
    box.check()
    assert rows.count() > before
    box.uncheck()
    assert rows.count() == before


def test_genes_are_searched_filtered_sorted_and_paged(report):
    table = report.genes()
    found, rows = table.get_by_role("status"), table.locator("tbody tr")
    assert found.inner_text() == "40 of 40 genes"
    assert rows.count() == 25
    table.get_by_role("button", name="Next").click()
    assert rows.count() == 15
    assert "Page 2 of 2" in table.inner_text()
    assert table.get_by_role("button", name="Next").is_disabled()
    search = table.get_by_role("searchbox")
    search.fill("GENE1")
    assert found.inner_text() == "11 of 40 genes"  # gene1, gene10 to gene19
    table.get_by_role("combobox").select_option(label="NB")
    assert found.inner_text() == "2 of 40 genes"  # every fourth: gene12, gene16
    search.fill("no such gene")
    assert found.inner_text() == "0 of 40 genes"
    search.fill("")
    table.get_by_role("combobox").select_option(label="all")
    mean = table.locator("th[scope=col]", has_text="mean").first
    mean.locator("button").click()
    assert mean.get_attribute("aria-sort") == "descending"
    assert rows.first.locator("th").inner_text() == HOSTILE
    table.locator("th[scope=col]", has_text="difference").locator("button").click()


def test_a_gene_shows_its_counts_beside_what_the_losses_expected(report):
    table, panel = report.genes(), report.page.get_by_role("region", name="The chosen gene")
    table.get_by_role("searchbox").fill("gene30")
    gene = table.get_by_role("button", name="gene30", exact=True)
    gene.focus()
    report.page.keyboard.press("Enter")
    panel.get_by_role("heading", name="gene30: observed and expected counts").wait_for()
    assert gene.get_attribute("aria-pressed") == "true"
    said = panel.locator(".facts").inner_text().split("\n")
    facts = dict(zip(said[::2], said[1::2], strict=True))
    assert facts["observed mean"] == "5.0183"
    assert facts["log score NB"] == "1.1700"
    # two counts: a bar each, and a dot of each of three losses
    report.page.wait_for_function(
        "document.querySelectorAll('#d1-gene-plot .mark-rect path').length === 2", timeout=PATIENCE
    )
    assert panel.locator(".mark-symbol.role-mark path").count() == 6
    labels = panel.locator(".role-axis-label text").all_text_contents()
    assert {"0", "1"} <= set(labels)
    table.get_by_role("searchbox").fill("")


def test_files_are_saved(report):
    table = report.genes()
    text = report.saved(table.get_by_role("button", name="Download CSV")).decode()
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == 41
    names = [row[0] for row in rows]
    assert HOSTILE in names
    assert f"'{FORMULA}" in names  # a spreadsheet must not reckon with it
    figure = report.page.locator("#d1-leaderboard figure").first
    assert report.saved(figure.get_by_role("button", name="as SVG")).startswith(b"<svg")
    assert report.saved(figure.get_by_role("button", name="as PNG")).startswith(b"\x89PNG")
    methods = report.page.locator("#d1-methods")
    bibtex = report.saved(methods.get_by_role("button", name="Download BibTeX")).decode()
    assert bibtex.startswith("@software{countae")
    words = report.saved(methods.get_by_role("button", name="Download this text")).decode()
    assert "encoder widths 128" in words


def test_the_first_key_leads_past_the_contents(opened, one):
    page = opened(one).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the verdict"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")


def luminance(rgb: str) -> float:
    return sum(map(float, re.findall(r"\d+", rgb)[:3])) / 3


def test_dark_and_light_follow_the_system(opened, one):
    made = opened(one, color_scheme="dark")
    style = "getComputedStyle(document.body)"
    tick = "getComputedStyle(document.querySelector('.plot .role-axis-label text')).fill"
    assert luminance(made.page.evaluate(f"{style}.backgroundColor")) < 60
    assert luminance(made.page.evaluate(tick)) > 120
    made.page.emulate_media(color_scheme="light")
    made.page.wait_for_function(
        f"{tick}.match(/\\d+/g).map(Number).slice(0, 3).every(value => value < 130)",
        timeout=PATIENCE,
    )
    assert luminance(made.page.evaluate(f"{style}.backgroundColor")) > 240
    assert made.complaints == []


def test_it_prints(opened, one, tmp_path):
    made = opened(one, color_scheme="dark")
    made.page.emulate_media(media="print", color_scheme="light")
    assert not made.page.locator("nav").is_visible()
    assert not made.page.locator(".export").first.is_visible()
    assert luminance(made.page.evaluate("getComputedStyle(document.body).backgroundColor")) > 240
    pdf = made.page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 100_000
    pages = int(max(re.findall(rb"/Count (\d+)", pdf), key=int))
    assert 8 <= pages <= 60
    # nobody scrolled: what lies far below is there all the same, and nothing is left closed
    assert made.page.locator(".gene-table tbody tr").count() > 0
    assert made.page.locator(".gene-panel .plot svg").count() == 1
    made.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert made.page.locator("main details:not([open])").count() == 0
    assert made.page.locator(".references").first.is_visible()
    made.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert made.page.locator("main details[open]").count() == 0


CUT = """[...document.querySelectorAll('.plot svg')].flatMap(svg => {
  const around = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')]
    .filter(text => text.textContent.trim() && getComputedStyle(text).opacity !== '0')
    .filter(text => {
      const own = text.getBoundingClientRect();
      return own.left < around.left - 2 || own.right > around.right + 2;
    })
    .map(text => `${svg.closest('.plot').id}: ${text.textContent}`);
})"""
CROWDED = """[...document.querySelectorAll('.plot svg .role-axis-label')].flatMap(axis => {
  const boxes = [...axis.querySelectorAll('text')]
    .filter(text => getComputedStyle(text).opacity !== '0')
    .map(text => [text.getBoundingClientRect(), text.textContent]);
  return boxes.flatMap(([a, name], k) => boxes.slice(k + 1)
    .filter(([b]) => a.left < b.right - 1 && b.left < a.right - 1)
    .filter(([b]) => a.top < b.bottom - 3 && b.top < a.bottom - 3)
    .map(([, other]) => `${axis.closest('.plot').id}: ${name}|${other}`));
})"""


def test_words_of_figures_for_papers_fit(browser, two, tmp_path):
    """Chromium measures the letters of what `countae figures` wrote."""
    write_figures([two.parent / "first"], tmp_path, genes=[])
    drawn = sorted(tmp_path.glob("*/*.svg"))
    assert {"stress-depth", "latent_maps", "zeros_curve"} <= {path.stem for path in drawn}
    page = browser.new_page()
    page.set_content(
        "".join(f'<div class="plot" id="{path.stem}">{path.read_text()}</div>' for path in drawn)
    )
    assert page.evaluate(CUT) == []
    page.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_words_of_figures_fit(opened, two, width):
    """No title, name in a legend or label of an axis is cut, and no label lies on another."""
    made = opened(two, viewport={"width": width, "height": 900})
    assert made.page.evaluate(CUT) == []
    assert made.page.evaluate(CROWDED) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(opened, one, scheme, width):
    made = opened(one, color_scheme=scheme, viewport={"width": width, "height": 900})
    made.genes()
    made.page.evaluate(
        "document.querySelectorAll('details').forEach(each => { each.open = true; })"
    )
    assert violations(made.page) == []
    assert made.page.evaluate("document.documentElement.scrollWidth") <= width


def test_tables_keep_to_the_page(report):
    """On a wide screen none scrolls but that of the genes, which has many columns."""
    report.genes()
    wide = report.page.evaluate(
        "[...document.querySelectorAll('.scroll')]"
        ".filter(each => each.scrollWidth > each.clientWidth + 1)"
        ".map(each => each.getAttribute('aria-label'))"
    )
    assert set(wide) <= {"Genes"}


def test_several_data_sets_with_compressed_parts(opened, two):
    made = opened(two)
    page = made.page
    assert json.loads(page.locator("#figures").text_content()).keys() == {"packed"}
    assert page.locator("main > section").first.get_attribute("id") == "overview"
    for key in ("d1", "d2"):
        assert made.genes(key).get_by_role("status").inner_text() == "40 of 40 genes"
        assert page.locator(f"#{key}-gene .plot svg").count() == 1
    assert page.locator(".plot:not(:has(svg, canvas))").count() == 0
    assert violations(page) == []
    assert made.complaints == []

"""Figures for papers: the same as on the page, in files."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from countae.errors import ScoreError
from countae.report import drawn, paper
from countae.report.load import load


@pytest.fixture(scope="module")
def data(toy):
    return load(toy)


def test_a_figure_is_written_as_svg_pdf_and_csv(data, tmp_path):
    figure = drawn.figures(data)["forest"]
    paper._write(figure, tmp_path / "forest")
    svg = ElementTree.parse(tmp_path / "forest.svg").getroot()
    assert svg.tag.endswith("svg")
    assert 500 < float(svg.attrib["width"].removesuffix("px")) < 620
    texts = {"".join(each.itertext()) for each in svg.iter() if each.tag.endswith("text")}
    assert {"ZINB", "MSE log1p", "how much worse than NB, nats/entry"} <= texts
    assert (tmp_path / "forest.pdf").read_bytes().startswith(b"%PDF")
    table = pd.read_csv(tmp_path / "forest.csv")
    pairs = [p for p in data.verdict["axes"]["overall"]["pairs"] if p["better"] == "nb"]
    shown = table[table["loss"].notna()]
    np.testing.assert_allclose(shown["difference"], [p["difference"] for p in pairs], rtol=1e-4)


def test_every_figure_of_the_page_has_a_file_and_every_file_its_data(data, tmp_path, monkeypatch):
    written = {}
    monkeypatch.setattr(paper, "_write", lambda figure, path: written.update({path.name: figure}))
    monkeypatch.setattr(paper, "load", lambda folder: data)
    number = paper.write_figures([tmp_path], tmp_path / "out", genes=[])
    assert (
        number
        == len(written)
        == sum(each is not None for each in drawn.figures(data).values()) + paper.PANELS
    )
    assert {"forest", "pit", "latent_maps", "gene-1-gene39"} <= set(written)
    for figure in written.values():
        assert len(paper.table(figure)) > 0
    folder = tmp_path / "out" / "toy"
    assert "encoder widths 128" in (folder / "methods.txt").read_text()
    assert (folder / "references.bib").read_text().startswith("@software{countae")
    assert "## gene-1-gene39\n\nCounts of gene39" in (folder / "figures.md").read_text()


def test_panels_are_one_figure_with_titles_and_a_legend(data, tmp_path):
    panels = drawn.figures(data)["latent_maps"]
    paper._write(panels, tmp_path / "maps")
    svg = ElementTree.parse(tmp_path / "maps.svg").getroot()
    texts = ["".join(each.itertext()) for each in svg.iter() if each.tag.endswith("text")]
    assert {one.title for one in panels.figures} <= set(texts)
    for label in set(data.latents.labels):
        assert texts.count(label) == 1  # one legend for all panels
    table = pd.read_csv(tmp_path / "maps.csv")
    assert (table["panel"].value_counts() == data.latents.n_shown).all()


def test_genes_are_chosen_by_name(data):
    assert list(paper._of_genes(data, ["gene7"])) == ["gene-1-gene7"]
    with pytest.raises(ScoreError, match="no gene 'gene99' among its 40"):
        paper._of_genes(data, ["gene7", "gene99"])


def test_scores_without_histograms_have_no_pictures_of_genes(results):
    results.histograms = False
    data = load(results.write())
    assert paper._of_genes(data, []) == {}
    with pytest.raises(ScoreError, match="`count_histogram`"):
        paper._of_genes(data, ["gene7"])


@pytest.mark.parametrize(
    ("name", "file"),
    [("pbmc68k", "pbmc68k"), ("../../etc", "_.._etc"), ("..", "_"), ("a/b c", "a_b_c"), ("", "_")],
)
def test_names_lead_to_no_other_folder(name, file):
    assert paper.safe(name) == file

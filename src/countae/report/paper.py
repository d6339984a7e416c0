"""Figures for papers: every figure of a report as SVG, PDF and CSV, and words to go with them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countae.errors import ScoreError
from countae.files import write_bytes
from countae.report import methods
from countae.report.bibliography import bibtex
from countae.report.drawn import figures
from countae.report.figures import Figure, Panels
from countae.report.gene_panel import gene_panel
from countae.report.load import Dataset, load

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 560  # pixels of a 96 dpi screen; a journal's two columns
PANEL, WIDE_PANEL = 120, 215  # of which this many make a row of three, or of two
PANELS = 12  # genes on which the losses differ most
INK, SOFT, LINE = "#1d2329", "#55606b", "#dcdfe3"
LOOK: dict[str, Any] = {
    "background": "white",
    "font": "DejaVu Sans, Arial, Helvetica, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": SOFT, "titleColor": INK, "gridColor": LINE, "domainColor": SOFT,
        "tickColor": SOFT, "gridOpacity": 0.6, "labelFontSize": 11, "titleFontSize": 11.5,
        "titleFontWeight": 500, "titlePadding": 8, "labelOverlap": "greedy",
        "labelSeparation": 4, "labelLimit": 160,
    },
    "legend": {
        "labelColor": INK, "titleColor": SOFT, "labelFontSize": 11, "symbolSize": 80,
        "columns": 5, "labelLimit": 220,
    },
    "rule": {"color": SOFT},
}  # fmt: skip


def write_figures(folders: list[Path], output: Path, *, genes: list[str]) -> int:
    """Write every figure of some data sets, each data set in a folder of its name.

    Beside the figures lie ``figures.md`` with their titles and captions, ``methods.txt`` and
    ``references.bib``.

    Parameters
    ----------
    folders : list of Path
        Results of one data set each.
    output : Path
        Folder to write into.
    genes : list of str
        Genes whose counts are drawn; empty for those on which the losses differ most.

    Returns
    -------
    int
        Number of figures.

    Raises
    ------
    ScoreError
        When results are missing, or a gene or its histogram is not there.
    """
    made = 0
    for folder in folders:
        data = load(Path(folder))
        place = output / safe(data.name)
        drawn = {n: each for n, each in figures(data).items() if each is not None}
        drawn |= _of_genes(data, genes)
        for name, figure in drawn.items():
            _write(figure, place / name)
        _write_words(data, drawn, place)
        made += len(drawn)
    return made


def safe(name: str) -> str:
    """A name of data as the name of a file, which leads to no other folder."""
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".")[:100] or "_"


def _of_genes(data: Dataset, wanted: list[str]) -> dict[str, Figure]:
    """Pictures of the counts of genes."""
    histograms = data.histograms
    if histograms is None:
        if wanted:
            raise ScoreError(
                f"{data.name!r}: the counts of single genes need the metric `count_histogram`, "
                "but the scores have none. Fix: add it to `metrics` in the configuration, or "
                "leave that list empty, and score again."
            )
        return {}
    unknown = [gene for gene in wanted if gene not in histograms.genes]
    if unknown:
        raise ScoreError(
            f"{data.name!r}: has no gene {unknown[0][:80]!r} among its "
            f"{len(histograms.genes):,}. Fix: name genes as they stand in the table of the report."
        )
    order = data.genes.sort_values("difference", ascending=False, kind="stable")["gene"]
    chosen = wanted or order.head(PANELS).tolist()
    return {
        f"gene-{k}-{safe(gene)}": gene_panel(data, histograms, gene)
        for k, gene in enumerate(chosen, start=1)
    }


def _write(figure: Figure | Panels, path: Path) -> None:
    """A figure, or panels as one, as SVG and PDF, and its data as CSV."""
    import vl_convert

    spec = for_paper(figure)
    write_bytes(path.with_name(f"{path.name}.svg"), vl_convert.vegalite_to_svg(spec).encode())
    write_bytes(path.with_name(f"{path.name}.pdf"), vl_convert.vegalite_to_pdf(spec))
    write_bytes(path.with_name(f"{path.name}.csv"), table(figure).to_csv(index=False).encode())


def for_paper(figure: Figure | Panels) -> dict[str, Any]:
    """The page's specification with a width of its own, all legends and the look of paper."""
    if isinstance(figure, Figure):
        spec = copy.deepcopy(figure.spec) | {"width": WIDTH}
    else:
        spec = _side_by_side(figure)
    domains = [part["domain"] for part in _parts(spec) if isinstance(part.get("domain"), list)]
    longest = max((len(str(name)) for domain in domains for name in domain), default=1)
    legend = LOOK["legend"] | {"columns": max(1, int(WIDTH / (36 + 6.3 * longest)))}
    return spec | {"config": LOOK | {"legend": legend}}


def _side_by_side(panels: Panels) -> dict[str, Any]:
    """Panels with their titles in rows, and one legend for all of them."""
    made = []
    for figure in panels.figures:
        spec = copy.deepcopy(figure.spec)
        del spec["autosize"], spec["$schema"]  # these are of a whole figure
        made.append(spec | {"width": WIDE_PANEL if panels.wide else PANEL, "title": figure.title})
    for part in _parts(made):
        if part.get("field") == "label" and part.get("legend", ...) is None:
            part["legend"] = {"title": None, "orient": "top"}  # on the page it is text
    return {
        "$schema": panels.figures[0].spec["$schema"], "description": panels.title,
        "concat": made, "columns": 2 if panels.wide else 3,
    }  # fmt: skip


def _parts(spec: Any) -> Iterator[dict[str, Any]]:
    """Every object of a specification but its data."""
    if isinstance(spec, dict):
        yield spec
        spec = [item for key, item in spec.items() if key != "data"]
    for item in spec:
        if isinstance(item, dict | list):
            yield from _parts(item)


def table(figure: Figure | Panels) -> pd.DataFrame:
    """Everything that a figure draws, a row per mark; ``layer`` numbers what lies over what."""
    import pandas as pd

    if isinstance(figure, Panels):
        parts = [table(one).assign(panel=one.title) for one in figure.figures]
        first = ["panel", "layer"]
    else:
        rows = enumerate(_layers(figure.spec), start=1)
        parts, first = [pd.DataFrame(of_layer).assign(layer=k) for k, of_layer in rows], ["layer"]
    joined = pd.concat(parts, ignore_index=True)
    return joined[[*first, *(name for name in joined if name not in first)]]


def _layers(spec: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Rows of each layer that brings data, once where layers share them."""
    rows = spec.get("data", {}).get("values")
    found = [rows] if rows else []
    for layer in spec.get("layer", []):
        found += [rows for rows in _layers(layer) if rows not in found]
    return found


def _write_words(data: Dataset, drawn: dict[str, Figure | Panels], place: Path) -> None:
    """Captions, the methods and the references of a data set."""
    paragraphs = [f"{heading}. {text}" for heading, text in methods.paragraphs(data)]
    captions = [f"## {name}\n\n{each.title}. {each.caption}" for name, each in drawn.items()]
    for name, texts in {
        "methods.txt": paragraphs,
        "figures.md": captions,
        "references.bib": [bibtex(methods.references(data))],
    }.items():
        write_bytes(place / name, ("\n\n".join(texts) + "\n").encode())

"""Figures for papers: every figure of a report as SVG, PDF and CSV, and words to go with them."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from countae.errors import ScoreError
from countae.files import write_bytes
from countae.report import methods
from countae.report.bibliography import bibtex
from countae.report.drawn import figures, file_names
from countae.report.figures import Figure
from countae.report.gene_panel import gene_panel
from countae.report.load import Dataset, load

WIDTH, SMALL_WIDTH = 560, 220  # pixels of a 96 dpi screen; a journal's two columns and one
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
        drawn = file_names(figures(data)) | _of_genes(data, genes)
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


def _write(figure: Figure, path: Path) -> None:
    """One figure as SVG and PDF, and its data as CSV."""
    import vl_convert

    spec = for_paper(figure)
    write_bytes(path.with_name(f"{path.name}.svg"), vl_convert.vegalite_to_svg(spec).encode())
    write_bytes(path.with_name(f"{path.name}.pdf"), vl_convert.vegalite_to_pdf(spec))
    write_bytes(
        path.with_name(f"{path.name}.csv"), table(figure.spec).to_csv(index=False).encode()
    )


def for_paper(figure: Figure) -> dict[str, Any]:
    """The page's specification with a width of its own and the look of paper."""
    spec = copy.deepcopy(figure.spec)
    return spec | {"width": SMALL_WIDTH if figure.small else WIDTH, "config": LOOK}


def table(spec: dict[str, Any]) -> Any:
    """Everything that a figure draws, a row per mark; ``layer`` numbers what lies over what."""
    import pandas as pd

    layers = _layers(spec)
    parts = [pd.DataFrame(rows).assign(layer=k) for k, rows in enumerate(layers, start=1)]
    joined = pd.concat(parts, ignore_index=True)
    return joined[["layer", *(name for name in joined if name != "layer")]]


def _layers(spec: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Rows of each layer that brings data, once where layers share them."""
    rows = spec.get("data", {}).get("values")
    found = [rows] if rows else []
    for layer in spec.get("layer", []):
        found += [rows for rows in _layers(layer) if rows not in found]
    return found


def _write_words(data: Dataset, drawn: dict[str, Figure], place: Path) -> None:
    """Captions, the methods and the references of a data set."""
    paragraphs = [f"{heading}. {text}" for heading, text in methods.paragraphs(data)]
    captions = [f"## {name}\n\n{each.title}. {each.caption}" for name, each in drawn.items()]
    for name, texts in {
        "methods.txt": paragraphs,
        "figures.md": captions,
        "references.bib": [bibtex(methods.references(data))],
    }.items():
        write_bytes(place / name, ("\n\n".join(texts) + "\n").encode())

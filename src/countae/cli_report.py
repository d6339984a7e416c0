"""The verbs of the report: the page, and its figures, data and words for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from countae import config
from countae.options import Folders, log, names
from countae.paths import Output


def report(
    folders: Folders,
    output: Annotated[
        Path, typer.Option(help="The .html page to write."), Output("report.html", "*.htm")
    ],
    title: Annotated[
        str, typer.Option(help=config.section("report")["title"]["description"])
    ] = config.defaults("report")["title"],
    absent_peers: Annotated[
        str, typer.Option(help="Peers that were asked for but have no program here, with commas.")
    ] = "",
) -> None:
    """Write the report: one page that opens from disk without a network.

    Example: countae report results/pbmc results/simulated_nb --output report.html
    """
    from countae.report import write_report

    write_report(folders, output, title=title, absent_peers=names(absent_peers))
    log.print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


def figures(
    folders: Folders,
    output: Annotated[
        Path, typer.Option(help="Folder to write into, one folder per data set."), Output()
    ],
    genes: Annotated[
        str, typer.Option(help="Genes to draw, with commas; empty: where losses differ most.")
    ] = "",
) -> None:
    """Write every figure of the report for a paper: SVG, PDF, data as CSV; methods and BibTeX.

    Example: countae figures results/pbmc --output figures --genes CD3E,NKG7
    """
    from countae.report.paper import write_figures

    made = write_figures(folders, output, genes=names(genes))
    log.print(f"{output}: {made} figures, each as .svg, .pdf and .csv")

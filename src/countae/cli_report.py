"""The verb that takes a report apart: its figures, data and words for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from countae.options import log, names


def figures(
    folders: Annotated[list[Path], typer.Argument(help="Folders of data sets' results.")],
    output: Annotated[Path, typer.Option(help="Folder to write into, one folder per data set.")],
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

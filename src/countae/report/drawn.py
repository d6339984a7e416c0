"""Every figure of a data set by name, for the page and for papers."""

from __future__ import annotations

from collections.abc import Callable

from countae.report import fit_figures, score_figures, stress, training_figures
from countae.report.figures import Figure
from countae.report.load import Dataset

Drawing = Callable[[Dataset], Figure | list[Figure] | None]

# a list is a small figure per loss; the names are those of the template and of files
FIGURES: dict[str, Drawing] = {
    "forest": score_figures.forest,
    "score_dots": score_figures.score_dots,
    "explained": fit_figures.explained,
    "zeros_curve": fit_figures.zeros_against_mean,
    "zero_errors": fit_figures.zero_errors,
    "reliability": fit_figures.reliability,
    "zero_test_figure": fit_figures.zero_tests,
    "variance_curve": fit_figures.variance_against_mean,
    "pit": fit_figures.pit_histograms,
    "training": training_figures.training_curves,
    "latent_maps": training_figures.latent_maps,
    "stress": stress.curves,
    "gene_gaps": score_figures.gene_gaps,
}


def figures(data: Dataset) -> dict[str, Figure | list[Figure] | None]:
    """Figures of a data set; None where what they need was not measured."""
    return {name: draw(data) for name, draw in FIGURES.items()}


def file_names(drawn: dict[str, Figure | list[Figure] | None]) -> dict[str, Figure]:
    """The figures that there are, each with a name of its own."""
    named: dict[str, Figure] = {}
    for name, found in drawn.items():
        if isinstance(found, list):
            named |= {f"{name}-{k}": one for k, one in enumerate(found, start=1)}
        elif found is not None:
            named[name] = found
    return named

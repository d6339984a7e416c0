"""Every figure of a data set by name, for the page and for papers."""

from __future__ import annotations

from collections.abc import Callable

from countae.report import fit_figures, score_figures, stress, training_figures
from countae.report.figures import Figure, Panels
from countae.report.load import Dataset

Drawing = Callable[[Dataset], Figure | Panels | None]

# the names are those of the template and of files
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
    "gene_gaps": score_figures.gene_gaps,
}


def figures(data: Dataset) -> dict[str, Figure | Panels | None]:
    """Figures of a data set; None where what they need was not measured."""
    return {name: draw(data) for name, draw in FIGURES.items()} | stress.curves(data)

"""The page: sections with their tables and figures, the data inside it, and its limit of size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from countae import __version__
from countae.errors import ScoreError
from countae.progress import tracked
from countae.report import (
    checks,
    commands,
    gene_panel,
    glossary,
    methods,
    steps,
    story,
    stress,
    tables,
    training_figures,
)
from countae.report.bibliography import bibtex
from countae.report.drawn import figures
from countae.report.embed import bundle, by_column, embedded, embedded_figures, gene_table, panels
from countae.report.figures import Figure, Panels
from countae.report.load import Dataset
from countae.report.look import noise_title
from countae.report.ranking import ranking
from countae.wording import short

HERE = Path(__file__).parent
LARGEST_PAGE = 8_000_000  # bytes; above, browsers and mail get slow
GENE_BYTES, PANEL_BYTES = 1_900_000, 800_000  # of all data sets together
DIRECTION = dict.fromkeys([0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
DOTS, CELLS = 80_000, 100_000  # of all small figures together, one per data set and loss
FEWEST = 200  # in one figure
LABELS = ["silhouette", "knn_purity", "nmi", "ari"]
# what a data set does not tell again when an earlier one tells the same
TOLD_ONCE = {"settings_of": ["parameters", "versions"], "references_of": ["references"]}
SPREAD = [
    "pearson_variance", "variance_log_ratio", "coverage_50", "coverage_90", "coverage_95",
    "pit_total_variation",
]  # fmt: skip


@dataclass
class Page:
    """What the browser gets besides the text: specifications and gene tables, by identifier."""

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    genes: dict[str, Any] = field(default_factory=dict)
    panels: dict[str, Any] = field(default_factory=dict)
    n_datasets: int = 1
    _number: Any = field(default_factory=lambda: count(1))

    def enter(self, found: Figure | Panels | None, name: str) -> dict[str, Any] | None:
        """Enter a figure, or panels one by one; what the template must know of it."""
        if isinstance(found, Panels):
            figures = [self.add(one, f"{name}_{one.title}") for one in found.figures]
            return {"title": found.title, "caption": found.caption, "wide": found.wide,
                    "figures": figures}  # fmt: skip
        return None if found is None else self.add(found, name)

    def add(self, figure: Figure, name: str) -> dict[str, Any]:
        """Enter a figure under the name that its file gets when it is saved."""
        key = f"f{next(self._number)}"
        self.figures[key] = by_column(figure.spec)
        return {"id": key, "title": figure.title, "caption": figure.caption, "label": figure.label,
                "height": _height(figure.spec), "name": name}  # fmt: skip


def render(
    datasets: list[Dataset],
    *,
    title: str,
    ranks: dict[str, Any] | None = None,
    absent_peers: Sequence[str] = (),
) -> str:
    """The whole page as HTML; ``ranks`` is the content of ranking.json, for several data sets.

    ``absent_peers`` are those that were asked for, but whose program was not there.

    Raises
    ------
    ScoreError
        When it would exceed 8 MB, or two data sets have one name.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    _check_names(datasets)
    datasets = _thinned(datasets)
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_undirected,
    )  # fmt: skip
    environment.filters["code"] = _code
    page = Page(n_datasets=len(datasets))
    drawn = tracked(datasets, "drawing figures", len(datasets), "data sets")
    sections = [section(data, f"d{k}", page) for k, data in enumerate(drawn, start=1)]
    for made in sections:
        made |= {part: _first_alike(sections, made, keys) for part, keys in TOLD_ONCE.items()}
    names = sorted({name for data in datasets for name in data.metrics})
    html = environment.get_template("template.html.j2").render(
        title=title,
        version=__version__,
        sections=sections,
        overview=_overview(datasets, sections),
        ranking=_ranking(ranks, page),
        absent_peers=[short(n) for n in absent_peers if not any(n in d.peers for d in datasets)],
        glossary=glossary.entries(names),
        words=glossary.WORDS,
        css=_markup((HERE / "page.css").read_text()),
        bundle=_markup(bundle()),
        script=_markup((HERE / "page.js").read_text()),
        figures=embedded_figures(page.figures),
        genes=embedded(page.genes),
        panels=embedded(page.panels),
    )
    size = len(html.encode())
    if size > LARGEST_PAGE:
        raise ScoreError(
            f"The report would have {size / 1e6:.1f} MB, but at most {LARGEST_PAGE / 1e6:.0f} MB "
            f"open well in a browser. It holds {len(datasets)} data sets with "
            f"{sum(len(data.genes) for data in datasets):,} genes in all. Fix: write one report "
            "per data set, or model fewer genes."
        )
    return html


def _thinned(datasets: list[Dataset]) -> list[Dataset]:
    """Data sets whose dots do not fill the page, however many figures there are."""
    panels = sum(len(data.losses) for data in datasets) or 1
    dots, cells = (max(FEWEST, most // panels) for most in (DOTS, CELLS))
    return [
        replace(data, most_dots=min(dots, data.most_dots), latents=data.latents.thinned(cells))
        for data in datasets
    ]


def _check_names(datasets: list[Dataset]) -> None:
    names = [data.name for data in datasets]
    if not names:
        raise ScoreError("The report needs the folder of at least one data set; found none.")
    for name in names:
        if names.count(name) > 1:
            raise ScoreError(
                f"The data set {name!r} was given {names.count(name)} times. Fix: name each "
                "folder once."
            )


def _undirected(value: Any) -> Any:
    """Text without the marks by which a name of data turns the direction of what follows it.

    Data for the scripts are no text (but safe markup), and keep their names.
    """
    return value.translate(DIRECTION) if type(value) is str else value


def _overview(datasets: list[Dataset], sections: list[dict[str, Any]]) -> Any:
    if len(datasets) == 1:
        return None
    return tables.overview(datasets, [section["id"] for section in sections])


def _ranking(found: dict[str, Any] | None, page: Page) -> dict[str, Any] | None:
    made = ranking(found)
    if made is None:
        return None
    return {
        "words": made.words,
        "table": made.table,
        "drawing": made.drawing and page.add(made.drawing, "ranks"),
    }


def section(data: Dataset, key: str, page: Page) -> dict[str, Any]:
    """Everything the template says of one data set."""
    overall = data.verdict["axes"]["overall"]
    table = page.genes[key] = gene_table(data, GENE_BYTES // page.n_datasets)
    in_panels = panels(data, PANEL_BYTES // page.n_datasets)
    if in_panels:
        page.panels[key] = in_panels | gene_panel.for_the_page(data, in_panels["bins"])
    drawn = {n: page.enter(each, f"{data.name}_{n}") for n, each in figures(data).items()}
    return {
        "id": key,
        "name": data.name,
        "verdict": data.verdict,
        "outcome": overall["outcome"],
        "outcome_word": tables.outcome_word(overall["outcome"]),
        "recommended": None if overall["outcome"] == "abstain"
        else data.title(data.verdict["recommended"]),
        "advice": story.ADVICE.get(overall["outcome"], ""),
        "cards": story.cards(data),
        "story": steps.told(data),
        "steps": steps.steps(data),
        "protocols": checks.protocols(data),
        "referee": checks.referee(data),
        "classes": story.gene_classes(data),
        "gene_pairs": tables.gene_pairs(data),
        "variants": [noise_title(noise) for noise in data.noises if not data.crossed(noise)],
        "noise_names": [noise_title(noise) for noise in data.noises],
        "limits": story.limits(data),
        "n_seeds": len(data.seeds),
        "has_oracle": tables.has_oracle(data),
        "leaderboard": tables.leaderboard(data),
        "factorial": tables.factorial(data),
        **_fidelity(data),
        **drawn,
        "not_converged": tables.convergence(data),
        "n_fits": sum(len(records) for records in data.records.values()),
        "label_table": tables.by_loss(data, LABELS, "How well latent coordinates keep the labels"),
        "label_legend": training_figures.label_legend(data.latents),
        "stress": stress.told(data, drawn),
        "stress_left_out": stress.left_out(data),
        "downstream": stress.later(data),
        "cost": tables.cost(data),
        "gene_classes": _class_names(data),
        "n_genes": len(data.genes),
        "n_genes_inside": table["n"],
        "n_panels": in_panels["n"] if in_panels else 0,
        "paragraphs": methods.paragraphs(data),
        "references": methods.references(data),
        "bibtex": bibtex(methods.references(data)),
        "parameters": methods.parameters(data),
        "versions": methods.versions(data),
        "commands": commands.commands(data),
        "triage": data.triage,
        "triage_table": tables.triage(data),
        "source": methods.source_name(data.triage["source"]),
    }  # fmt: skip


def _first_alike(
    sections: list[dict[str, Any]], own: dict[str, Any], keys: list[str]
) -> dict[str, Any]:
    """The first data set that says the same under some keys as this one, maybe itself."""
    return next(s for s in sections if all(s[key] == own[key] for key in keys))


def _class_names(data: Dataset) -> list[tuple[str, str]]:
    """Classes of genes that there are, and what they are called."""
    found = sorted(data.genes["class"].unique())
    return [(c, short(c) if c in data.losses else c.replace("_", " ")) for c in found]


def _fidelity(data: Dataset) -> dict[str, Any]:
    """Tables of means, zeros and spread."""
    means = ["poisson_deviance_explained", "ranked_probability_score", "mean_log_error"]
    zeros = ["brier_zero", "zero_fraction_error"]
    known = ["dispersion_standard_error", "dispersion_log_error"]
    return {
        "means_table": tables.by_loss(data, means, "How good the expected counts are"),
        "zeros_table": tables.by_loss(data, zeros, "How good the predicted zeros are"),
        "zero_tests": checks.zero_tests(data),
        "spread_table": checks.spread(data, SPREAD, "How good the predicted spread is"),
        "theta_table": tables.by_loss(
            data, known, "Inverse dispersion, NB noise refitted", noise="nb"
        ),
    }


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _code(text: str) -> Any:
    """Text with what stands between backticks as code; everything is escaped first."""
    from markupsafe import escape

    return _markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _height(spec: dict[str, Any]) -> int:
    """Height that a figure's place is kept at, so that the page does not jump."""
    return int(spec["height"]) + 60

"""The page: sections with their tables and figures, the data inside it, and its limit of size."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from countae import __version__
from countae.errors import ScoreError
from countae.report import (
    checks,
    commands,
    fit_figures,
    glossary,
    methods,
    score_figures,
    steps,
    story,
    stress,
    tables,
    training_figures,
)
from countae.report.figures import Figure
from countae.report.load import Dataset
from countae.report.look import noise_title, rounded
from countae.report.ranking import ranking
from countae.wording import short

HERE = Path(__file__).parent
LARGEST_PAGE = 8_000_000  # bytes; above, browsers and mail get slow
MANY_GENES = 10_000  # tables above are compressed
LONG_DATA = 40  # rows from which a figure's data are stored by column
SPREAD = [
    "pearson_variance", "variance_log_ratio", "coverage_50", "coverage_90", "coverage_95",
    "pit_total_variation",
]  # fmt: skip


@dataclass
class Page:
    """What the browser gets besides the text: specifications and gene tables, by identifier."""

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    genes: dict[str, Any] = field(default_factory=dict)
    _number: Any = field(default_factory=lambda: count(1))

    def add(self, figure: Figure | None) -> dict[str, Any] | None:
        """Enter a figure; what the template must know of it."""
        return None if figure is None else self._entered(figure)

    def add_all(self, figures: list[Figure]) -> list[dict[str, Any]]:
        """Enter several figures."""
        return [self._entered(figure) for figure in figures]

    def _entered(self, figure: Figure) -> dict[str, Any]:
        key = f"f{next(self._number)}"
        self.figures[key] = by_column(figure.spec)
        return {"id": key, "title": figure.title, "caption": figure.caption, "label": figure.label,
                "height": _height(figure.spec), "small": figure.small}  # fmt: skip


def render(datasets: list[Dataset], *, title: str, ranks: dict[str, Any] | None = None) -> str:
    """The whole page as HTML; ``ranks`` is the content of ranking.json, for several data sets.

    Raises
    ------
    ScoreError
        When it would exceed 8 MB, or two data sets have one name.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    _check_names(datasets)
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = Page()
    sections = [section(data, f"d{k}", page) for k, data in enumerate(datasets, start=1)]
    names = sorted({name for data in datasets for name in data.metrics})
    html = environment.get_template("template.html.j2").render(
        title=title,
        version=__version__,
        sections=sections,
        overview=_overview(datasets, sections),
        ranking=_ranking(ranks, page),
        glossary=glossary.entries(names),
        words=glossary.WORDS,
        css=_markup((HERE / "page.css").read_text()),
        bundle=_markup(bundle()),
        script=_markup((HERE / "page.js").read_text()),
        figures=embedded(page.figures),
        genes=embedded(page.genes),
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


def _overview(datasets: list[Dataset], sections: list[dict[str, Any]]) -> Any:
    if len(datasets) == 1:
        return None
    return tables.overview(datasets, [section["id"] for section in sections])


def _ranking(found: dict[str, Any] | None, page: Page) -> dict[str, Any] | None:
    made = ranking(found)
    if made is None:
        return None
    return {"words": made.words, "table": made.table, "drawing": page.add(made.drawing)}


def section(data: Dataset, key: str, page: Page) -> dict[str, Any]:
    """Everything the template says of one data set."""
    overall = data.verdict["axes"]["overall"]
    page.genes[key] = gene_table(data)
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
        "forest": page.add(score_figures.forest(data)),
        "score_dots": page.add(score_figures.score_dots(data)),
        **_fidelity(data, page),
        "training": page.add_all(training_figures.training_curves(data)),
        "not_converged": tables.convergence(data),
        "n_fits": sum(len(records) for records in data.records.values()),
        "latent_maps": page.add_all(training_figures.latent_maps(data.latents, data.losses)),
        "latents": data.latents,
        "label_legend": training_figures.label_legend(data.latents),
        "seed_shown": data.seeds[0],
        "stress": [
            told | {"drawings": page.add_all(told["drawings"])} for told in stress.told(data)
        ],
        "downstream": stress.later(data),
        "cost": tables.cost(data),
        "gene_gaps": page.add(score_figures.gene_gaps(data)),
        "gene_classes": sorted(data.genes["class"].unique()),
        "n_genes": len(data.genes),
        "paragraphs": methods.paragraphs(data),
        "references": methods.references(data),
        "parameters": methods.parameters(data),
        "versions": methods.versions(data),
        "commands": commands.commands(data),
        "triage": data.triage,
        "triage_table": tables.triage(data),
        "source": methods.source_name(data.triage["source"]),
    }  # fmt: skip


def _fidelity(data: Dataset, page: Page) -> dict[str, Any]:
    """Means, zeros and spread."""
    means = ["poisson_deviance_explained", "ranked_probability_score", "mean_log_error"]
    zeros = ["brier_zero", "zero_fraction_error"]
    known = ["dispersion_standard_error", "dispersion_log_error"]
    return {
        "means_table": tables.by_loss(data, means, "How good the expected counts are"),
        "explained": page.add(fit_figures.explained(data)),
        "zeros_table": tables.by_loss(data, zeros, "How good the predicted zeros are"),
        "zeros_curve": page.add(fit_figures.zeros_against_mean(data)),
        "zero_errors": page.add_all(fit_figures.zero_errors(data)),
        "reliability": page.add(fit_figures.reliability(data)),
        "zero_tests": checks.zero_tests(data),
        "zero_test_figure": page.add(fit_figures.zero_tests(data)),
        "spread_table": checks.spread(data, SPREAD, "How good the predicted spread is"),
        "variance_curve": page.add(fit_figures.variance_against_mean(data)),
        "pit": page.add_all(fit_figures.pit_histograms(data)),
        "theta_table": tables.by_loss(
            data, known, "Inverse dispersion, NB noise refitted", noise="nb"
        ),
    }


def gene_table(data: Dataset) -> dict[str, Any]:
    """Table of genes by column, for the browser; compressed when it is long."""
    genes = data.genes.sort_values("difference", ascending=False, kind="stable")
    columns = {name: rounded(genes[name].tolist()) for name in genes.columns}
    labels = {name: f"log score {short(name.removeprefix('log_score_'))}"
              for name in columns if name.startswith("log_score_")}  # fmt: skip
    found = {"labels": labels, "n": len(genes)}
    if len(genes) <= MANY_GENES:
        return found | {"columns": columns}
    packed = gzip.compress(json.dumps(columns, allow_nan=False).encode(), mtime=0)
    return found | {"packed": base64.b64encode(packed).decode()}


def by_column(spec: Any) -> Any:
    """A specification with long data stored by column, which takes half the space."""
    if isinstance(spec, list):
        return [by_column(item) for item in spec]
    if not isinstance(spec, dict):
        return spec
    rows = spec.get("values")
    if isinstance(rows, list) and len(rows) >= LONG_DATA and isinstance(rows[0], dict):
        return {"columns": {name: [row[name] for row in rows] for name in rows[0]}}
    return {key: by_column(value) for key, value in spec.items()}


def embedded(content: Any) -> Any:
    """JSON that is safe inside a script element, whatever names it holds."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return _markup(text)


def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    code = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _height(spec: dict[str, Any]) -> int:
    """Height that a figure's place is kept at, so that the page does not jump."""
    return int(spec["height"]) + 60

"""What the verdict was held against: other protocols, the referee's simulations, the two exams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from countae.metrics.dispersion_standard_error import IDENTIFIABLE
from countae.report.glossary import nominal
from countae.report.load import Dataset
from countae.report.look import capital, number, percent, whole
from countae.report.tables import Cell, Column, Table, by_loss
from countae.wording import STORIES, short

PROTOCOLS = {
    "masked": ("Masked entries", "whole counts hidden; the verdict above"),
    "thinning": ("Binomial thinning", "half of the molecules hidden, at random"),
    "nb_splitting": ("NB count splitting", "half hidden, independent if NB"),
}
FAMILIES = {
    "poisson": "Poisson", "nb": "NB", "zinb": "ZINB", "gaussian": "Normal",
    "two_type_nb": "NB, two kinds of cells", "poisson_lognormal": "Poisson, log-normal rates",
    "zinb_logistic": "ZINB, fewer extra zeros at high means", "heavy_tailed": "NB with outliers",
}  # fmt: skip
SURVIVES = {True: "yes", False: "no", None: "cannot tell"}
RIGHT = {"pit_total_variation": "0", "pearson_variance": "1", "variance_log_ratio": "0"}


def protocols(data: Dataset) -> Table | None:
    """Scores of each loss under each way of hiding counts, and whether the verdict survives."""
    others = data.verdict.get("protocols") or {}
    if not others:
        return None
    axis = data.verdict["axes"]["overall"]
    rows = [([*_protocol(data, "masked", axis), Cell("the verdict"), Cell("")], "own")]
    for name, found in others.items():
        survives = found["survives"]
        mark = {True: "yes", False: "no"}.get(survives, "unknown")
        said = [Cell(SURVIVES[survives], mark=mark), Cell(found["reason"], mark="words")]
        rows.append(([*_protocol(data, name, found), *said], ""))
    columns = [Column("Way of hiding", numeric=False)]
    columns += [Column(short(loss), "nats/entry") for loss in data.losses]
    columns += [Column("Survives?", numeric=False), Column("Why", numeric=False)]
    return Table("The verdict under other ways of hiding counts", columns, rows)


def _protocol(data: Dataset, name: str, axis: dict[str, Any]) -> list[Cell]:
    title, note = PROTOCOLS.get(name, (short(name), ""))
    cells = [Cell(title, note=note, mark="name")]
    for loss in data.losses:
        score = axis["scores"].get(loss)
        if score is None:
            cells.append(Cell("not run"))
            continue
        mark = "contender" if loss in axis["contenders"] and axis["outcome"] != "abstain" else ""
        gap = score - axis["scores"][axis["best"]]
        note = "best" if loss == axis["best"] else number(gap, sign=True)
        cells.append(Cell(number(score), score, note, mark))
    return cells


@dataclass(frozen=True)
class Referee:
    """What the comparison says of data simulated from the user's own fit."""

    sentence: str
    table: Table


def referee(data: Dataset) -> Referee | None:
    """Confusion matrix of true families and told stories; None when it was not run."""
    found = data.referee
    if found is None:
        return None
    lines = []
    for family in found["families"]:
        row = found["rows"][family]
        cells = [_times(row["stories"].get(story, 0), row["n"]) for story in STORIES]
        loss = ", ".join(f"{short(name)} {n}×" for name, n in row["recommended"].items())
        sets = f"{row['n']} data {'set' if row['n'] == 1 else 'sets'}"
        head = Cell(FAMILIES.get(family, family.replace("_", " ")), note=sets, mark="name")
        lines.append(([head, *cells, _rightly(row), Cell(loss or "none")], ""))
    columns = [Column("Counts drawn from", numeric=False)]
    columns += [Column(told, "told") for told in map(_family, STORIES)]
    columns += [Column("Told rightly"), Column("Recommended loss", "times", numeric=False)]
    label = "Stories told of simulated data whose family is known"
    return Referee(found["sentence"], Table(label, columns, lines))


def _times(number_of: int, of: int) -> Cell:
    """How often a story was told, shaded by its share."""
    return Cell(whole(number_of), number_of, shade=round(45 * number_of / of) if of else None)


def _rightly(row: dict[str, Any]) -> Cell:
    """How often the story was right; a dash where no compared family is the truth."""
    right = row.get("right")
    return Cell("–") if right is None else Cell(f"{right} of {row['n']}", right)


def _family(name: str) -> str:
    """Name of a family that fits into a table."""
    return capital(STORIES[name]) if name in ("poisson", "mse_counts") else short(name)


def spread(data: Dataset, metrics: list[str], label: str) -> Table | None:
    """Spread of each loss beside what is right, with the genes whose dispersion can be known."""
    table = by_loss(data, metrics, label)
    if table is None:
        return None
    known = identifiable(data)
    shown = [name for name in metrics if name in data.metrics]
    right = [Cell(RIGHT.get(name) or nominal(name) or "–") for name in shown]
    rows = [([Cell("What is right", mark="name"), *right, *([Cell("–")] if known else [])], "own")]
    contestants = {data.short(name): name for name in [*data.losses, *data.baselines]}
    for cells, mark in table.rows:
        share = known.get(contestants[cells[0].text])
        text = "–" if share is None else percent(share)
        rows.append(([*cells, *([Cell(text, share)] if known else [])], mark))
    columns = [
        Column(c.label, "" if k else c.note, c.numeric) for k, c in enumerate(table.columns)
    ]
    if known:
        columns.append(Column("genes with a known θ", "NB noise refitted"))
    return Table(label, columns, rows)


def identifiable(data: Dataset) -> dict[str, float]:
    """Share of genes whose inverse dispersion can be known, by contestant.

    From NB noise refitted around the contestant's means: the standard error of log θ, averaged
    over seeds, is at most one half.
    """
    errors = data.points("nb", "dispersion_standard_error", level="gene")
    return {str(name): float((row <= IDENTIFIABLE).mean()) for name, row in errors.iterrows()}


def zero_tests(data: Dataset) -> Table | None:
    """How many genes the test of extra zeros finds, here and in simulated data without any."""
    step = data.verdict["zero_inflation"]
    found = step.get("observed") or {}
    if "n_testable" not in found:
        return None
    level = data.verdict.get("settings", {}).get("level", 0.05)
    rows = [
        ("Testable genes", _few(found["n_testable"]), ""),
        (
            f"Significant at a false discovery rate of {percent(level)}",
            _few(found["n_significant"]),
            "",
        ),
        ("Share of the testable genes", percent(found["significant_share"]), ""),
    ]
    compared = step["conditions"].get("significant_share_exceeds_bootstrap", {})
    if "bootstrap_largest" in compared:
        rows.append(
            (
                "Largest share in simulated data without extra zeros",
                percent(compared["bootstrap_largest"]),
                f"{compared['replicates']} simulated, mean {percent(compared['bootstrap_mean'])}",
            )
        )
    lines = [([Cell(what, note=note, mark="name"), Cell(text)], "") for what, text, note in rows]
    columns = [Column("Around the NB network’s means", numeric=False)]
    columns.append(Column("Genes", "mean over seeds"))
    return Table("Test of extra zeros, gene by gene", columns, lines)


def _few(value: float) -> str:
    """A mean of whole numbers, with a decimal only where it has one."""
    return whole(value) if float(value).is_integer() else f"{value:,.1f}"

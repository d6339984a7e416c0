"""Tables of the report: leaderboard, loss × noise, metrics by loss, cost, many data sets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from countae.report.glossary import direction, metric_title
from countae.report.load import NULL, ORACLE, Dataset
from countae.report.look import capital, noise_title, number, whole
from countae.wording import STORIES, short

LEADERBOARD = (
    "log_score", "ranked_probability_score", "brier_zero", "poisson_deviance_explained",
    "pearson_variance", "coverage_90",
)  # fmt: skip
COMPATIBILITY = ("mse_log1p", "poisson_loss")
NOISE_NOTES = {"native": "what the loss claims", "mse_counts": "one spread per gene"}


@dataclass(frozen=True)
class Cell:
    """What stands in a cell; ``value`` is what it is sorted by, ``note`` stands below, smaller."""

    text: str
    value: float | str | None = None
    note: str = ""
    mark: str = ""
    shade: int | None = None


@dataclass(frozen=True)
class Column:
    """Head of a column, with a remark below it."""

    label: str
    note: str = ""
    numeric: bool = True
    mark: str = ""


COST = (
    Column("Loss", numeric=False), Column("Fits"), Column("Seconds", "per fit"),
    Column("Epochs", "mean"), Column("Kept", "best epoch"),
    Column("Peak memory", "MB, whole process"), Column("Parameters", "of the network"),
    Column("Device", "and threads", numeric=False),
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table with a name for screen readers; each row is a list of cells and a class."""

    label: str
    columns: list[Column]
    rows: list[tuple[list[Cell], str]] = field(default_factory=list)
    sorted_by: int | None = None


def leaderboard(data: Dataset) -> Table:
    """Every loss with every noise, and the controls, best log score first."""
    metrics = [name for name in (*LEADERBOARD, *COMPATIBILITY) if name in data.metrics]
    columns = [Column("Loss", numeric=False), Column("Noise", numeric=False)]
    columns += [_metric_column(name) for name in metrics] + [Column("Seeds")]
    rows = []
    for contestant in [*data.losses, *data.baselines]:
        for noise in data.noises:
            cells = [_score_cell(data, contestant, noise, name) for name in metrics]
            if all(cell.value is None for cell in cells):
                continue
            is_loss = contestant in data.losses
            seeds = len(data.seeds) if is_loss else 1
            rows.append(
                (
                    [
                        _name(data, contestant),
                        Cell(noise_title(noise), noise_title(noise)),
                        *cells,
                        Cell(str(seeds) if is_loss else "–", seeds),
                    ],
                    _row_class(is_loss, noise, contestant),
                )
            )
    by = next((k for k, name in enumerate(metrics, start=2) if name == "log_score"), None)
    if by is not None:
        rows.sort(key=lambda row: _order(row[0][by]))
    return Table("Leaderboard: losses, noise and controls", columns, rows, by)


def _order(cell: Cell) -> float:
    """What rows are sorted by; scores that are missing or not finite come last."""
    return cell.value if isinstance(cell.value, float) else math.inf


def _name(data: Dataset, contestant: str) -> Cell:
    """Short name with the full one below it."""
    text, title = data.short(contestant), data.title(contestant)
    note = title if contestant in data.losses else "control"
    return Cell(text, text, "" if note == text else note, "name")


def _row_class(is_loss: bool, noise: str, contestant: str) -> str:
    if is_loss:
        return "own" if noise == "native" else "refitted"
    own = noise == "native" or (contestant == NULL and noise in ("nb", "poisson"))
    return "control own" if own else "control refitted"


def _metric_column(name: str) -> Column:
    mark = "compatibility" if name in COMPATIBILITY else ""
    note = "compatibility only" if mark else direction(name)
    return Column(metric_title(name), note, mark=mark)


def _score_cell(data: Dataset, contestant: str, noise: str, metric: str) -> Cell:
    value, spread = data.summary(contestant, noise, metric)
    mark = "compatibility" if metric in COMPATIBILITY else ""
    if math.isnan(value):
        return Cell("–", None, mark=mark)
    note = f"± {number(spread)}" if spread is not None and math.isfinite(spread) else ""
    return Cell(number(value), value if math.isfinite(value) else None, note, mark)


def factorial(data: Dataset) -> Table | None:
    """Log score of each loss (rows) with each noise (columns), shaded from best to worst."""
    noises = data.noises
    scores = {
        (name, noise): data.summary(name, noise, "log_score")[0]
        for name in [*data.losses, *data.baselines]
        for noise in noises
    }
    known = [value for value in scores.values() if math.isfinite(value)]
    if not known:
        return None
    low = min(known)
    null = scores.get((NULL, "nb"), math.nan)
    high = null if math.isfinite(null) and null > low else max(known)
    rows = []
    for name in [*data.losses, *data.baselines]:
        head = Cell(data.short(name), mark="name")
        cells = [_shaded(scores[name, noise], low, high) for noise in noises]
        rows.append(([head, *cells], "" if name in data.losses else "control"))
    columns = [Column("Means from", numeric=False)]
    columns += [
        Column(f"{capital(noise_title(noise))} noise", NOISE_NOTES.get(noise, ""))
        for noise in noises
    ]
    return Table("Log score by loss and noise", columns, rows)


def _shaded(value: float, low: float, high: float) -> Cell:
    """A score with a shade: full for the best of the table, none for the null and worse."""
    if not math.isfinite(value):
        return Cell(number(value))
    share = 1 - min(1.0, (value - low) / (high - low)) if high > low else 0.0
    return Cell(number(value), value, shade=round(45 * share))


def by_loss(
    data: Dataset, metrics: list[str], label: str, *, noise: str = "native"
) -> Table | None:
    """Metrics (columns) of each loss' distribution, and of the controls."""
    metrics = [name for name in metrics if name in data.metrics]
    rows = []
    for name in [*data.losses, *data.baselines]:
        column = "nb" if name == NULL and noise == "native" else noise
        cells = [_score_cell(data, name, column, metric) for metric in metrics]
        if all(cell.value is None for cell in cells):
            continue
        note = "control, with NB noise" if name == NULL else ""
        head = Cell(data.short(name), note=note, mark="name")
        rows.append(
            ([head, *cells], "" if name in data.losses else "control")
        )  # fmt: skip
    if not metrics or not rows:
        return None
    columns = [Column("Loss", numeric=False), *(_metric_column(name) for name in metrics)]
    return Table(label, columns, rows)


def gene_pairs(data: Dataset) -> Table | None:
    """On how many testable genes the loss of the row is better than that of the column."""
    pairs = data.verdict.get("gene_pairs")
    if not pairs:
        return None
    found = {(pair["better"], pair["worse"]): pair["genes"] for pair in pairs}
    rows = []
    for loss in data.losses:
        genes = [found.get((loss, other)) for other in data.losses]
        cells = [Cell("" if n is None else whole(n), n, mark="won" if n else "") for n in genes]
        rows.append(([Cell(short(loss), mark="name"), *cells], ""))
    columns = [Column("Better than", numeric=False), *(Column(short(n)) for n in data.losses)]
    return Table("Genes on which the loss of the row is better", columns, rows)


def cost(data: Dataset) -> Table:
    """What each loss took: time, epochs, memory, parameters, device."""
    rows = []
    for loss in data.losses:
        records = data.compared(loss)
        seconds = [record["seconds"] for record in records]
        epochs = fmean(len(record["train_loss"]) for record in records)
        kept = fmean(record["best_epoch"] + 1 for record in records)
        memory = max(record["peak_memory_mb"] for record in records)
        places = sorted({f"{r['device']}, {r['threads']}" for r in records})
        spread = f"± {stdev(seconds):.1f}" if len(seconds) > 1 else ""
        cells = [
            Cell(data.short(loss), mark="name"), Cell(str(len(records)), len(records)),
            Cell(f"{fmean(seconds):,.1f}", fmean(seconds), spread),
            Cell(whole(epochs), epochs), Cell(whole(kept), kept), Cell(whole(memory), memory),
            Cell(whole(records[0]["parameters"]), records[0]["parameters"]),
            Cell("; ".join(places)),
        ]  # fmt: skip
        rows.append((cells, ""))
    return Table("Cost of each loss", list(COST), rows)


def convergence(data: Dataset) -> list[str]:
    """A sentence for each fit that did not stop by itself."""
    return [
        f"{data.title(loss)}, seed {record['seed']}: stopped by {record['stop_reason']} after "
        f"{len(record['train_loss']):,} epochs"
        for loss in data.losses
        for record in data.records[loss]
        if record["stop_reason"] != "converged"
    ]


def triage(data: Dataset) -> Table:
    """What the matrix is, raw and as it was modelled."""
    raw, modelled = data.triage["raw"], data.triage["modelled"]
    rows = []
    for key in raw:
        texts = plain(raw[key]), plain(modelled.get(key))
        rows.append(([Cell(key.replace("_", " "), mark="name"), *map(Cell, texts)], ""))
    columns = [Column("Quantity", numeric=False), Column("as given"), Column("as modelled")]
    return Table("The count matrix", columns, rows)


def plain(value: Any) -> str:
    """A value from a JSON file, for people."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, list):
        joint = " to " if len(value) == 2 and all(isinstance(v, float) for v in value) else ", "
        return joint.join(map(plain, value)) or "none"
    if isinstance(value, int):
        return whole(value)
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else whole(value)
    return str(value) if value != "" else "–"


def overview(datasets: list[Dataset], anchors: list[str]) -> tuple[Table, list[str]]:
    """Data sets (rows) × losses (columns): native log scores, and the verdict of each."""
    losses = list(dict.fromkeys(loss for data in datasets for loss in data.losses))
    rows = []
    for data in datasets:
        axis = data.verdict["axes"]["overall"]
        cells = [_overview_cell(axis, loss) for loss in losses]
        zeros = "asserted" if data.verdict["zero_inflation"]["asserted"] else "not asserted"
        advice = "none" if axis["outcome"] == "abstain" else short(axis["recommended"])
        rows.append(
            ([Cell(data.name, mark="name"), *cells, Cell(outcome_word(axis["outcome"])),
              Cell(advice), Cell(_story(data)), Cell(zeros)], "")
        )  # fmt: skip
    columns = [Column("Data set", numeric=False), *(Column(short(loss)) for loss in losses)]
    columns += [Column("Verdict", numeric=False), Column("Recommended", numeric=False)]
    columns += [Column("Story", numeric=False), Column("Zero inflation", numeric=False)]
    return Table("Log score of each loss on each data set", columns, rows), anchors


def _story(data: Dataset) -> str:
    """Family that tells the story, with a mark where part of it is open."""
    story = data.verdict["story"]
    return STORIES.get(story["family"], short(story["family"])) + "?" * bool(story["doubts"])


def _overview_cell(axis: dict[str, Any], loss: str) -> Cell:
    score = axis["scores"].get(loss)
    if score is None:
        return Cell("not run")
    gap = score - axis["scores"][axis["best"]]
    note = "best" if loss == axis["best"] else f"{number(gap, sign=True)}"
    mark = "contender" if loss in axis["contenders"] and axis["outcome"] != "abstain" else ""
    return Cell(number(score), score, note, mark)


def outcome_word(outcome: str) -> str:
    """Name of an outcome for people."""
    words = {"winner": "Winner", "tie": "Tie", "undecided": "Undecided", "abstain": "No verdict"}
    return words.get(outcome, outcome)


def has_oracle(data: Dataset) -> bool:
    """Whether the truth was scored too."""
    return ORACLE in data.baselines

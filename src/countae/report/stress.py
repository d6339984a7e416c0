"""Stress tests, a curve per loss of what changes and what is left over the null; later use."""

from __future__ import annotations

from typing import Any

import altair as alt

from countae.errors import ScoreError
from countae.registry import shown
from countae.report.figures import (
    Figure,
    Panels,
    figure,
    layered,
    loss_colour,
    loss_dash,
    loss_shape,
    values,
)
from countae.report.load import Dataset
from countae.report.look import number, percent, whole
from countae.report.tables import Cell, Column, Table
from countae.wording import short

SHOWN = "own"  # noise of the curves; the table has the refitted one too
KEYS = {"tests", "confidence", "errors_by", "left_out"}
TEST_KEYS = {"rows", "by_group", "over", "clean", "level", "meaning", "retrains", "sentence"}
LONGEST_NAME = 60  # of a group, in a table
LATER = {
    "nmi": ("NMI", "clusters v. labels"),
    "ari": ("ARI", "clusters v. labels"),
    "silhouette": ("Silhouette", "of the labels"),
    "knn_purity": ("Purity of neighbours", "share of the own label"),
    "knn_overlap": ("Overlap of neighbours", "between halves of the molecules"),
    "marker_recovery": ("Markers recovered", "share, of held-out cells"),
}
PROTEIN = {"rna_protein": ("RNA and protein", "rank correlation")}  # where proteins were counted
NO_RESULT = Cell("no result", note="a fit diverged")
MEASURES = {
    "change": ("Change of the log score", "nats per entry, lower is better"),
    "lead": ("Lead over the refitted null", "nats per entry, above 0 is better"),
}


def curves(data: Dataset) -> dict[str, Panels]:
    """The measures of each test against its level, by ``stress-`` and the test's name.

    Raises
    ------
    ScoreError
        When stress.json is of another version.
    """
    found = _found(data)
    return {
        f"stress-{name}": Panels(
            f"{_title(name)}, by {test['level']}",
            f"Own distribution of each loss. Bars: {_interval_words(found, test)}.",
            [_curve(data, _rows(data, test), test, measure) for measure in MEASURES],
            wide=True,
        )
        for name, test in found.get("tests", {}).items()
    }


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _interval_words(found: dict[str, Any], test: dict[str, Any]) -> str:
    return f"{percent(found['confidence'])} interval over {test['over']}"


def told(data: Dataset, drawn: dict[str, Any]) -> list[dict[str, Any]]:
    """What the page says of each test; empty where none was made.

    ``drawn`` is what the page keeps of each of the :func:`curves`. Raises the same.
    """
    found = _found(data)
    if not found:
        return []
    return [
        _test(data, name, test, _interval_words(found, test), _missing(found, name))
        | {"drawings": drawn[f"stress-{name}"]}
        for name, test in found["tests"].items()
    ]


def left_out(data: Dataset) -> list[tuple[str, str]]:
    """What of the tests could not be made, and why. Raises the same as :func:`curves`."""
    return [(_what(entry), entry["reason"]) for entry in _found(data).get("left_out", [])]


def _what(entry: dict[str, Any]) -> str:
    """The test, level, group and fit of which a reason speaks."""
    text = _title(entry["test"])
    text += "" if entry["level"] is None else f" at {entry['level']:g}"
    text += f", {shown(entry['group'], LONGEST_NAME)}" if entry["group"] else ""
    fit = entry["likelihood"]
    return text + (f", {short(fit)} with seed {entry['seed']}" if fit is not None else "")


def _missing(found: dict[str, Any], name: str) -> set[str]:
    """Losses of a test some of whose fits diverged."""
    return {e["likelihood"] for e in found["left_out"] if e["test"] == name} - {None}


def _found(data: Dataset) -> dict[str, Any]:
    """Content of stress.json; empty where there is none."""
    found = data.stress
    if found is None:
        return {}
    whole = isinstance(found, dict) and not KEYS - {*found}
    if not whole or any(TEST_KEYS - {*test} for test in found["tests"].values()):
        raise ScoreError(
            f"{data.name}: stress.json must have the keys {', '.join(sorted(KEYS))}, and each "
            f"test {', '.join(sorted(TEST_KEYS))}. An older countae wrote it. Fix: make it again "
            "with `countae stress-table`."
        )
    return found


def _rows(data: Dataset, test: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in test["rows"] if row["likelihood"] in data.losses]


def _test(
    data: Dataset, name: str, test: dict[str, Any], interval: str, missing: set[str]
) -> dict[str, Any]:
    rows = _rows(data, test)
    trained = "trained again on the changed counts, each with the seed of its clean network"
    return {
        "title": _title(name),
        "meaning": test["meaning"],
        "trained": f"Networks are {trained}." if test["retrains"]
        else "Networks are those trained on clean counts.",
        "sentence": test["sentence"],
        "table": _table(data, rows, test, missing),
        "groups": _groups_table(data, test),
        "hint": _hint(rows, interval),
    }  # fmt: skip


def _hint(rows: list[dict[str, Any]], interval: str) -> str:
    text = (
        f"In brackets: {interval}. Refitted: NB noise around the loss’ means, so that only the "
        "means differ between losses. Latent v. depth: share of the variance of log library size "
        "that the latent coordinates explain. Residuals v. depth: rank correlation of a cell’s "
        "mean residual with its library size, at the hardest level; both are best near 0."
    )
    if any(row["above_oracle"] for row in rows):
        text += " Above the truth: distance from the distribution that made the counts."
    return text


def _curve(
    data: Dataset, rows: list[dict[str, Any]], test: dict[str, Any], measure: str
) -> Figure:
    """Change or lead of each loss against the level."""
    levels = _levels(rows, test)
    points = [
        {
            "loss": short(row["likelihood"]), "level": _level_name(row["level"], test),
            **row[measure],
        }
        for row in rows
        if row["noise"] == SHOWN
    ]  # fmt: skip
    title, axis = MEASURES[measure]
    names = [_level_name(level, test) for level in levels]
    x = alt.X("level:N", sort=names, title=test["level"], axis=alt.Axis(labelAngle=0))
    offset = alt.XOffset("loss:N", sort=[short(loss) for loss in data.losses])
    base = alt.Chart(values(points)).encode(x=x, xOffset=offset, color=loss_colour(data))
    lines = base.mark_line(opacity=0.5).encode(
        y=alt.Y("value:Q", title=axis), strokeDash=loss_dash(data)
    )
    bars = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=axis), y2=alt.Y2("high"))
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(
        y=alt.Y("value:Q", title=axis),
        shape=loss_shape(data),
        tooltip=[
            alt.Tooltip("loss:N"),
            alt.Tooltip("level:N"),
            *(alt.Tooltip(f"{name}:Q", format="+.4f") for name in ("value", "low", "high")),
        ],
    )
    zero = alt.Chart(values([{"zero": 0}])).mark_rule(color="#8A8A8A").encode(y=alt.Y("zero:Q"))
    return figure(layered(zero, lines, bars, dots), title, axis, height=260)


def _table(
    data: Dataset, rows: list[dict[str, Any]], test: dict[str, Any], missing: set[str]
) -> Table:
    """A row per loss and noise: clean score, then change and lead at every level.

    ``missing`` are losses of which a fit diverged: where they have no result it is said.
    """
    levels = _levels(rows, test)
    oracle = any(row["above_oracle"] for row in rows)
    columns = [Column("Loss", numeric=False), Column("Noise", numeric=False), Column("Clean")]
    for level in levels[1:]:
        columns += [Column(f"Change at {level:g}"), Column(f"Lead at {level:g}")]
    columns += [Column("Above the truth", f"at {levels[-1]:g}")] if oracle else []
    columns += [Column("Latent v. depth"), Column("Residuals v. depth")]
    known = {(row["likelihood"], row["noise"], row["level"]): row for row in rows}
    lines = []
    for loss in data.losses:
        for noise in ("own", "refitted"):
            own = [known.get((loss, noise, level)) for level in levels]
            if not any(own) and loss not in missing:
                continue
            first, last = own[0], own[-1]
            cells = [Cell(short(loss), mark="name"), Cell(noise), _plain(_of(first, "score"))]
            for row in own[1:]:
                told = NO_RESULT if row is None and loss in missing else None
                cells += [told or _interval(_of(row, name)) for name in MEASURES]
            cells += [_interval(_of(last, "above_oracle"))] if oracle else []
            cells += [_plain(_of(last, name)) for name in ("latent_depth", "residual_depth")]
            lines.append((cells, "own" if noise == "own" else ""))
    return Table(f"Log scores under {test['level']}", columns, lines)


def _of(row: dict[str, Any] | None, name: str) -> Any:
    """A number of a point of a curve; None where there is no such point."""
    return None if row is None else row[name]


def _groups_table(data: Dataset, test: dict[str, Any]) -> Table | None:
    """A row per left-out group, loss and level; None for a test that leaves no group out."""
    columns = [
        Column("Left out", numeric=False), Column("Loss", numeric=False), Column("Level"),
        Column("Cells"), Column("Clean"), Column("Change"), Column("Lead"),
    ]  # fmt: skip
    lines = []
    for group, rows in test["by_group"].items():
        own = [row for row in rows if row["noise"] == SHOWN and row["likelihood"] in data.losses]
        clean = {row["likelihood"]: row["score"] for row in own if row["level"] == test["clean"]}
        for row in (row for row in own if row["level"] != test["clean"]):
            cells = [Cell(_cut(group), mark="name"), Cell(short(row["likelihood"]))]
            cells += [Cell(f"{row['level']:g}", row["level"]), Cell(whole(row["cells"]))]
            cells += [_plain(clean.get(row["likelihood"]))]
            cells += [_interval(row[name]) for name in MEASURES]
            lines.append((cells, "own"))
    return Table("Each left-out group by itself", columns, lines) if lines else None


def _cut(name: str) -> str:
    """A group's name as a table may show it."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"


def _levels(rows: list[dict[str, Any]], test: dict[str, Any]) -> list[float]:
    """Levels from the clean one to the hardest."""
    return sorted({row["level"] for row in rows}, key=lambda level: abs(level - test["clean"]))


def _level_name(level: float, test: dict[str, Any]) -> str:
    return f"{level:g} (clean)" if level == test["clean"] else f"{level:g}"


def _interval(found: dict[str, float] | None) -> Cell:
    if found is None:
        return Cell("–")
    low, high = (number(found[end], sign=True) for end in ("low", "high"))
    return Cell(number(found["value"], sign=True), found["value"], f"({low} to {high})")


def _plain(value: float | None) -> Cell:
    return Cell(number(value), value)


def later(data: Dataset) -> dict[str, Any] | None:
    """Sentences and table of later use, where it was judged; higher is better in all of it."""
    if data.downstream is None:
        return None
    if not isinstance(data.downstream, dict) or LATER.keys() - data.downstream.get("measures", {}):
        raise ScoreError(
            f"{data.name}: downstream.json must have the measures {', '.join(LATER)}. An older "
            "countae wrote it. Fix: make it again with `countae downstream`."
        )
    measures, confidence = data.downstream["measures"], data.downstream["confidence"]
    words = {name: text for name, text in (LATER | PROTEIN).items() if name in measures}
    return {
        "sentences": [(text[0], measures[name]["sentence"]) for name, text in words.items()],
        "table": _later_table(data, measures, words),
        "hint": f"Higher is better. In brackets: {percent(confidence)} interval over seeds; it "
        "does not say what other cells would give. NMI and ARI take the best of Leiden over a "
        "grid of resolutions. Neighbours overlap between the two halves of each cell’s molecules. "
        "Markers: the genes that a rank-sum test puts first in each label of the raw test cells, "
        "and how many of these are put first by the denoised counts of the other cells."
        + (
            " RNA and protein: mean over proteins of Spearman’s correlation, over test cells, of "
            "a protein with the expected counts of its gene."
            if "rna_protein" in words
            else ""
        ),
    }


def _later_table(
    data: Dataset, measures: dict[str, Any], words: dict[str, tuple[str, str]]
) -> Table:
    """A row per loss and per control, a column per measure."""
    known = {name: [measures[k]["losses"].get(name) for k in words] for name in data.losses}
    rows = [
        ([Cell(short(name), mark="name"), *map(_seeds, found)], "own")
        for name, found in known.items()
        if any(found)
    ]
    controls = dict.fromkeys(name for k in words for name in measures[k]["controls"])
    for name in controls:
        found = [measures[k]["controls"].get(name) for k in words]
        rows.append(([Cell(name, mark="name"), *map(_plain, found)], "control own"))
    columns = [Column("Loss", numeric=False), *(Column(*text) for text in words.values())]
    return Table("Later use of each loss", columns, rows)


def _seeds(found: dict[str, Any] | None) -> Cell:
    """A mean over seeds with its interval."""
    if found is None:
        return Cell("–")
    ends = found["interval"]
    note = f"({number(ends[0])} to {number(ends[1])})" if ends else ""
    return Cell(number(found["value"]), found["value"], note)

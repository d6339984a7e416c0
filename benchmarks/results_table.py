"""The tables of `results.py`, from its finished cases."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae import likelihoods
from countae.comparison import Difference, paired

REFERENCE, LEVEL = "nb", 0.05
Cases = dict[str, list[dict[str, Any]]]  # of one data set, by contestant, one per seed
HEAD = """\
| contestant | log score | minus NB network | with NB noise | minus NB network | RPS | zeros \
| variance | NMI | s | MB | seeds |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


def tables(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Two tables over all data sets, then one for each, and what is ahead of our networks."""
    data: dict[str, Cases] = {}
    for name, found in rows.items():
        cases: Cases = {}
        for case in found:
            cases.setdefault(case["contestant"], []).append(case)
        if REFERENCE in cases:
            data[name] = cases
    parts = [overview(data, "native", "own distribution"), ""]
    parts += [overview(data, "nb", "with NB noise"), ""]
    for name, cases in data.items():
        parts += [table(name, cases), "", *ahead(cases), ""]
    return "\n".join(parts).rstrip()


def overview(data: dict[str, Cases], column: str, title: str) -> str:
    """Difference of each contestant from our NB network on every data set, in thousandths."""

    def differences(contestant: str) -> dict[str, Difference]:
        found = {
            name: gap(cases[contestant], column, cases[REFERENCE], column)
            for name, cases in data.items()
            if contestant in cases
        }
        return {name: value for name, value in found.items() if value is not None}

    lines = [
        f"### All data sets: {title}, minus NB network, thousandths of a nat", "",
        f"| contestant | {' | '.join(data)} |", "|---" * (1 + len(data)) + "|",
    ]  # fmt: skip
    known = dict.fromkeys(name for cases in data.values() for name in cases)
    of_all = {name: found for name in known if (found := differences(name))}
    typical = {
        name: np.median([found_at.value for found_at in found.values()])
        for name, found in of_all.items()
    }
    for name in sorted(of_all, key=typical.__getitem__):
        cells = [shown(of_all[name].get(at)) for at in data]
        lines.append(f"| {told(name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(found: Difference | None) -> str:
    """A difference in thousandths, in brackets where its 95 % interval holds 0."""
    if found is None:
        return "–"
    low, high = found.interval
    value = f"{1e3 * found.value:+,.1f}"
    return value if low * high > 0 else f"({value})"


def told(contestant: str) -> str:
    """Name of a contestant, in italics unless it is one of our losses at the defaults."""
    return contestant if contestant in likelihoods.names() else f"*{contestant}*"


def table(name: str, cases: Cases) -> str:
    """Every contestant of one data set, the best log score first."""
    one = cases[REFERENCE][0]
    size = f"{len(scores(one, 'native')):,} test cells, {one['genes']:,} genes"
    lines = [f"### {name}: {size}", "", HEAD]
    for contestant in sorted(cases, key=lambda key: mean(cases[key], best(cases[key]))):
        lines.append(f"| {' | '.join(row(contestant, cases))} |")
    return "\n".join(lines)


def row(contestant: str, cases: Cases) -> list[str]:
    """One contestant: scores, differences, diagnostics of its best column, cost."""
    own = cases[contestant]
    cells = [told(contestant)]
    for column in ("native", "nb"):
        value = mean(own, column)
        cells += [number(value), interval(gap(own, column, cases[REFERENCE], column))]
    column = "native" if "native" in own[0]["values"] else "nb"
    for metric in ("ranked_probability_score", "zero_fraction_error", "pearson_variance"):
        cells.append(number(mean(own, column, metric), 3))
    first = next(iter(own[0]["values"]))
    cells.append(number(mean(own, first, "nmi"), 2))
    for cost in ("processor", "memory"):
        known = [case[cost] for case in own if cost in case]
        cells.append(f"{np.mean(known):,.0f}" if known else "–")
    return [*cells, str(len(own))]


def ahead(cases: Cases) -> list[str]:
    """A line for each baseline or peer that is ahead of the best of our networks."""
    ours = min(
        (name for name in cases if name in likelihoods.names()),
        key=lambda name: mean(cases[name], "native"),
    )
    lines = []
    for name, own in cases.items():
        column = best(own)
        found = gap(own, column, cases[ours], "native")
        if name in likelihoods.names() or name == "oracle" or found is None or found.value >= 0:
            continue
        clear = found.interval[1] < 0
        noise = "" if column == "native" else " with NB noise"
        lines.append(
            f"- *{name}*{noise} is ahead of our best network, {ours}, by {-found.value:.4f} "
            f"({-found.interval[1]:.4f} to {-found.interval[0]:.4f})"
            + (": more than chance." if clear else ": no more than chance.")
        )
    return lines or [f"No baseline and no peer is ahead of our best network, {ours}."]


def best(cases: list[dict[str, Any]]) -> str:
    """The column with the lower log score: a contestant's own, or that of NB noise."""
    known = [column for column in ("native", "nb") if column in cases[0]["values"]]
    return min(known, key=lambda column: mean(cases, column))


def mean(cases: list[dict[str, Any]], column: str, metric: str = "log_score") -> float:
    """Average over seeds; NaN where a column or a metric is not there."""
    values = [case["values"].get(column, {}).get(metric) for case in cases]
    return float(np.mean([np.nan if value is None else value for value in values]))


def scores(case: dict[str, Any], column: str) -> np.ndarray:
    """Log score of each test cell, (cell,)."""
    return np.array(case["cells"][column])


def gap(
    own: list[dict[str, Any]], column: str, other: list[dict[str, Any]], other_column: str
) -> Difference | None:
    """Log score minus another's over the same cells and seeds; what has no seeds goes with all."""
    if column not in own[0]["cells"] or own is other:
        return None
    mine, theirs = ({case["seed"]: case for case in part} for part in (own, other))
    seeds = sorted({*mine} & {*theirs}) if "epochs" in own[0] else sorted(theirs)
    a = np.stack([scores(theirs[seed], other_column) for seed in seeds])
    b = np.stack([scores(mine.get(seed, own[0]), column) for seed in seeds])
    return paired(a, b, delta=0.0, level=LEVEL)


def interval(found: Difference | None) -> str:
    """A difference and its 95 % interval, in thousandths of a nat."""
    if found is None:
        return "–"
    low, high = found.interval
    return f"{1e3 * found.value:+.1f} ({1e3 * low:+.1f} to {1e3 * high:+.1f})"


def number(value: float, digits: int = 4) -> str:
    """A number, or a dash where there is none."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}"

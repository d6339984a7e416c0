"""What stress did to every loss: levels, changes and leads over the null, with intervals."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from countae import stress
from countae.comparison import Difference, difference
from countae.errors import ScoreError
from countae.files import read_table
from countae.registry import shown
from countae.wording import short

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "test", "level", "case", "cell", "likelihood", "seed", "own", "refitted", "null", "oracle",
    "clean_own", "clean_refitted", "clean_null", "clean_oracle", "latent_depth", "residual_depth",
    "clean_latent_depth", "clean_residual_depth",
}  # fmt: skip
NOISES = ("own", "refitted")
MAY_BE_UNKNOWN = {name for name in COLUMNS if name.endswith(("oracle", "depth"))}
NUMBERS = COLUMNS - {"test", "case", "cell", "likelihood", "seed"}


def read_stressed(paths: list[Path], cells: Iterable[str] | None = None) -> pd.DataFrame:
    """Tables of ``countae stress`` in one.

    Raises
    ------
    ScoreError
        When a file is none of these, or has a score that is not finite; when two hold the same
        loss, seed, test and level; when the cells of a test and level are not those of every loss
        and seed, or not among ``cells``, where these are given.
    """
    import pandas as pd

    tables = [read_table(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if missing := sorted(COLUMNS - {*table.columns}):
            raise ScoreError(
                f"{path}: must be a table of `countae stress`, but has no {', '.join(missing)}. "
                "Fix: name the right file, or make it again."
            )
        _check_numbers(path, table)
    named = [table.assign(file=str(path)) for path, table in zip(paths, tables, strict=True)]
    joined = pd.concat(named, ignore_index=True)
    twice = joined.duplicated(["test", "level", "case", "likelihood", "seed", "cell"])
    if twice.any():
        first = joined[twice].iloc[0]
        raise ScoreError(
            f"The tables hold {first['likelihood']}, seed {first['seed']}, under "
            f"{first['test']}={first['level']:g} more than once, which would pass for more seeds. "
            "Fix: name each file once."
        )
    for (test, level), rows in joined.groupby(["test", "level"], sort=False):
        _check_same_cells(rows, f"{test}={level:g}")
    if cells is not None and (unknown := {*joined["cell"]} - {*cells}):
        raise ScoreError(
            f"{joined['file'][joined['cell'].isin(unknown)].iloc[0]}: must be of the counts in "
            f"--counts, but {len(unknown):,} of its cells are not there; first: "
            f"{shown(min(unknown, key=str))}. Fix: name the counts.h5ad that the tables were made "
            "from."
        )
    return joined.drop(columns="file")


def _check_numbers(path: Path, table: pd.DataFrame) -> None:
    """Raise ScoreError unless scores are finite; a truth or a link to depth may be unknown."""
    if table.empty:
        raise ScoreError(f"{path}: must hold scores of cells, but is empty. Fix: make it again.")
    for name in sorted(NUMBERS):
        kind = table[name].dtype.kind
        value = table[name].to_numpy() if kind in "fiu" else np.full(len(table), np.nan)
        unknown = np.isnan(value) if kind in "fiu" and name in MAY_BE_UNKNOWN else False
        wrong = ~(np.isfinite(value) | unknown)
        if wrong.any():
            row = table[wrong].iloc[0]
            raise ScoreError(
                f"{path}: `{name}` must hold finite numbers, but {wrong.sum():,} of "
                f"{len(table):,} are not; first: {shown(row[name])} for cell "
                f"{shown(row['cell'])}, under {shown(row['test'])} at {shown(row['level'])}. Fix: "
                "make the table again with `countae stress`."
            )


def _check_same_cells(rows: pd.DataFrame, under: str) -> None:
    """Raise ScoreError unless each loss and seed has the same cells in the same cases."""
    first: tuple[set[tuple[Any, str]], str] | None = None
    for (loss, seed), own in rows.groupby(["likelihood", "seed"], sort=False):
        found = {*zip(own["case"], own["cell"], strict=True)}
        fit = f"{loss}, seed {seed}, in {own['file'].iloc[0]}"
        if first is None:
            first = found, fit
        expected, other = first
        if found == expected:
            continue
        lacking, more = expected - found, found - expected
        case, cell = min(lacking or more, key=str)
        raise ScoreError(
            f"The tables must hold the same cells under {under}, but {fit} lacks {len(lacking):,} "
            f"of the {len(expected):,} of {other}, and has {len(more):,} that are not there; "
            f"first: {shown(cell)}, case {case}. Fix: name tables made from one counts.h5ad, each "
            "whole."
        )


def summarised(
    table: pd.DataFrame, *, level: float, donors: dict[str, str] | None = None
) -> dict[str, Any]:
    """Curves of every test: a row per loss, noise and level, the clean level included.

    Parameters
    ----------
    table : DataFrame
        From :func:`read_stressed`.
    level : float
        Two-sided error level of the intervals, over cells (or donors) and seeds.
    donors : dict, optional
        Donor by name of the cell.

    Returns
    -------
    dict
        Content of stress.json: by test what it is, a ``sentence``, and ``rows`` with ``score``,
        ``null``, ``oracle``, ``change`` (score under stress less that of the same entries clean),
        ``lead`` (null less score) and ``above_oracle``, the last three with intervals.
    """
    rule: dict[str, Any] = {"level": level, "donors": donors}
    tests = {}
    for name, of_test in table.groupby("test", sort=False):
        member = stress.get(str(name))
        rows = []
        for loss, of_loss in of_test.groupby("likelihood", sort=False):
            for noise in NOISES:
                levels = sorted(of_loss["level"].unique(), key=lambda at: abs(at - member.clean))
                # the clean end of a curve: the same cells as at the first level
                first = of_loss[of_loss["level"] == levels[0]]
                rows.append(_row(_as_clean(first, member.clean), loss, noise, **rule))
                rows += [
                    _row(of_loss[of_loss["level"] == at], loss, noise, **rule)
                    for at in levels
                    if at != member.clean
                ]
        tests[str(name)] = {
            "meaning": member.meaning, "level": member.level, "clean": member.clean,
            "retrains": member.retrains, "rows": rows,
            "sentence": sentence(rows, member.clean),
        }  # fmt: skip
    return {"tests": tests, "confidence": 1 - level, "errors_by": "donor" if donors else "cell"}


def _as_clean(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """The clean columns in the place of those under stress."""
    names = [name for name in rows.columns if name.startswith("clean_")]
    return rows.assign(level=level, **{n.removeprefix("clean_"): rows[n] for n in names})


def _row(
    rows: pd.DataFrame, loss: Any, noise: str, *, level: float, donors: dict[str, str] | None
) -> dict[str, Any]:
    """One point of a curve."""
    unit = rows["case"].astype(str) + "\t" + rows["cell"].astype(str)
    wide = rows.assign(unit=unit).pivot(index="seed", columns="unit")
    score, clean, null = (wide[name].to_numpy() for name in (noise, f"clean_{noise}", "null"))
    of_cells = [name.split("\t", 1)[1] for name in wide[noise].columns]
    who = None if donors is None else np.array([donors[name] for name in of_cells])
    oracle = wide["oracle"].to_numpy()
    known = bool(np.isfinite(oracle).all())
    per_case = rows.drop_duplicates(["seed", "case"])

    def interval(gap: np.ndarray) -> dict[str, float]:
        return _told(_over_cells_and_seeds(gap, level, who))

    return {
        "likelihood": str(loss), "noise": noise, "level": float(rows["level"].iloc[0]),
        "seeds": len(wide), "cells": len(of_cells), "score": float(score.mean()),
        "null": float(null.mean()), "oracle": float(oracle.mean()) if known else None,
        "change": interval(score - clean), "lead": interval(null - score),
        "above_oracle": interval(score - oracle) if known else None,
        "latent_depth": _mean(per_case["latent_depth"]),
        "residual_depth": _mean(per_case["residual_depth"]),
    }  # fmt: skip


def _over_cells_and_seeds(gap: np.ndarray, level: float, donors: np.ndarray | None) -> Difference:
    """Mean of a gap, (seed, cell), with the error that comes from cells and from seeds."""
    return difference(
        cell_difference=gap.mean(axis=0), seed_difference=gap.mean(axis=1), delta=0.0,
        level=level, donors=donors,
    )  # fmt: skip


def _told(found: Difference) -> dict[str, float]:
    low, high = found.interval
    return {"value": float(found.value), "low": low, "high": high}


def _mean(values: pd.Series) -> float | None:
    """Mean of the values that there are; None without any."""
    return None if values.isna().all() else float(values.mean())


def sentence(rows: list[dict[str, Any]], clean: float) -> str:
    """What a test says in words, at its hardest level, of the losses' own distributions."""
    own = [row for row in rows if row["noise"] == "own"]
    hardest = max((row["level"] for row in own), key=lambda level: abs(level - clean))
    last = sorted((row for row in own if row["level"] == hardest), key=_change)
    best, worst = last[0], last[-1]
    told = f"Against clean counts, the score at {hardest:g} fares best with {_with_interval(best)}"
    if len(last) > 1:
        told += f", worst with {_with_interval(worst)}"
        apart = worst["change"]["low"] > best["change"]["high"]
        told += "" if apart else "; these intervals overlap, so losses are not told apart"
    behind = [short(row["likelihood"]) for row in last if row["lead"]["high"] < 0]
    ahead = [short(row["likelihood"]) for row in last if row["lead"]["low"] > 0]
    told += f". Better than the refitted null for sure: {', '.join(ahead) or 'none'}"
    return f"{told}; worse for sure: {', '.join(behind) or 'none'}."


def _change(row: dict[str, Any]) -> float:
    return row["change"]["value"]


def _with_interval(row: dict[str, Any]) -> str:
    change = row["change"]
    text = f"{change['value']:+.3f}, {change['low']:+.3f} to {change['high']:+.3f}"
    return f"{short(row['likelihood'])} ({text.replace('-', '−')})"

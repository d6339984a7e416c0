"""What stress did to every loss: levels, changes and leads over the null, with intervals."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from countae import stress
from countae.comparison import Difference, difference, paired
from countae.errors import ScoreError
from countae.files import read_table
from countae.registry import shown
from countae.stress_words import hardest, over, sentence

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
OF_LEFT_OUT = {"test", "level", "group", "likelihood", "seed", "reason"}


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
    told = [entry for table in tables for entry in table.attrs.get("left_out", [])]
    diverged = {(e["test"], e["level"], e["likelihood"], e["seed"]) for e in told}
    fit = joined[["test", "level", "likelihood", "seed"]].itertuples(index=False, name=None)
    whole = joined[[at not in diverged for at in fit]]  # a fit that diverged lacks a whole case
    for (test, level), rows in whole.groupby(["test", "level"], sort=False):
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


def parted(paths: list[Path]) -> tuple[list[Path], list[dict[str, Any]]]:
    """Those of the tables of ``countae stress`` that have rows, and what could not be made.

    Each reason is told once, whatever the number of losses and seeds that met it.

    Raises
    ------
    ScoreError
        When a table cannot be read, or its reasons are not those that ``countae stress`` wrote.
    """
    full, left_out = [], []
    for path in paths:
        table = read_table(path)
        reasons = table.attrs.get("left_out", [])
        known = isinstance(reasons, list) and all(
            isinstance(entry, dict) and OF_LEFT_OUT <= entry.keys() for entry in reasons
        )
        if not known:
            raise ScoreError(
                f"{path}: must say what was left out as `countae stress` does, with "
                f"{', '.join(sorted(OF_LEFT_OUT))}, but does not. Fix: make it again."
            )
        left_out += [entry for entry in reasons if entry not in left_out]
        full += [path] if len(table) or not reasons else []
    return full, left_out


def summarised(
    table: pd.DataFrame,
    *,
    level: float,
    donors: dict[str, str] | None = None,
    left_out: list[dict[str, Any]] | None = None,
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
    left_out : list of dict, optional
        What could not be made (:func:`parted`).

    Returns
    -------
    dict
        Content of stress.json: ``left_out``, and by test what it is, a ``sentence``, and ``rows``
        with ``score``, ``null``, ``oracle``, ``change`` (score under stress less that of the same
        entries clean), ``lead`` (null less score) and ``above_oracle``, the last three with
        intervals, of which ``over`` says over what they are. Where groups were left out
        ``by_group`` has the same rows for each. ``compared`` has the loss with the best score at
        the hardest level, and how far the others are behind it, paired by cell and seed.
    """
    missing, tests = left_out or [], {}
    rule = {"level": level, "donors": donors}
    for name, of_test in table.groupby("test", sort=False):
        of_fits = [e for e in missing if e["test"] == name and e["likelihood"] is not None]
        tests[str(name)] = _of_test(str(name), of_test, of_fits, rule)
    return {
        "tests": tests, "left_out": missing, "confidence": 1 - level,
        "errors_by": "donor" if donors else "cell",
    }  # fmt: skip


def _of_test(
    name: str, table: pd.DataFrame, of_fits: list[dict[str, Any]], rule: dict[str, Any]
) -> dict[str, Any]:
    """What stress.json says of one test; ``of_fits`` are the fits of it that diverged."""
    member, groups = stress.get(name), _groups(table)
    table = table.assign(unit=table["case"].astype(str) + "\t" + table["cell"].astype(str))
    rows = _curves(table, member, rule)
    found = {
        "meaning": member.meaning, "level": member.level, "clean": member.clean,
        "retrains": member.retrains, "over": over(list(groups.values()), *_who(table, rule)),
        "rows": rows,
        "by_group": {
            group: _curves(table[table["case"] == case], member, rule)
            for case, group in groups.items()
        },
        "compared": _compared(table, rows, member.clean, rule),
    }  # fmt: skip
    return found | {"sentence": sentence(found, of_fits)}


def _groups(table: pd.DataFrame) -> dict[int, str]:
    """Name of the group that each case leaves out; tables of before have the case's number."""
    cases = sorted(table["case"].unique())
    known = table["group"].fillna("") if "group" in table else table["case"].map(lambda case: "")
    names = known.groupby(table["case"]).max()
    if len(cases) == 1 and not names[cases[0]]:
        return {}
    return {case: names[case] or f"case {case}" for case in cases}


def _who(table: pd.DataFrame, rule: dict[str, Any]) -> tuple[str, bool]:
    """Over what errors are, and whether each case is one of these."""
    donors = rule["donors"]
    if donors is None:
        return "cell", False
    return "donor", bool((table["cell"].map(donors).groupby(table["case"]).nunique() == 1).all())


def _curves(
    table: pd.DataFrame, member: stress.Stress, rule: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of every loss and noise, from the clean level to the hardest."""
    rows = []
    units = _units(table)
    for loss, of_loss in table.groupby("likelihood", sort=False):
        levels = sorted(of_loss["level"].unique(), key=lambda at: abs(at - member.clean))
        for noise in NOISES:
            at = {at: of_loss[of_loss["level"] == at] for at in levels}
            # the clean end of a curve: the same cells as at the first level that has a result
            clean = (
                _row(_as_clean(at[k], member.clean), units[k], loss, noise, **rule) for k in levels
            )
            rows.append(next((row for row in clean if row), None))
            rows += [
                _row(at[k], units[k], loss, noise, **rule) for k in levels if k != member.clean
            ]
    return [row for row in rows if row is not None]


def _as_clean(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """The clean columns in the place of those under stress."""
    names = [name for name in rows.columns if name.startswith("clean_")]
    return rows.assign(level=level, **{n.removeprefix("clean_"): rows[n] for n in names})


def _units(table: pd.DataFrame) -> dict[float, np.ndarray]:
    """Cases and cells that any loss was scored on, by level."""
    return {at: np.unique(rows["unit"].to_numpy(str)) for at, rows in table.groupby("level")}


def _by_seed(rows: pd.DataFrame, columns: list[str], units: np.ndarray) -> pd.DataFrame:
    """Some columns with a line per seed and, within each, a column per case and cell.

    Seeds that lack one of ``units``, since a fit diverged, are not there.
    """
    n = rows.groupby("seed")["unit"].nunique()
    whole = rows[rows["seed"].isin(n.index[n == len(units)])]
    return whole.pivot(index="seed", columns="unit", values=columns)


def _donors_of(units: np.ndarray, donors: dict[str, str] | None) -> np.ndarray | None:
    return None if donors is None else np.array([donors[at.split("\t", 1)[1]] for at in units])


def _row(
    rows: pd.DataFrame,
    units: np.ndarray,
    loss: Any,
    noise: str,
    *,
    level: float,
    donors: dict[str, str] | None,
) -> dict[str, Any] | None:
    """One point of a curve; none where no seed has all of the cases and cells ``units``."""
    names = [noise, f"clean_{noise}", "null", "oracle"]
    wide = _by_seed(rows, names, units)
    if not len(wide):
        return None
    score, clean, null, oracle = (wide[name][units].to_numpy() for name in names)
    who = _donors_of(units, donors)
    known = bool(np.isfinite(oracle).all())
    per_case = rows[rows["seed"].isin(wide.index)].drop_duplicates(["seed", "case"])

    def interval(gap: np.ndarray) -> dict[str, float]:
        return _told(_over_cells_and_seeds(gap, level, who))

    return {
        "likelihood": str(loss), "noise": noise, "level": float(rows["level"].iloc[0]),
        "seeds": len(wide), "cells": len(units), "score": float(score.mean()),
        "null": float(null.mean()), "oracle": float(oracle.mean()) if known else None,
        "change": interval(score - clean), "lead": interval(null - score),
        "above_oracle": interval(score - oracle) if known else None,
        "latent_depth": _mean(per_case["latent_depth"]),
        "residual_depth": _mean(per_case["residual_depth"]),
    }  # fmt: skip


def _compared(
    table: pd.DataFrame, rows: list[dict[str, Any]], clean: float, rule: dict[str, Any]
) -> dict[str, Any] | None:
    """The loss with the best score at the hardest level, and the others' scores less its own.

    Of their own distributions, paired by cell over the seeds that both have; None for a loss
    that shares no seed with the best one, and where no loss has a result.
    """
    if not rows:
        return None
    at = hardest(rows, clean)
    own = [row for row in rows if (row["noise"], row["level"]) == ("own", at)]
    best, *others = (row["likelihood"] for row in sorted(own, key=lambda row: row["score"]))
    here, units = table[table["level"] == at], _units(table)[at]
    of = {
        loss: _by_seed(here[here["likelihood"] == loss], ["own"], units)["own"]
        for loss in (best, *others)
    }
    return {
        "level": at,
        "best": best,
        "behind": {loss: _gap(of[best], of[loss], rule) for loss in others},
    }


def _gap(best: pd.DataFrame, other: pd.DataFrame, rule: dict[str, Any]) -> dict[str, float] | None:
    """How far a loss is behind the best one, with an interval."""
    a, b = best.align(other, join="inner", axis=0)
    if not len(a):
        return None
    donors = _donors_of(a.columns.to_numpy(), rule["donors"])
    return _told(paired(a.to_numpy(), b.to_numpy(), delta=0.0, level=rule["level"], donors=donors))


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

"""The sentences of the stress tests, made from their numbers."""

from __future__ import annotations

from typing import Any

from countae.registry import shown
from countae.wording import listed, short

Row = dict[str, Any]


def hardest(rows: list[Row], clean: float) -> float:
    """Level that is farthest from the clean one."""
    return max((row["level"] for row in rows), key=lambda level: abs(level - clean))


def over(groups: list[str], unit: str, each_is_one: bool) -> str:
    """Over what the intervals of a test are.

    ``groups`` are those that were left out, if any, ``unit`` is cell or donor, and
    ``each_is_one`` says whether every group is one such unit, as in a shift of donors.
    """
    if not groups:
        return f"{unit}s and seeds"
    if len(groups) == 1:
        return f"{'cells' if each_is_one else f'{unit}s'} of the left-out group, and seeds"
    if each_is_one:
        return f"these {len(groups)} {unit}s, and seeds"
    return f"{unit}s of these {len(groups)} groups, and seeds, not over groups"


def sentence(test: dict[str, Any], of_fits: list[dict[str, Any]]) -> str:
    """What a test says in words, at its hardest level, of the losses' own distributions.

    Parameters
    ----------
    test : dict
        ``rows``, ``by_group``, ``compared``, ``over`` and ``clean`` as in stress.json.
    of_fits : list of dict
        Fits that have no result: ``likelihood``, ``level`` and ``seed``.
    """
    compared, none = test["compared"], _without_result(of_fits)
    if compared is None:
        return f"No loss has a result in all of it.{none}"
    last = _at(test["rows"], compared["level"])
    text = _best(test, {row["likelihood"]: row for row in last})
    if test["by_group"]:
        return f"{text} {_null_by_group(test)}{none}"
    return f"{text} {_null(last, _at(test['rows'], test['clean']))}{none}"


def _at(rows: list[Row], level: float) -> list[Row]:
    """Rows of own distributions at a level."""
    return [row for row in rows if row["noise"] == "own" and row["level"] == level]


def _best(test: dict[str, Any], last: dict[str, Row]) -> str:
    """Who predicts best, who cannot be told from it, and how far it is from the truth."""
    compared = test["compared"]
    row = last[compared["best"]]
    name, lead = short(compared["best"]), _interval(row["lead"])
    at = f"At {compared['level']:g}" + (f", over {test['over']}," if test["by_group"] else "")
    if not compared["behind"]:
        text = f"{at} the lead of {name} over the refitted null is {lead}"
    else:
        near = [short(loss) for loss, gap in compared["behind"].items() if _not_behind(gap)]
        text = f"{at} {name} {'has the best score' if near else 'predicts best'}"
        text += f" (lead over the refitted null {lead}){_in_groups(test)}"
        text += f"; {listed(near)} cannot be told from it" if near else ""
    if row["above_oracle"]:
        text += f"; it is {_interval(row['above_oracle'])} above the truth"
    return f"{text}."


def _in_groups(test: dict[str, Any]) -> str:
    """In how many of the left-out groups the best loss has the best score too."""
    best, level = test["compared"]["best"], test["compared"]["level"]
    firsts = [
        min(rows, key=lambda row: row["score"])["likelihood"]
        for of_group in test["by_group"].values()
        if (rows := _at(of_group, level))
    ]
    if len(firsts) < 2:
        return ""
    return f", the first in {firsts.count(best)} of {len(firsts)} groups"


def _not_behind(gap: dict[str, float] | None) -> bool:
    """Whether a loss cannot be told from the best one; nor can one that shares no seed with it."""
    return gap is None or gap["low"] <= 0


def _null(last: list[Row], clean: list[Row]) -> str:
    """Who is ahead of the null and who is not, and whose lead on clean counts is gone."""
    ahead = [row["likelihood"] for row in last if row["lead"]["low"] > 0]
    behind = [row["likelihood"] for row in last if row["lead"]["high"] < 0]
    unsure = [row["likelihood"] for row in last if row["likelihood"] not in (*ahead, *behind)]
    parts = {"Ahead of the refitted null": ahead, "not told from it": unsure, "behind it": behind}
    text = "; ".join(f"{what}: {_names(found)}" for what, found in parts.items()) + "."
    before = {row["likelihood"] for row in clean if row["lead"]["low"] > 0}
    lost = [row["likelihood"] for row in last if row["likelihood"] in before - {*ahead}]
    return f"{text} Ahead of it on clean counts, but no longer: {_names(lost)}."


def _null_by_group(test: dict[str, Any]) -> str:
    """In which of the left-out groups each loss beats the null; nothing of groups together."""
    level = test["compared"]["level"]
    found = {group: _at(rows, level) for group, rows in test["by_group"].items()}
    losses = dict.fromkeys(row["likelihood"] for rows in found.values() for row in rows)
    parts: dict[str, list[str]] = {}
    for loss in losses:
        lead = {
            group: row["lead"]["low"] > 0
            for group, rows in found.items()
            for row in rows
            if row["likelihood"] == loss
        }
        parts.setdefault(_where(lead), []).append(loss)
    told = "; ".join(f"{where}: {_names(names)}" for where, names in parts.items())
    return f"Beats the refitted null {told}."


def _where(lead: dict[str, bool]) -> str:
    """In which groups the null is beaten, in words."""
    lost = [shown(group, 40) for group, ahead in lead.items() if not ahead]
    n = len(lead)
    if n == 1:
        return f"{'not ' if lost else ''}in {shown(next(iter(lead)), 40)}"
    if not lost:
        return f"in all {n} groups"
    if len(lost) == n:
        return f"in none of {n} groups"
    return f"in {n - len(lost)} of {n} groups, not in {listed(lost)}"


def _without_result(of_fits: list[dict[str, Any]]) -> str:
    """Fits that diverged under stress, in words."""
    seeds: dict[str, list[str]] = {}
    for entry in of_fits:
        place = f" without {shown(entry['group'], 40)}" if entry["group"] else ""
        at = f"{short(entry['likelihood'])} at {entry['level']:g}{place}"
        seeds.setdefault(at, []).append(str(entry["seed"]))
    told = [f"{at} (seed {', '.join(own)})" for at, own in seeds.items()]
    return f" Fits that diverged have no result: {'; '.join(told)}." if told else ""


def _names(losses: list[str]) -> str:
    return ", ".join(map(short, losses)) or "none"


def _interval(found: dict[str, float]) -> str:
    text = f"{found['value']:+.3f}, {found['low']:+.3f} to {found['high']:+.3f}"
    return text.replace("-", "−")

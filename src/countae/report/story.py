"""The verdict for readers: axes, gene classes, when not to believe it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from countae.report.load import Dataset
from countae.report.look import colour_of, number, percent, whole
from countae.report.tables import convergence, outcome_word
from countae.verdict import FEWEST_SEEDS, WORST_AA_ERROR
from countae.wording import ADVICE, listed, short

AXIS_TITLES = {"overall": "Overall", "mean": "Means", "zeros": "Zeros", "dispersion": "Spread"}
CLASS_TITLES = {
    "tie": "tie: no difference that matters",
    "undecided": "undecided: too few counts to tell",
    "not_testable": "not testable: too few non-zero counts",
}
MARGIN = 0.12  # of the width, around what a card's interval shows


@dataclass(frozen=True)
class Interval:
    """Positions in per cent of the width of what a card draws."""

    low: float
    high: float
    value: float
    zero: float
    band_low: float
    band_high: float


@dataclass(frozen=True)
class Card:
    """One axis of the verdict, in words."""

    key: str
    title: str
    outcome: str
    word: str
    headline: str
    question: str
    compared: str
    reason: str
    advice: str
    interval: Interval
    facts: list[tuple[str, str]]


def cards(data: Dataset) -> list[Card]:
    """A card per axis."""
    return [_card(key, axis, data) for key, axis in data.verdict["axes"].items()]


def _card(key: str, axis: dict[str, Any], data: Dataset) -> Card:
    low, high = axis["interval"]
    level = data.verdict.get("settings", {}).get("level", 0.05)
    compared = (
        f"{short(axis['best'])} against {short(axis['against'])}: "
        f"{number(axis['difference'], sign=True)} {axis['unit']}, {percent(1 - level)} interval "
        f"{number(low, sign=True)} to {number(high, sign=True)}"
    )
    facts = [("does not matter below", f"{number(axis['delta'])} {axis['unit']}")]
    if axis["aa_error"] is not None:
        facts.append(("A/A error", percent(axis["aa_error"])))
    if axis["outcome"] != "abstain":
        facts.insert(0, ("simplest that will do", short(axis["recommended"])))
    return Card(
        key, AXIS_TITLES.get(key, short(key)), axis["outcome"], outcome_word(axis["outcome"]),
        _headline(axis), axis["question"], compared, axis["reason"],
        ADVICE.get(axis["outcome"], ""), _interval(axis), facts,
    )  # fmt: skip


def _headline(axis: dict[str, Any]) -> str:
    if axis["outcome"] == "winner":
        return short(axis["winner"])
    if axis["outcome"] == "abstain":
        return "nothing can be said"
    return listed([short(name) for name in axis["contenders"]])


def _interval(axis: dict[str, Any]) -> Interval:
    """Where a difference, its interval, zero and the band that does not matter stand."""
    (low, high), delta = axis["interval"], axis["delta"]
    left, right = min(low, -delta), max(high, delta)
    width = (right - left) or 1.0

    def position(value: float) -> float:
        return round(100 * (MARGIN + (1 - 2 * MARGIN) * (value - left) / width), 2)

    points = (low, high, axis["difference"], 0.0, -delta, delta)
    return Interval(*(position(value) for value in points))


@dataclass(frozen=True)
class Class:
    """A class of genes with its number and the width and colour of its bar."""

    title: str
    number: str
    share: str
    width: float
    colour: str


def gene_classes(data: Dataset) -> list[Class]:
    """Genes by class: sole winners first, then tie, undecided, not testable."""
    tally, colours = data.verdict["genes"], colour_of(data.losses)
    order = [*data.losses, *CLASS_TITLES]
    order += [name for name in tally if name not in order]
    total, most = sum(tally.values()) or 1, max(tally.values(), default=1) or 1
    return [
        Class(
            CLASS_TITLES.get(name) or f"{short(name)} alone is best",
            whole(tally.get(name, 0)),
            percent(tally.get(name, 0) / total),
            round(100 * tally.get(name, 0) / most, 1),
            colours.get(name, ""),
        )
        for name in order
    ]


def limits(data: Dataset) -> list[str]:
    """What the verdict rests on, and when not to believe it."""
    verdict, seeds = data.verdict, len(data.seeds)
    tally = verdict["genes"]
    said = [
        f"It rests on {whole(verdict['n_test_cells'])} test cells, {whole(verdict['n_genes'])} "
        f"genes and {seeds} {'seed' if seeds == 1 else 'seeds'} per loss"
        + (f"; fewer than {FEWEST_SEEDS} seeds give no verdict." if seeds < FEWEST_SEEDS else "."),
        _errors(verdict["errors_by"]),
        "All losses had one network and one training budget. The verdict is about the losses "
        "in this network, not about the best network for each loss.",
        _aa(data),
    ]
    if tally.get("not_testable"):
        said.append(
            f"{whole(tally['not_testable'])} of {whole(sum(tally.values()))} genes have too few "
            "non-zero test counts to say anything about them one by one."
        )
    if not_converged := convergence(data):
        said.append(
            f"{len(not_converged)} fits did not converge (see Training); their losses may be "
            "judged too harshly."
        )
    return said


def _errors(by: str) -> str:
    """What the intervals cover; ``by`` says what counts as one independent observation."""
    donors, one_donor = by.startswith("donor"), by != "cell"
    beyond = "split or experiment" if donors else "split, donor or experiment"
    known = (
        "every cell counts as one observation; if the cells come from several donors, name their "
        "column (the key donor_key of the table of data sets), or the intervals are too narrow"
    )
    if donors:
        known = "cells of one donor are alike, so a donor counts as one observation"
    elif one_donor:
        known = "every cell counts as one observation, and nothing is known of other donors"
    return (
        f"One random split of the cells was used. Errors are by {by}: {known}. Intervals cover "
        f"the chance between {'donors' if donors else 'cells'} and between fits, not what another "
        f"{beyond} would change."
    )


def _aa(data: Dataset) -> str:
    errors = [axis["aa_error"] for axis in data.verdict["axes"].values()]
    known, name = (
        [error for error in errors if error is not None],
        short(data.verdict["control"]["likelihood"]),
    )
    if not known:
        return "There was no A/A control: how often chance looks like a difference is not known."
    worst = max(known)
    advice = (
        "do not trust small differences, and run more seeds."
        if worst > WORST_AA_ERROR
        else f"up to {percent(WORST_AA_ERROR)} is accepted."
    )
    return (
        f"A/A control: {name}, compared with itself over other seeds, was called different in "
        f"{percent(worst)} of the comparisons on the worst axis; {advice}"
    )

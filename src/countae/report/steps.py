"""The story for readers: what the counts are like, and the steps by which that was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from countae.report.load import Dataset
from countae.report.look import capital, noise_title, number, percent
from countae.report.tables import Cell, Column, Table
from countae.wording import DOUBTS, STORIES, listed, short

STATES = {True: "met", False: "not met", None: "not run"}
SIMPLER = {"overdispersion": "Poisson", "zero_inflation": "NB"}
TITLES = {
    "overdispersion": "Step 1: is there more than sampling noise?",
    "zero_inflation": "Step 2: are there extra zeros?",
}
ASSERTED = {
    "overdispersion": ("Overdispersion is asserted.", "Overdispersion is not asserted."),
    "zero_inflation": ("Zero inflation is asserted.", "Zero inflation is not asserted."),
}
CONDITIONS = {
    ("overdispersion", "same_means"): "Around the same means, NB noise predicts held-out counts "
    "better than Poisson noise",
    ("zero_inflation", "same_means"): "Around the same means, ZINB noise predicts held-out counts "
    "better than NB noise",
    "same_means_gap_exceeds_bootstrap": "This lead is larger than on simulated data without "
    "overdispersion",
    "significant_share_exceeds_bootstrap": "More genes look zero-inflated than in simulated data "
    "without extra zeros",
    "network_gap_exceeds_bootstrap": "The lead of the ZINB network over the NB network is larger "
    "than on simulated data without extra zeros",
    "normal_gap_exceeds_bootstrap": "ZINB noise leads normal noise by more than on simulated "
    "normal data cut at zero",
    "no_normal_noise": "Around the same means, ZINB noise predicts better than normal noise",
    "valid": "The networks can be compared at all",
}
UNITS = {"significant_share": "of the testable genes"}


@dataclass(frozen=True)
class Condition:
    """A condition of a step: what it asks, its state, and the numbers behind it."""

    what: str
    state: str
    detail: str


@dataclass(frozen=True)
class Step:
    """A step of complexity, which the counts must earn."""

    title: str
    said: str
    reason: str
    conditions: list[Condition]


@dataclass(frozen=True)
class Story:
    """What the counts are like: the family, why, and what of it nobody can tell."""

    family: str
    reason: str
    doubts: str
    agrees: str
    scores: Table


def told(data: Dataset) -> Story:
    """The story of a data set, beside the prediction verdict."""
    story = data.verdict["story"]
    doubts = [DOUBTS.get(name, short(name)) for name in story["doubts"]]
    return Story(
        capital(STORIES.get(story["family"], short(story["family"]))),
        story["reason"],
        listed(doubts) if doubts else "",
        _agreement(data),
        noise_scores(data),
    )


def _agreement(data: Dataset) -> str:
    """Whether the recommended loss is the one whose distribution tells the story, and if not why.

    Nothing is said of losses when there is no recommendation.
    """
    overall, family = data.verdict["axes"]["overall"], data.verdict["story"]["family"]
    if overall["outcome"] == "abstain":
        return ""
    if data.verdict["recommended"] == family:
        return "Here both answers name the same distribution."
    return (
        f"Here they differ: {short(data.verdict['recommended'])} is recommended to train with, "
        f"while the counts themselves look {STORIES.get(family, short(family))}. Use the first to "
        "choose a loss, the second to say what the data are like."
    )


def noise_scores(data: Dataset) -> Table:
    """Log score of each family of noise around the best means, best first."""
    scores = sorted(data.verdict["story"]["scores"].items(), key=lambda pair: pair[1])
    rows = []
    for noise, score in scores:
        gap = score - scores[0][1]
        note = "best" if noise == scores[0][0] else number(gap, sign=True)
        head = Cell(capital(noise_title(noise)), mark="name")
        mark = "won" if noise == data.verdict["story"]["family"] else ""
        rows.append(([head, Cell(number(score), score, mark=mark), Cell(note, gap)], ""))
    best = short(data.verdict["axes"]["mean"]["best"])
    columns = [Column("Noise", f"around the means of {best}", numeric=False)]
    columns += [Column("Log score", "nats/entry, lower is better"), Column("Behind the best")]
    return Table("Log score of each noise around the best means", columns, rows)


def steps(data: Dataset) -> list[Step]:
    """The two steps, each with its conditions."""
    return [_step(name, data.verdict[name]) for name in TITLES]


def _step(name: str, found: dict[str, Any]) -> Step:
    yes, no = ASSERTED[name]
    conditions = [_condition(name, key, one) for key, one in found["conditions"].items()]
    power = found.get("power")  # of the second step only
    if power and power["replicates"]:
        conditions.append(_power(power))
    return Step(TITLES[name], yes if found["asserted"] else no, found["reason"], conditions)


def _power(found: dict[str, Any]) -> Condition:
    """Whether extra zeros would be seen, which only their absence needs."""
    return Condition(
        "Before their absence is claimed: extra zeros would be seen if they were there",
        STATES[found["met"]],
        f"seen in {found['seen']} of {found['replicates']} simulated data "
        f"{'set' if found['replicates'] == 1 else 'sets'} with extra zeros",
    )


def _condition(step: str, key: str, found: dict[str, Any]) -> Condition:
    what = CONDITIONS.get((step, key)) or CONDITIONS.get(key) or key.replace("_", " ")
    open_ = found["met"] is None and "bootstrap_largest" in found
    state = "cannot tell" if open_ else STATES[found["met"]]
    return Condition(what, state, _detail(step, key, found))


def _detail(step: str, key: str, found: dict[str, Any]) -> str:
    """The numbers behind a condition, in words."""
    if "difference" in found:
        low, high = found["interval"]
        return (
            f"{number(found['difference'], sign=True)} nats/entry ({found['confidence']} interval "
            f"{number(low, sign=True)} to {number(high, sign=True)}; at least "
            f"{number(found['delta'])} is needed)"
        )
    name = key.removesuffix("_exceeds_bootstrap")
    said = []
    if "observed" in found:
        said.append(f"observed: {_amount(name, found['observed'])}")
    if "bootstrap_largest" in found:
        sets = found["replicates"]
        said.append(
            f"largest in {sets} simulated {_simpler(step, key)} data "
            f"{'set' if sets == 1 else 'sets'}: "
            f"{_amount(name, found['bootstrap_largest'])} (mean "
            f"{_amount(name, found['bootstrap_mean'], unit=False)}); {_chance(found['p'])}"
        )
    reason = found.get("reason", "")
    if reason and reason != STATES[found["met"]]:
        said.append(reason)
    elif found["met"] is None and "bootstrap_largest" not in found:
        said.append(f"no {_simpler(step, key)} data were simulated")
    return "; ".join(said)


def _simpler(step: str, key: str) -> str:
    """The family without the step, from which a condition's data were drawn."""
    return "normal" if key.startswith("normal_gap") else SIMPLER[step]


def _amount(name: str, value: float, *, unit: bool = True) -> str:
    """A statistic with its unit; shares of genes as percentages."""
    text = percent(value) if name in UNITS else number(value, sign=True)
    return f"{text} {UNITS.get(name, 'nats/entry')}" if unit else text


def _chance(p: float) -> str:
    """How likely a further simulated data set would go as far."""
    return f"Student's t prediction: {'p < 0.0001' if p < 1e-4 else f'p = {p:.2g}'}"

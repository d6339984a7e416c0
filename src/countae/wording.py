"""The sentences of the verdict, made from its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from countae.verdict import Verdict


def short(name: str) -> str:
    """Name of a loss as people write it: ``mse_log1p`` is MSE log1p, ``nb`` is NB."""
    first, *rest = name.split("_")
    return " ".join([first.upper() if len(first) <= 4 else first.capitalize(), *rest])


def confidence(level: float) -> str:
    """Level of an interval in words."""
    return f"{100 * (1 - level):g} %"


def listed(names: list[str]) -> str:
    """Names joined with commas and "and"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def axis_reason(verdict: Verdict, blocked: list[str]) -> str:
    """Why an axis got its outcome, in one sentence."""
    low, high = verdict.interval
    best, simplest = short(verdict.best), short(verdict.recommended)
    gap = (
        f"{verdict.difference:.4f} {verdict.unit} better than {short(verdict.against)} "
        f"({verdict.confidence} interval {low:.4f} to {high:.4f}; differences within "
        f"±{verdict.delta:.4f} do not matter)"
    )
    if blocked:
        return f"No verdict: {'; '.join(blocked)}."
    if verdict.outcome == "winner":
        return f"{best} is {gap}, and beats every other loss."
    others = [short(name) for name in verdict.contenders if name != verdict.best]
    if verdict.outcome == "tie":
        return (
            f"{best} is {gap}; {listed(others)} cannot be told from it for any practical purpose. "
            f"The simplest of them is {simplest}."
        )
    return (
        f"{best} is {gap}; whether {listed(others)} {'is' if len(others) == 1 else 'are'} worse "
        "cannot be told from these cells and seeds."
    )


def sentence(
    dataset: str,
    overall: dict[str, Any],
    genes: dict[str, int],
    gene_pairs: list[dict[str, Any]],
    inflation: dict[str, Any],
) -> str:
    """The verdict of a data set in one sentence, with its size and its uncertainty."""
    zeros = f"zero inflation is {'' if inflation['asserted'] else 'not '}asserted"
    if overall["outcome"] == "abstain":
        reason = overall["reason"][0].lower() + overall["reason"][1:].rstrip(".")
        return f"{dataset}: {reason}; {zeros}."
    contenders = listed([short(name) for name in overall["contenders"]])
    chosen = short(overall["recommended"])
    said = {
        "winner": f"{chosen} tells the story best",
        "tie": f"{contenders} tell the story equally well, so the simplest, {chosen}, is enough",
        "undecided": f"the data cannot decide between {contenders}; {chosen} is the simplest of "
        "the best",
    }[overall["outcome"]]
    return f"{dataset}: {said}{_lead(overall)}; {_by_gene(overall, genes, gene_pairs)}; {zeros}."


def _lead(overall: dict[str, Any]) -> str:
    """By how much the recommended loss leads the first one that it beats."""
    beaten = [
        pair
        for pair in overall["pairs"]
        if pair["better"] == overall["recommended"] and pair["decision"] == "better"
    ]
    if not beaten:
        return ""
    nearest = min(beaten, key=lambda pair: pair["difference"])
    low, high = nearest["interval"]
    return (
        f" ({nearest['difference']:.4f} {overall['unit']} ahead of {short(nearest['worse'])}, the "
        f"next; {overall['confidence']} interval {low:.4f} to {high:.4f})"
    )


def _by_gene(
    overall: dict[str, Any], genes: dict[str, int], gene_pairs: list[dict[str, Any]]
) -> str:
    """On how many genes the recommended loss is better or worse than each other one."""
    chosen = overall["recommended"]
    testable = sum(number for label, number in genes.items() if label != "not_testable")

    def on_genes(mine: str, other: str) -> str:
        pairs = (pair for pair in gene_pairs if pair[mine] == chosen and pair["genes"])
        found = [f"{short(pair[other])} on {pair['genes']:,}" for pair in pairs]
        return listed(found) if found else "none"

    return (
        f"of {testable:,} testable genes it is better than {on_genes('better', 'worse')}, worse "
        f"than {on_genes('worse', 'better')}"
    )


def zero_inflation_reason(
    asserted: bool, conditions: dict[str, dict[str, Any]], *, inflated_wins: bool
) -> str:
    """Why zero inflation is asserted or not; absence is claimed only where it is shown."""
    first = conditions["same_means"]
    low, high = first["interval"]
    numbers = (
        f"around the means of the {short(first['network'])} network, ZINB noise scores "
        f"{first['difference']:+.4f} nats/entry against NB noise ({first['confidence']} interval "
        f"{low:+.4f} to {high:+.4f}; more than {first['delta']:.4f} would matter)"
    )
    if asserted:
        return f"Zeros beyond the NB's: {numbers}, and both bootstrap conditions hold."
    if first["met"]:
        not_run = any(condition["met"] is None for condition in conditions.values())
        why = (
            "the two conditions that compare with data simulated from the fitted NB were not run; "
            "without them a better fit may be taken for zeros"
            if not_run
            else "a bootstrap condition failed"
        )
        return f"Not asserted: {numbers}, but {why}."
    if high > first["delta"]:
        return f"Not shown: {numbers}; these cells and seeds cannot tell."
    said = f"No excess of zeros over the negative binomial: {numbers}"
    if inflated_wins:
        said += ". The ZINB-trained network predicts better, but not because of excess zeros"
    return f"{said}."

"""The sentences of the verdict, made from its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from countae.verdict import Verdict


def listed(names: list[str]) -> str:
    """Names joined with commas and "and"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def axis_reason(verdict: Verdict, blocked: list[str]) -> str:
    """Why an axis got its outcome, in one sentence."""
    low, high = verdict.interval
    gap = (
        f"{verdict.difference:.4f} {verdict.unit} better than {verdict.against} "
        f"(95 % interval {low:.4f} to {high:.4f}; differences within ±{verdict.delta:.4f} do "
        "not matter)"
    )
    if blocked:
        return f"No verdict: {'; '.join(blocked)}."
    if verdict.outcome == "winner":
        return f"{verdict.best} is {gap}, and beats every other loss."
    others = listed([name for name in verdict.contenders if name != verdict.best])
    if verdict.outcome == "tie":
        return (
            f"{verdict.best} is {gap}; {others} cannot be told from it for any practical purpose. "
            f"The simplest of those within one standard error is {verdict.recommended}."
        )
    return (
        f"{verdict.best} is {gap}; whether {others} "
        f"{'is' if len(verdict.contenders) == 2 else 'are'} worse cannot be told from these "
        "cells and "
        "seeds."
    )


def sentence(
    dataset: str,
    overall: dict[str, Any],
    genes: dict[str, int],
    inflation: dict[str, Any],
    titles: dict[str, str],
) -> str:
    """The verdict of a data set in one sentence, with its size and its uncertainty."""
    name = {key: titles.get(key, key) for key in overall["scores"]}
    low, high = overall["interval"]
    size = f"{overall['difference']:.4f} {overall['unit']}, 95 % interval {low:.4f} to {high:.4f}"
    best, against = name[overall["best"]], name[overall["against"]]
    zeros = "zero inflation is asserted" if inflation["asserted"] else (
        "zero inflation is not asserted"
    )  # fmt: skip
    tied = listed([name[key] for key in overall["contenders"]])
    if overall["outcome"] == "winner":
        said = f"{best} tells the story best: it beats {against}, the next, by {size}"
    elif overall["outcome"] == "tie":
        said = (
            f"{tied} tell the story equally well (the best leads by {size}); take the simplest, "
            f"{name[overall['recommended']]}"
        )
    elif overall["outcome"] == "undecided":
        said = (
            f"the data cannot decide between {tied} (the best leads by {size}); until they "
            "can, take "
            f"{name[overall['recommended']]}"
        )
    else:
        reason = overall["reason"][0].lower() + overall["reason"][1:].rstrip(".")
        return f"{dataset}: {reason}; {zeros}."
    testable = sum(number for label, number in genes.items() if label != "not_testable")
    own = genes.get(overall["recommended"], 0)
    return (
        f"{dataset}: {said}; gene by gene it is the sole winner on {own:,} of {testable:,} "
        f"testable genes, and {zeros}."
    )


def zero_inflation_reason(
    asserted: bool, conditions: dict[str, dict[str, Any]], *, inflated_wins: bool
) -> str:
    """Why zero inflation is asserted or not."""
    first = conditions["same_means"]
    low, high = first["interval"]
    numbers = (
        f"around the means of the {first['network']} network, ZINB noise scores "
        f"{first['difference']:+.4f} nats/entry against NB noise (95 % interval {low:+.4f} to "
        f"{high:+.4f}; at least {first['delta']:.4f} is needed)"
    )
    not_run = [name for name, condition in conditions.items() if condition["met"] is None]
    if asserted:
        return (
            f"Zeros beyond the negative binomial's: {numbers}, and both bootstrap conditions hold."
        )
    if first["met"] is False:
        said = f"No excess of zeros over the negative binomial: {numbers}"
        if inflated_wins:
            said += ". The ZINB-trained network predicts better, but not because of excess zeros"
        return said + "."
    if not_run:
        return (
            f"Not asserted: {numbers}, but the two conditions that compare with data simulated "
            "from the fitted NB were not run, and without them a better fit may be mistaken for zeros."
        )
    return f"Not asserted: {numbers}, but a bootstrap condition failed."

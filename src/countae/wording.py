"""The sentences of the verdict, made from its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from countae.verdict import Verdict


def short(name: str) -> str:
    """Name of a loss as people write it: ``mse_log1p`` is MSE log1p, ``hurdle_nb`` Hurdle NB."""
    first, *rest = name.split("_")
    first = first.upper() if len(first) <= 4 else first.capitalize()
    return " ".join([first, *(word.upper() if len(word) <= 3 else word for word in rest)])


def confidence(level: float) -> str:
    """Level of an interval in words."""
    return f"{100 * (1 - level):g} %"


def decimals(size: float) -> int:
    """How many decimals a number below 10 needs: four, or up to six for its first digit."""
    return 6 if 5e-7 <= size < 5e-6 else 5 if 5e-6 <= size < 5e-5 else 4


def fixed(value: float, *, sign: bool = False) -> str:
    """A number with its decimals and a minus sign; what rounds to zero has no sign."""
    text = f"{value:{'+' if sign else ''}.{decimals(abs(value))}f}"
    return text.replace("-", "−") if float(text) else "0.0000"


def listed(names: list[str]) -> str:
    """Names joined with commas and "and"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def axis_reason(verdict: Verdict, blocked: list[str]) -> str:
    """Why an axis got its outcome, in one sentence."""
    low, high = verdict.interval
    best, simplest = short(verdict.best), short(verdict.recommended)
    gap = (
        f"{fixed(verdict.difference)} {verdict.unit} better than {short(verdict.against)} "
        f"({verdict.confidence} interval {fixed(low)} to {fixed(high)}; differences within "
        f"±{fixed(verdict.delta)} do not matter)"
    )
    if blocked:
        return f"No verdict: {'; '.join(blocked)}."
    if verdict.outcome == "winner":
        return f"{best} is {gap}, and beats every other loss."
    others = [short(name) for name in verdict.contenders if name != verdict.best]
    if verdict.outcome == "tie":
        differ = "differs" if len(others) == 1 else "differ"
        return (
            f"{best} is {gap}; {listed(others)} {differ} from it by less than matters. The "
            f"simplest of them is {simplest}."
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
    told: dict[str, Any] | None,
) -> str:
    """The verdict of a data set in one sentence, with its size and its uncertainty.

    Without ``told`` nothing is said of the story: other protocols than masked entries tell none.
    """
    zeros = f"; {_told(told)}" if told else ""
    if overall["outcome"] == "abstain":
        reason = overall["reason"][0].lower() + overall["reason"][1:].rstrip(".")
        return f"{dataset}: {reason}{zeros}."
    contenders = listed([short(name) for name in overall["contenders"]])
    chosen = short(overall["recommended"])
    said = {
        "winner": f"{chosen} predicts best",
        "tie": f"{contenders} predict equally well, so the simplest, {chosen}, is enough",
        "undecided": f"the data cannot decide between {contenders}; {chosen} is the simplest of "
        "the best",
    }[overall["outcome"]]
    return f"{dataset}: {said}{_lead(overall)}; {_by_gene(overall, genes, gene_pairs)}{zeros}."


def _told(told: dict[str, Any]) -> str:
    """The story in a half-sentence."""
    story, inflation = told["story"], told["zero_inflation"]
    open_steps = bool(story["doubts"]) and story["family"] != "unsettled"
    return (
        f"the story is {STORIES[story['family']]}{' as far as can be told' * open_steps}; "
        f"zero inflation is {'' if inflation['asserted'] else 'not '}asserted"
    )


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
        f" ({fixed(nearest['difference'])} {overall['unit']} ahead of {short(nearest['worse'])}, "
        f"the next; {overall['confidence']} interval {fixed(low)} to {fixed(high)})"
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

    if not testable:
        return "no gene has enough counts to be judged by itself"
    return (
        f"of {testable:,} testable genes it is better than {on_genes('better', 'worse')}, worse "
        f"than {on_genes('worse', 'better')}"
    )


ADVICE = {
    "winner": "Use it, and look up the genes that matter to you in the table of genes.",
    "tie": "The losses in the tie describe these counts equally well: take the simplest, and "
    "do not read anything into which one leads.",
    "undecided": "More cells or more seeds may decide. Until then take the recommended loss, and "
    "do not report one as better.",
    "abstain": "Do not choose a loss from these numbers. Do first what the reason asks for.",
}
STORIES = {
    "poisson": "Poisson",
    "nb": "negative binomial",
    "zinb": "zero-inflated negative binomial",
    "mse_counts": "normal",
    "unsettled": "not settled",
}
FAMILIES = {
    "poisson": "Poisson counts: nothing beyond sampling noise is shown around the best means",
    "nb": "Negative binomial counts: more spread than sampling makes",
    "zinb": "Zero-inflated counts: more zeros than a negative binomial makes",
    "mse_counts": "Normal noise of one spread per gene: what a squared error on counts assumes",
    "unsettled": "No family can be named",
}
DOUBTS = {
    "overdispersion": "whether there is more than sampling noise",
    "zero_inflation": "whether there are extra zeros",
    "normal_noise": "whether normal noise of one spread per gene would do as well",
}


def story_reason(family: str, doubts: list[str], invalid: str, *, compared: bool) -> str:
    """What the counts are like, and what of it nobody can tell."""
    said = FAMILIES[family]
    if invalid:
        return f"{said}: {invalid}."
    if family == "nb" and not doubts:
        said += ", and no more zeros than they have"
    if doubts:
        said += f". Not settled by these data: {listed([DOUBTS[name] for name in doubts])}"
    if not compared and family != "unsettled":
        said += f". The loss that says so, {short(family)}, was not compared"
    return f"{said}."


def _same_means(first: dict[str, Any], richer: str, simpler: str) -> str:
    """The numbers of a comparison around the same means."""
    low, high = first["interval"]
    return (
        f"around the means of the {short(first['network'])} network, {richer} noise scores "
        f"{fixed(first['difference'], sign=True)} nats/entry against {simpler} noise "
        f"({first['confidence']} interval {fixed(low, sign=True)} to {fixed(high, sign=True)}; "
        f"more than {fixed(first['delta'])} would matter)"
    )


def _against_bootstrap(condition: dict[str, Any], what: str) -> str:
    """A statistic beside its values on data drawn from the simpler family."""
    return (
        f"{what} {fixed(condition['observed'])} against at most "
        f"{fixed(condition['bootstrap_largest'])} in {sets(condition['replicates'])} without it"
    )


def sets(number: int) -> str:
    """So many data sets."""
    return f"{number} data {'set' if number == 1 else 'sets'}"


def overdispersion_reason(
    asserted: bool, conditions: dict[str, dict[str, Any]], wins: bool, power: dict[str, Any]
) -> str:
    """Why more than sampling noise is asserted or not."""
    first, boot = conditions["same_means"], conditions["same_means_gap_exceeds_bootstrap"]
    numbers = _same_means(first, "NB", "Poisson")
    if not conditions["valid"]["met"]:
        return f"Not asserted: {conditions['valid']['reason']}."
    if asserted:
        return f"Overdispersed: {numbers}; {_against_bootstrap(boot, 'a lead of')}."
    if first["met"] and "bootstrap_largest" not in boot:
        return (
            f"Not asserted: {numbers}, but it was not compared with enough data from the fitted "
            f"Poisson ({boot['reason']})."
        )
    if first["met"] and boot["met"] is None:
        return (
            f"Not asserted: {numbers}, which is not clearly beyond errors of the means "
            f"({_against_bootstrap(boot, 'a lead of')}; p = {boot['p']:.2g})."
        )
    if first["met"]:
        return (
            f"Not asserted: {numbers}, but errors of the means explain it "
            f"({_against_bootstrap(boot, 'a lead of')})."
        )
    if first["interval"][1] > first["delta"]:
        return f"Not shown: {numbers}; these cells and seeds cannot tell."
    return f"No overdispersion that would matter: {numbers}."


def zero_inflation_reason(
    asserted: bool, conditions: dict[str, dict[str, Any]], wins: bool, power: dict[str, Any]
) -> str:
    """Why zero inflation is asserted or not; absence is claimed only where it is shown."""
    first = conditions["same_means"]
    share = conditions["significant_share_exceeds_bootstrap"]
    gap = conditions["network_gap_exceeds_bootstrap"]
    normal = conditions["normal_gap_exceeds_bootstrap"]
    numbers = _same_means(first, "ZINB", "NB")
    if not conditions["valid"]["met"]:
        return f"Not asserted: {conditions['valid']['reason']}."
    if asserted:
        return (
            f"Zeros beyond the NB's: {numbers}; "
            f"{_against_bootstrap(share, 'share of genes with extra zeros')}; "
            f"{_against_bootstrap(gap, 'lead of the ZINB network')}."
        )
    if first["met"] and not conditions["no_normal_noise"]["met"]:
        better = conditions["no_normal_noise"]["normal_is_better"]
        said = "fits better than either" if better else "is not shown to fit worse"
        return f"Not asserted: {numbers}, but normal noise {said}."
    if first["met"] and normal["met"] is False:
        return (
            f"Not asserted: {numbers}, but normal noise cut at zero does the same "
            f"({_against_bootstrap(normal, 'lead of ZINB over normal noise')})."
        )
    if first["met"]:
        compared = {
            "share of genes with extra zeros": share, "lead of the ZINB network": gap,
            "lead of ZINB over normal noise": normal,
        }  # fmt: skip
        refuted = {what: one for what, one in compared.items() if one["met"] is False}
        unclear = {what: one for what, one in compared.items() if one["met"] is None}
        missing = [c["reason"] for c in unclear.values() if "bootstrap_largest" not in c]
        not_run = not refuted and bool(missing)
        shown = "; ".join(
            _against_bootstrap(condition, what) for what, condition in (refuted or unclear).items()
            if "bootstrap_largest" in condition
        )  # fmt: skip
        if refuted:
            why = f"data without extra zeros do the same ({shown})"
        elif not_run:
            why = (
                "it was not compared with enough data simulated from simpler fits "
                f"({missing[0]}); without them a better fit may be taken for zeros"
            )
        else:
            why = f"this is not clearly beyond what data without extra zeros show ({shown})"
        more = "" if not_run else _power(power) + _lead_of_zinb(wins, power)
        return f"Not asserted: {numbers}, but {why}{more}."
    if first["interval"][1] > first["delta"]:
        return f"Not shown: {numbers}; these cells and seeds cannot tell."
    absent = "No excess of zeros over the negative binomial that would matter"
    claim = absent if power["met"] else "Not shown"
    return f"{claim}: {numbers}{_power(power)}{_lead_of_zinb(wins, power)}."


def _lead_of_zinb(wins: bool, power: dict[str, Any]) -> str:
    """What a ZINB network that wins says of zeros."""
    if not wins:
        return ""
    if power["met"]:
        return ". The ZINB-trained network predicts better, but not because of excess zeros"
    return ". The ZINB-trained network predicts better; whether by excess zeros is open"


def _power(power: dict[str, Any]) -> str:
    """Whether extra zeros would be seen if they were there."""
    if not power["replicates"]:
        return "; whether extra zeros would be seen here was not tested"
    seen = f"{power['seen']} of {sets(power['replicates'])} drawn with them"
    if power["met"] is None:
        return f"; whether extra zeros would be seen here is open (they were in {seen})"
    if power["met"]:
        return f"; extra zeros would be seen, as they were in {seen}"
    return f"; but extra zeros would not be seen here (they were in {seen})"

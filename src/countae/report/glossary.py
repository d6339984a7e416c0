"""Names, directions and meanings of the metrics, from the metrics themselves; and other words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from countae import metrics

TITLES = {
    "ari": "adjusted Rand index",
    "brier_zero": "Brier score of zeros",
    "coverage_50": "coverage of 50\u00a0% interval",
    "coverage_90": "coverage of 90\u00a0% interval",
    "coverage_95": "coverage of 95\u00a0% interval",
    "dawid_sebastiani_score": "Dawid–Sebastiani score",
    "knn_purity": "purity of neighbours",
    "mse_log1p": "MSE log1p",
    "nmi": "normalised mutual information",
    "pearson_variance": "Pearson variance",
    "pit_histogram": "PIT histogram",
    "pit_total_variation": "PIT distance from flat",
    "poisson_deviance_explained": "Poisson deviance explained",
    "poisson_loss": "Poisson loss",
}
DIRECTIONS = {
    "lower": "lower is better",
    "higher": "higher is better",
    "zero": "0 is right",
    "one": "1 is right",
    "nominal": "no direction",
}
WORDS = {
    "loss": "What a network is trained to make small. Each loss also claims a distribution of the "
    "count, and that is what is scored.",
    "own noise, refitted noise": "Own: the distribution that the loss itself claims. Refitted: a "
    "Poisson, NB, ZINB or normal distribution fitted gene by gene around the same means. It "
    "separates the quality of the means from that of the noise.",
    "normal noise": "Rounded normal noise with one spread per gene, whatever the mean: what a "
    "squared error on counts assumes.",
    "story": "What the counts are like, told apart from which network predicts best: the simplest "
    "distribution around the best means that nothing speaks against. Each step to a richer one "
    "has to be earned.",
    "overdispersion": "More variation between cells than sampling molecules makes. A Poisson has "
    "none; a negative binomial has.",
    "simulated data, p": "Counts drawn from a simpler distribution fitted to these data, on which "
    "the same networks are trained and judged. A number counts as evidence only where it exceeds "
    "all of them; p is the chance that one more such data set would go as far.",
    "masked entries, thinning, NB splitting": "Ways of hiding counts. Masked entries hide whole "
    "counts of a cell. Thinning hides each molecule with probability one half. NB splitting hides "
    "half, in such a way that both halves are independent if the counts are negative binomial.",
    "donor": "The person or animal that cells come from. Cells of one donor are alike, so errors "
    "are between donors where donors are known.",
    "gene mean, the null": "No network: each gene's average times the cell's library size. A "
    "network that does not beat it has learnt nothing useful.",
    "oracle": "The distribution that simulated data were drawn from; nothing beats it but by "
    "chance.",
    "nats/entry": "Unit of the log score, per gene and cell. A difference of 0.01 means that the "
    "better loss gave the held-out counts a probability 1 % higher, on (geometric) average.",
    "held-out entry": "A count of a test cell, predicted while hidden from the network and from "
    "the cell's library size. Test cells are never trained on.",
    "practical equivalence, δ": "Differences within ±δ are too small to matter, however certain.",
    "winner, tie, undecided, no verdict": "Winner: beats all others by more than δ, beyond doubt. "
    "Tie: those not beaten lie within ±δ. Undecided: the interval is too wide for either. No "
    "verdict: something was wrong or missing, and the reason says what.",
    "A/A error": "How often the same loss, compared with itself over other seeds, is called "
    "different. It should be near 0.",
    "seed": "Number that fixes a network's starting weights and the order of its training. "
    "Several seeds show how much chance there is in a fit.",
    "zero inflation": "Zeros beyond those that the negative binomial makes by itself. It is "
    "asserted only if four conditions hold; a ZINB network that wins is not enough.",
    "false discovery rate (FDR)": "Of the genes called significant, the share that is "
    "expected to be so by chance. p-values are adjusted for the number of genes (Benjamini and "
    "Hochberg).",
    "mean and inverse dispersion": "The mean μ is the expected count. The inverse dispersion θ "
    "sets the spread: variance μ + μ²/θ; a large θ is Poisson.",
    "genes with a known θ": "Genes whose inverse dispersion can be known at this depth: the "
    "standard error of its logarithm is at most one half.",
    "testable gene": "A gene with enough non-zero test counts to compare losses on it. For the "
    "test of extra zeros: a gene with some zeros and a mean high enough to expect few.",
    "referee": "The same comparison on data simulated from this fit, where the truth is known. It "
    "says what can be told apart at this depth.",
    "mean rank, critical difference": "Over several data sets, a loss' average place, 1 being the "
    "best; mean ranks closer than the critical difference cannot be told apart.",
}
DOI = re.compile(r"doi:(\S+)")


@dataclass(frozen=True)
class Entry:
    """A metric as the glossary lists it."""

    name: str
    title: str
    meaning: str
    direction: str
    unit: str
    doi: str


def metric_title(name: str) -> str:
    """Name of a metric for people."""
    return TITLES.get(name, name.replace("_", " "))


def direction(name: str) -> str:
    """What is good, in words; empty for a metric that is not installed here."""
    if name not in metrics.names():
        return ""
    right = nominal(name)
    return f"{right} is right" if right else DIRECTIONS[metrics.get(name).better]


def nominal(name: str) -> str:
    """The value that is right for a metric that should have a certain one; empty for others."""
    if name not in metrics.names():
        return ""
    found = re.search(r"nominal (\S+)", metrics.get(name).unit)
    return found[1] if found else ""


def entries(names: list[str]) -> list[Entry]:
    """Glossary of the metrics called ``names``, those known here."""
    return [_entry(name) for name in names if name in metrics.names()]


def _entry(name: str) -> Entry:
    metric = metrics.get(name)
    found = DOI.search(metric.function.__doc__ or "")
    doi = found[1].rstrip(".,") if found else ""
    return Entry(
        name,
        metric_title(name),
        metric.meaning.replace("`", ""),
        direction(name),
        metric.unit,
        doi,
    )

"""The verdict: which loss tells the story, on four axes, or why nobody can tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from countae.comparison import aa_error, holm, paired
from countae.gene_verdict import judge_genes
from countae.metrics.dispersion_standard_error import IDENTIFIABLE
from countae.results import NULL, Results
from countae.story import tell
from countae.wording import axis_reason, confidence, sentence, short

if TYPE_CHECKING:
    import pandas as pd

FEWEST_SEEDS = 3
WORST_AA_ERROR = 0.10
LEAST_IDENTIFIABLE = 0.05  # share of genes whose inverse dispersion can be known
BRIER_PER_NAT = 0.5  # Pinsker: a difference of q in P(0) costs at least 2 q² nats, and q² in Brier


@dataclass(frozen=True)
class Axis:
    """What is compared: a metric of one noise column, less that of another if ``minus`` is set."""

    metric: str
    noise: str
    minus: str | None
    unit: str
    question: str


AXES = {
    "overall": Axis(
        "log_score", "native", None, "nats/entry",
        "Which network, with its own distribution, predicts held-out counts best?",
    ),
    "mean": Axis(
        "log_score", "nb", None, "nats/entry",
        "Whose expected counts are best, when all get the same refitted NB noise?",
    ),
    "zeros": Axis(
        "brier_zero", "native", None, "probability²",
        "Whose probability of a zero is best?",
    ),
    "dispersion": Axis(
        "log_score", "native", "nb", "nats/entry",
        "Whose own spread is best, measured against NB noise refitted around the same means?",
    ),
}  # fmt: skip


@dataclass
class Verdict:
    """Decision on one axis. ``winner`` is set only when the outcome is ``winner``.

    ``difference`` and ``interval`` compare the best loss with ``against``, the next best, in the
    axis' unit per entry; above 0 the best is better. ``contenders`` are the losses that are not
    beaten, ``recommended`` the simplest of those that are equivalent to the best or within one
    standard error of it.
    """

    outcome: str
    winner: str | None
    best: str
    against: str
    difference: float
    interval: tuple[float, float]
    confidence: str
    delta: float
    unit: str
    question: str
    contenders: list[str]
    recommended: str
    scores: dict[str, float]
    null: float | None
    aa_error: float | None
    pairs: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""


def decide(
    results: Results,
    settings: dict[str, Any],
    *,
    dataset: str,
    gene_table: pd.DataFrame,
    donors: np.ndarray | None = None,
    drawn: dict[str, list[dict[str, Any]]] | None = None,
    masked: bool = True,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The verdict of a data set, as it stands in verdict.json, and the table of genes.

    Parameters
    ----------
    results : Results
    settings : dict
        The configuration's section ``verdict``.
    dataset : str
    gene_table : DataFrame, one row per gene
        Observed mean, variance, zero fraction and number of non-zeros of the test cells.
    donors : ndarray, (cell,), optional
        Donor of each test cell; errors are then by donor.
    drawn : dict of list of dict, optional
        Statistics of data drawn from simpler families (see :mod:`countae.story`).
    masked : bool
        Whether these are masked entries; other protocols tell no story.

    Returns
    -------
    dict
        ``dataset``, ``sentence``, ``recommended``, ``axes``, ``story``, ``overdispersion``,
        ``zero_inflation``, ``genes``,
        ``seeds``, ``n_test_cells``, ``n_genes``.
    DataFrame
        ``gene_table`` with a score per loss, the class and its evidence.
    """
    cells = {name: results.cells(name) for name in results.likelihoods}
    null = results.cells(NULL, [0])
    control = results.cells(results.control, results.seeds + results.control_seeds)
    records = results.records()
    titles = {name: of_name[0]["title"] for name, of_name in records.items()}
    complexity = {name: of_name[0]["complexity"] for name, of_name in records.items()}
    axes: dict[str, dict[str, Any]] = {}
    invalid: list[str] = []
    for name, axis in AXES.items():
        verdict = compare_on(axis, cells, null, control, complexity, settings, donors)
        identifiable = None
        if name == "dispersion":
            errors = results.gene_metric(axes["mean"]["best"], "nb", "dispersion_standard_error")
            identifiable = float(np.mean([error <= IDENTIFIABLE for error in errors.values()]))
        blocked = _reasons_to_abstain(verdict, results, records, identifiable)
        if identifiable is not None and not blocked and axes["overall"]["outcome"] == "abstain":
            blocked = ["the networks are not comparable overall, so neither is their spread"]
        if name == "overall":
            invalid = blocked
        if blocked:
            verdict.outcome, verdict.winner = "abstain", None
        verdict.reason = axis_reason(verdict, blocked)
        axes[name] = asdict(verdict)
    genes, gene_pairs = judge_genes(results, settings, gene_table, donors)
    told = tell(
        results, cells, axes["mean"], axes["overall"], settings, donors=donors, drawn=drawn,
        blocked=invalid if masked else ["only masked entries tell the story"],
    )  # fmt: skip
    classes = [*results.likelihoods, "tie", "undecided", "not_testable"]
    tally = {name: int((genes["class"] == name).sum()) for name in classes}
    outcome = {
        "dataset": dataset,
        "sentence": sentence(
            dataset, axes["overall"], tally, gene_pairs, told if masked else None
        ),
        "titles": titles,
        "recommended": axes["overall"]["recommended"],
        "axes": axes,
        **told,
        "genes": tally,
        "gene_pairs": gene_pairs,
        "seeds": results.seeds,
        "control": {"likelihood": results.control, "seeds": results.control_seeds},
        "settings": settings,
        "errors_by": _errors_by(donors),
        "n_test_cells": next(iter(null.values())).shape[1],
        "n_genes": len(genes),
    }
    return outcome, genes


def _errors_by(donors: np.ndarray | None) -> str:
    """What counts as one independent observation, in words."""
    number = 0 if donors is None else len(np.unique(donors))
    if number == 1:
        return "cell (all test cells are of one donor)"
    return f"donor ({number})" if number else "cell"


def compare_on(
    axis: Axis,
    cells: dict[str, dict[tuple, np.ndarray]],
    null: dict[tuple, np.ndarray],
    control: dict[tuple, np.ndarray],
    complexity: dict[str, int],
    settings: dict[str, Any],
    donors: np.ndarray | None = None,
) -> Verdict:
    """Verdict on one axis from scores per cell, before the reasons to abstain are looked at.

    Parameters
    ----------
    axis : Axis
    cells : dict by loss of dict by (noise, metric) of ndarray, (seed, cell)
    null, control : dict by (noise, metric)
        Of the gene mean, (1, cell), and of the A/A arm, (seed, cell).
    complexity : dict of int
        Rank of each loss in the order of simplicity.
    settings : dict
        The configuration's section ``verdict``.
    donors : ndarray, (cell,), optional

    Returns
    -------
    Verdict
    """
    rule = {"level": settings["level"], "donors": donors}
    scores = {name: _on_axis(axis, columns) for name, columns in cells.items()}
    means = {name: float(score.mean()) for name, score in scores.items()}
    ranking = sorted(means, key=means.__getitem__)
    best, against = ranking[0], ranking[1]
    # a mean has no noise of its own: the null's NB column stands for it
    null_score = null["nb", axis.metric] if axis.minus is None else None
    delta = _equivalence(axis, means[best], null_score, settings)
    pairs = _pairs(ranking, scores, rule | {"delta": delta})
    of_best = {pair["worse"]: pair for pair in pairs if pair["better"] == best}
    standing = [pair for pair in of_best.values() if pair["decision"] != "better"]
    contenders = [best, *(pair["worse"] for pair in standing)]
    near = [
        pair["worse"]
        for pair in standing
        if pair["decision"] == "equivalent" or pair["difference"] <= pair["standard_error"]
    ]
    same = all(pair["decision"] == "equivalent" for pair in standing)
    outcome = "tie" if same else "undecided"
    if not standing:
        outcome = "winner"
    if null_score is not None:
        gain = paired(scores[best], null_score, delta=0.0, **rule)
        outcome = outcome if gain.p_better <= settings["level"] / 2 else "abstain"
    repeats = _on_axis(axis, control)
    enough = len(repeats) > len(scores[best])
    return Verdict(
        outcome=outcome,
        winner=best if outcome == "winner" else None,
        best=best,
        against=against,
        difference=of_best[against]["difference"],
        interval=of_best[against]["interval"],
        confidence=confidence(settings["level"]),
        delta=delta,
        unit=axis.unit,
        question=axis.question,
        contenders=contenders,
        recommended=min([best, *near], key=lambda name: (complexity[name], means[name])),
        scores=means,
        null=None if null_score is None else float(null_score.mean()),
        aa_error=aa_error(repeats, delta=delta, **rule) if enough else None,
        pairs=pairs,
    )


def _equivalence(
    axis: Axis, best: float, null: np.ndarray | None, settings: dict[str, Any]
) -> float:
    """Half-width of the region in which differences do not matter, in the axis' unit."""
    smallest = settings["equivalence"]
    if axis.metric == "brier_zero":
        smallest *= BRIER_PER_NAT
    if null is None:
        return smallest
    return max(smallest, settings["equivalence_share"] * abs(float(null.mean()) - best))


def _pairs(
    ranking: list[str], scores: dict[str, np.ndarray], rule: dict[str, Any]
) -> list[dict[str, Any]]:
    """Every pair of losses, the one with the better score first, with Holm's correction."""
    names = list(combinations(ranking, 2))
    gaps = [paired(scores[a], scores[b], **rule) for a, b in names]
    adjusted = holm(np.array([float(gap.p_better) for gap in gaps]))
    pairs = []
    for (a, b), gap, p in zip(names, gaps, adjusted, strict=True):
        decision = "equivalent" if gap.equivalent else "undecided"
        pairs.append(
            {
                "better": a,
                "worse": b,
                "difference": float(gap.value),
                "standard_error": float(gap.standard_error),
                "interval": gap.interval,
                "p_holm": float(p),
                "decision": "better" if p <= rule["level"] / 2 else decision,
            }
        )
    return pairs


def _on_axis(axis: Axis, columns: dict[tuple, np.ndarray]) -> np.ndarray:
    """Scores of one loss on an axis, (seed, cell)."""
    score = columns[axis.noise, axis.metric]
    return score if axis.minus is None else score - columns[axis.minus, axis.metric]


def _reasons_to_abstain(
    verdict: Verdict,
    results: Results,
    records: dict[str, list[dict[str, Any]]],
    identifiable: float | None,
) -> list[str]:
    """Why nothing may be said on an axis; empty when something may."""
    reasons = []
    not_converged = [
        f"{name} seed {record['seed']}"
        for name, of_name in records.items()
        for record in of_name
        if record["stop_reason"] != "converged"
    ]
    if len(results.seeds) < FEWEST_SEEDS:
        reasons.append(
            f"only {len(results.seeds)} of the {FEWEST_SEEDS} seeds needed were run, so that "
            "chance between fits cannot be told from a difference between losses"
        )
    if not_converged:
        reasons.append(
            f"{len(not_converged)} fits reached the limit of epochs before they converged "
            f"({', '.join(not_converged[:3])}); raise training.max_epochs"
        )
    if verdict.outcome == "abstain":
        reasons.append(
            f"no network is shown to predict better than the gene's mean with NB noise (best: "
            f"{short(verdict.best)}: {verdict.scores[verdict.best]:.4f} against "
            f"{verdict.null:.4f})"
        )
    if verdict.aa_error is not None and verdict.aa_error > WORST_AA_ERROR:
        reasons.append(
            "the same loss compared with itself was called different in "
            f"{verdict.aa_error:.0%} of cases; run more seeds"
        )
    if identifiable is not None and identifiable < LEAST_IDENTIFIABLE:
        reasons.append(
            f"the inverse dispersion can be identified for {identifiable:.0%} of the genes only; "
            "deeper sequencing or more cells are needed"
        )
    return reasons

"""Whether zeros beyond the negative binomial's may be asserted: three conditions, all needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae.comparison import benjamini_hochberg, paired
from countae.results import Results
from countae.wording import confidence, zero_inflation_reason

INFLATED, PLAIN = "zinb", "nb"  # noise families, and losses, whose difference is zero inflation
TEST = "zero_inflation_test"


def zero_inflation(
    results: Results,
    cells: dict[str, dict[tuple, np.ndarray]],
    mean: dict[str, Any],
    overall: dict[str, Any],
    settings: dict[str, Any],
    *,
    donors: np.ndarray | None = None,
    bootstrap: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """What may be said of extra zeros.

    1. Around the same means, those of the network with the best ones, ZINB noise is better than
       NB noise by more than what does not matter.
    2. The share of genes in which the likelihood-ratio test finds extra zeros, with the NB
       network's held-out means as offsets, exceeds that of data simulated from the fitted NB.
    3. The lead of the ZINB network over the NB network exceeds its lead on such data.

    The last two are one-sided tests against a parametric bootstrap, whose smallest possible
    p-value with B replicates is 1/(B + 1).

    Parameters
    ----------
    results : Results
    cells : dict by loss of dict by (noise, metric) of ndarray, (seed, cell)
    mean, overall : dict
        The verdicts on these axes.
    settings : dict
        The configuration's section ``verdict``.
    donors : ndarray, (cell,), optional
    bootstrap : list of dict, optional
        ``network_gap`` and ``significant_share`` of each replicate; None where it was not run.

    Returns
    -------
    dict
        ``asserted``, ``reason``, ``conditions``, and ``observed``: the statistics of these data.
    """
    observed = statistics(results, cells, settings)
    conditions = {"same_means": _same_means(cells, mean, settings, donors)}
    for name, statistic in (
        ("significant_genes_exceed_bootstrap", "significant_share"),
        ("network_gap_exceeds_bootstrap", "network_gap"),
    ):
        drawn = [record[statistic] for record in bootstrap or []]
        conditions[name] = _exceeds(observed.get(statistic), drawn, settings)
    asserted = all(condition["met"] is True for condition in conditions.values())
    wins = overall["winner"] == INFLATED
    return {
        "asserted": asserted,
        "reason": zero_inflation_reason(asserted, conditions, inflated_wins=wins),
        "conditions": conditions,
        "observed": observed,
    }


def statistics(
    results: Results, cells: dict[str, dict[tuple, np.ndarray]], settings: dict[str, Any]
) -> dict[str, Any]:
    """What the bootstrap is asked about; empty unless NB and ZINB networks are compared.

    Returns
    -------
    dict
        ``network_gap``: lead of the ZINB network, nats/entry, over seeds; ``significant_share``
        of testable genes, ``n_significant`` and ``n_testable``, averaged over seeds.
    """
    if not {INFLATED, PLAIN} <= set(cells):
        return {}
    score = {name: cells[name]["native", "log_score"].mean() for name in (INFLATED, PLAIN)}
    found = {"network_gap": float(score[PLAIN] - score[INFLATED])}
    tested = [
        np.array([*results.gene_metric(PLAIN, PLAIN, TEST, seeds=[seed]).values()])
        for seed in results.seeds
    ]
    number = [significant(p, settings["level"]) for p in tested]
    testable = [int((~np.isnan(p)).sum()) for p in tested]
    shares = [n / max(m, 1) for n, m in zip(number, testable, strict=True)]
    return found | {
        "significant_share": float(np.mean(shares)),
        "n_significant": float(np.mean(number)),
        "n_testable": float(np.mean(testable)),
    }


def significant(p: np.ndarray, level: float) -> int:
    """Number of genes with extra zeros at a false discovery rate of ``level``; NaN: not tested."""
    known = p[~np.isnan(p)]
    return int((benjamini_hochberg(known) <= level).sum()) if known.size else 0


def _same_means(
    cells: dict[str, dict[tuple, np.ndarray]],
    mean: dict[str, Any],
    settings: dict[str, Any],
    donors: np.ndarray | None,
) -> dict[str, Any]:
    """The first condition."""
    network, delta = mean["best"], mean["delta"]
    columns = cells[network]
    gap = paired(
        columns[INFLATED, "log_score"], columns[PLAIN, "log_score"], delta=delta,
        level=settings["level"], donors=donors,
    )  # fmt: skip
    return {
        "met": bool(gap.p_better <= settings["level"] / 2),
        "network": network,
        "difference": float(gap.value),
        "interval": gap.interval,
        "confidence": confidence(settings["level"]),
        "delta": delta,
    }


def _exceeds(
    observed: float | None, drawn: list[float], settings: dict[str, Any]
) -> dict[str, Any]:
    """Whether a statistic is larger than on data without extra zeros."""
    if observed is None:
        return {"met": None, "reason": "needs networks of both ZINB and NB"}
    if not drawn:
        return {"met": None, "reason": "not run", "observed": observed}
    p = (1 + sum(value >= observed for value in drawn)) / (1 + len(drawn))
    return {
        "met": bool(p <= settings["level"]),
        "observed": observed,
        "bootstrap_mean": float(np.mean(drawn)),
        "bootstrap_largest": float(np.max(drawn)),
        "replicates": len(drawn),
        "p": float(p),
    }

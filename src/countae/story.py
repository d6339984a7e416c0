"""Which family tells the story: noise around the same means, each step of complexity earned.

A network's loss decides both its means and its noise, and errors of the means look like noise: on
Poisson counts an NB network predicts better, because its dispersion swallows what the means miss.
So the family is judged apart from the networks, around the best means that any of them found, and
against data drawn from the simpler family's own fit, on which networks make the same errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from countae.comparison import benjamini_hochberg, paired
from countae.results import Results
from countae.wording import confidence, overdispersion_reason, story_reason, zero_inflation_reason

POISSON, PLAIN, INFLATED = "poisson", "nb", "zinb"  # count families, each nested in the next
UNSETTLED = "unsettled"  # no family can be named
NORMAL, GAUSSIAN = "mse_counts", "gaussian"  # the noise, and the simulator of such counts
DROPOUT = "zinb_logistic"  # the simulator that shows whether extra zeros would be seen
TEST = "zero_inflation_test"
FEWEST_REPLICATES = 3
CLEAR = 5e-3  # p-value at which no further replicates are drawn; the test then has a size of 5 %
SMALLEST_SPREAD = {"significant_share": 0.01}
SMALLEST_GAP_SPREAD = 2e-4  # nats/entry
# which simulated family answers which statistic, for the two steps of complexity
ASKED = {
    "overdispersion": {"same_means_gap": POISSON},
    "zero_inflation": {
        "significant_share": PLAIN, "network_gap": PLAIN, "normal_gap": GAUSSIAN,
    },
}  # fmt: skip
RIVALS = {
    POISSON: [POISSON, PLAIN], PLAIN: [PLAIN, INFLATED], GAUSSIAN: [PLAIN, INFLATED],
    DROPOUT: [PLAIN, INFLATED],
}  # fmt: skip
Cells = dict[str, dict[tuple, np.ndarray]]
Drawn = dict[str, list[dict[str, Any]]]


def tell(
    results: Results,
    cells: Cells,
    mean: dict[str, Any],
    overall: dict[str, Any],
    settings: dict[str, Any],
    *,
    donors: np.ndarray | None = None,
    drawn: Drawn | None = None,
    blocked: list[str] | None = None,
) -> dict[str, Any]:
    """The family of the counts, and whether overdispersion and extra zeros may be asserted.

    Parameters
    ----------
    results : Results
    cells : dict by loss of dict by (noise, metric) of ndarray, (seed, cell)
    mean, overall : dict
        The verdicts on these axes.
    settings : dict
        The configuration's section ``verdict``.
    donors : ndarray, (cell,), optional
    drawn : dict of list of dict, optional
        Statistics of data drawn from the fitted ``poisson``, ``nb`` and ``gaussian``, and with
        the extra zeros of ``zinb_logistic``.
    blocked : list of str, optional
        Why the networks cannot be compared; nothing is then asserted.

    Returns
    -------
    dict with ``story``, ``overdispersion`` and ``zero_inflation``
    """
    rule = {"level": settings["level"], "donors": donors, "delta": settings["equivalence"]}
    columns, drawn = cells[mean["best"]], drawn or {}
    observed = statistics(results, cells, mean, settings, donors=donors)
    normal = _better(columns, NORMAL, [POISSON, PLAIN, INFLATED], rule)
    power = would_be_seen(drawn, settings["level"])
    steps: dict[str, dict[str, Any]] = {}
    for name, richer, simpler, word in (
        ("overdispersion", PLAIN, POISSON, overdispersion_reason),
        ("zero_inflation", INFLATED, PLAIN, zero_inflation_reason),
    ):
        first = _same_means(columns, richer, simpler, rule) | {"network": mean["best"]}
        conditions: dict[str, dict[str, Any]] = {"same_means": first}
        for statistic, family in ASKED[name].items():
            values = [record[statistic] for record in drawn.get(family, [])]
            conditions[f"{statistic}_exceeds_bootstrap"] = exceeds(
                statistic, observed.get(statistic), values, settings["level"]
            )
        if name == "zero_inflation":
            conditions["no_normal_noise"] = {
                "met": _better(columns, INFLATED, [NORMAL], rule), "normal_is_better": normal,
            }  # fmt: skip
        conditions["valid"] = {"met": not blocked, "reason": "; ".join(blocked or [])}
        asserted = all(condition["met"] is True for condition in conditions.values())
        wins = overall["winner"] == richer
        steps[name] = {
            "asserted": asserted,
            "reason": word(asserted, conditions, wins, power),
            "conditions": conditions,
        }
    steps["zero_inflation"] |= {"observed": observed, "power": power}
    normal = normal or _as_normal(columns, steps["zero_inflation"]["conditions"], rule)
    counts_lead = any(_better(columns, name, [NORMAL], rule) for name in (PLAIN, INFLATED))
    maybe_normal = not (normal or counts_lead)
    return {"story": _story(columns, steps, normal, maybe_normal, results.likelihoods), **steps}


def statistics(
    results: Results,
    cells: Cells,
    mean: dict[str, Any],
    settings: dict[str, Any],
    *,
    donors: np.ndarray | None = None,
) -> dict[str, Any]:
    """What data drawn from a simpler family are asked about.

    Returns
    -------
    dict
        ``same_means_gap``: lead of NB over Poisson noise around the best means, nats/entry;
        ``zero_p``: that ZINB noise leads NB noise there by no more than what does not matter;
        ``normal_gap``: lead of ZINB over normal noise there. Where NB and ZINB networks are
        compared also ``network_gap``: lead of the ZINB network;
        ``significant_share`` of testable genes with extra zeros around the NB network's means,
        ``n_significant`` and ``n_testable``, all averaged over seeds.
    """
    columns = cells[mean["best"]]
    score = {noise: columns[noise, "log_score"].mean() for noise in (POISSON, PLAIN, INFLATED)}
    rule = {"level": settings["level"], "donors": donors, "delta": settings["equivalence"]}
    found: dict[str, Any] = {
        "same_means_gap": float(score[POISSON] - score[PLAIN]),
        "zero_p": _same_means(columns, INFLATED, PLAIN, rule)["p"],
    }
    found["normal_gap"] = float(columns[NORMAL, "log_score"].mean() - score[INFLATED])
    if not {INFLATED, PLAIN} <= set(cells):
        return found
    score = {name: cells[name]["native", "log_score"].mean() for name in (INFLATED, PLAIN)}
    tested = [
        np.array([*results.gene_metric(PLAIN, PLAIN, TEST, seeds=[seed]).values()])
        for seed in results.seeds
    ]
    number = [significant(p, settings["level"]) for p in tested]
    testable = [int((~np.isnan(p)).sum()) for p in tested]
    shares = [n / max(m, 1) for n, m in zip(number, testable, strict=True)]
    return found | {
        "network_gap": float(score[PLAIN] - score[INFLATED]),
        "significant_share": float(np.mean(shares)),
        "n_significant": float(np.mean(number)),
        "n_testable": float(np.mean(testable)),
    }


def significant(p: np.ndarray, level: float) -> int:
    """Number of genes with extra zeros at a false discovery rate of ``level``; NaN: not tested."""
    known = p[~np.isnan(p)]
    return int((benjamini_hochberg(known) <= level).sum()) if known.size else 0


def questions(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Which families must be drawn from, and the statistics that their data are asked about.

    Parameters
    ----------
    found : dict
        What :func:`tell` returned without bootstrap.

    Returns
    -------
    dict by family; a step is left out when one of its other conditions fails already
    """
    asked: dict[str, dict[str, float]] = {}
    for name, families in ASKED.items():
        conditions = found[name]["conditions"]
        boots = {statistic: conditions[f"{statistic}_exceeds_bootstrap"] for statistic in families}
        others = [
            c["met"] or c.get("normal_is_better") is False  # then draws can tell normal counts
            for key, c in conditions.items()
            if not key.endswith("_bootstrap")
        ]
        if not all(others) or not all("observed" in c for c in boots.values()):
            continue
        for statistic, family in families.items():
            asked.setdefault(family, {})[statistic] = boots[statistic]["observed"]
    return asked


def settled(asked: dict[str, float], drawn: list[dict[str, Any]], level: float) -> bool:
    """Whether further replicates could not change the answer, or hardly."""
    if refuted(asked, drawn):
        return True
    for name, observed in asked.items():
        found = exceeds(name, observed, [record[name] for record in drawn], level)
        if len(drawn) < FEWEST_REPLICATES or found["p"] > CLEAR:
            return False
    return True


def refuted(asked: dict[str, float], drawn: list[dict[str, Any]]) -> bool:
    """Whether a replicate without the step reaches one of the statistics."""
    return any(record[name] >= value for name, value in asked.items() for record in drawn)


def absence_claimed(found: dict[str, Any], drawn: Drawn, level: float) -> bool:
    """Whether the story is NB and more zeros are ruled out, so that power must be shown.

    Parameters
    ----------
    found : dict
        What :func:`tell` returned without bootstrap.
    drawn : dict of list of dict
        Statistics of data drawn from the families that :func:`questions` names.
    level : float
    """
    asked = questions(found)
    if POISSON not in asked or not _passed(asked[POISSON], drawn[POISSON], level):
        return False
    conditions = found["zero_inflation"]["conditions"]
    if conditions["no_normal_noise"]["normal_is_better"]:
        return False
    if not conditions["same_means"]["met"]:
        return not _cannot_tell(conditions)
    return PLAIN in asked and not _passed(asked[PLAIN], drawn[PLAIN], level)


def _passed(asked: dict[str, float], drawn: list[dict[str, Any]], level: float) -> bool:
    """Whether all statistics exceed those of the replicates."""
    found = (exceeds(n, value, [r[n] for r in drawn], level) for n, value in asked.items())
    return all(one["met"] is True for one in found)


def would_be_seen(drawn: Drawn, level: float) -> dict[str, Any]:
    """Whether extra zeros that are there would be found around networks' means.

    In each data set with extra zeros ZINB noise must lead, and where data without them were drawn
    its statistics must exceed theirs. One that is seen with a p-value below ``CLEAR`` is enough,
    otherwise ``FEWEST_REPLICATES`` of them, and one that is not seen denies it.

    Returns
    -------
    dict
        ``met`` (None when it was not run), ``seen``, ``replicates``.
    """
    made, without = drawn.get(DROPOUT, []), drawn.get(PLAIN, [])
    names = [name for name, family in ASKED["zero_inflation"].items() if family == PLAIN]
    seen = [
        record["zero_p"] <= level / 2
        and all(record[name] > r[name] for name in names for r in without)
        for record in made
    ]
    enough = len(made) >= FEWEST_REPLICATES or any(record["zero_p"] <= CLEAR for record in made)
    met = None if all(seen) and not enough else all(seen)
    return {"met": met, "seen": sum(seen), "replicates": len(made)}


def exceeds(name: str, observed: float | None, drawn: list[float], level: float) -> dict[str, Any]:
    """Whether a statistic is larger than on data drawn from the simpler family.

    It must exceed every replicate, and be further out than a new replicate would be at the given
    level (Student's t prediction; an average over thousands of counts is close to normal). One
    that exceeds all of them, but not clearly, is neither shown nor refuted: ``met`` is None.
    """
    if observed is None:
        return {"met": None, "reason": "needs networks of ZINB and NB, and normal noise"}
    if len(drawn) < FEWEST_REPLICATES and not any(value >= observed for value in drawn):
        few = f"{len(drawn)} drawn, at least {FEWEST_REPLICATES} are needed"
        return {"met": None, "reason": few if drawn else "not run", "observed": observed, "p": 1.0}
    n, centre = len(drawn), float(np.mean(drawn))
    spread = max(float(np.std(drawn, ddof=1)) if n > 1 else 0.0, _smallest_spread(name))
    statistic = (observed - centre) / (spread * np.sqrt(1 + 1 / n))
    p = float(stats.t.sf(statistic, max(n - 1, 1)))
    beyond = bool(observed > max(drawn))
    return {
        "met": beyond if p <= level or not beyond else None,
        "observed": observed,
        "bootstrap_mean": centre,
        "bootstrap_largest": float(max(drawn)),
        "replicates": n,
        "p": p,
    }


def _smallest_spread(name: str) -> float:
    """Spread that replicates are believed to have at least, should all of them agree."""
    return SMALLEST_SPREAD.get(name, SMALLEST_GAP_SPREAD)


def _same_means(
    columns: dict[tuple, np.ndarray], richer: str, simpler: str, rule: dict[str, Any]
) -> dict[str, Any]:
    """Whether one noise is better than another around the same means."""
    gap = paired(columns[richer, "log_score"], columns[simpler, "log_score"], **rule)
    return {
        "met": bool(gap.p_better <= rule["level"] / 2),
        "p": float(gap.p_better),
        "difference": float(gap.value),
        "interval": gap.interval,
        "confidence": confidence(rule["level"]),
        "delta": rule["delta"],
    }


def _better(
    columns: dict[tuple, np.ndarray], name: str, others: list[str], rule: dict[str, Any]
) -> bool:
    """Whether a noise is better than all others around the same means."""
    return all(_same_means(columns, name, other, rule)["met"] for other in others)


def _story(
    columns: dict[tuple, np.ndarray],
    steps: dict[str, dict[str, Any]],
    normal: bool,
    maybe_normal: bool,
    likelihoods: list[str],
) -> dict[str, Any]:
    """The simplest family that nothing speaks against, and what of it these data leave open."""
    valid = steps["overdispersion"]["conditions"]["valid"]
    doubts = [name for name, step in steps.items() if _cannot_tell(step["conditions"])]
    family = UNSETTLED if "overdispersion" in doubts else POISSON
    if steps["overdispersion"]["asserted"]:
        family = PLAIN
        if not doubts and not steps["zero_inflation"]["power"]["met"]:
            doubts = ["zero_inflation"]
    if normal or steps["zero_inflation"]["asserted"]:
        family, doubts = (NORMAL if normal else INFLATED), []
    if maybe_normal:
        doubts = [*doubts, "normal_noise"]
    if not valid["met"]:
        family = UNSETTLED
    scores = {
        noise: float(values.mean())
        for (noise, metric), values in columns.items()
        if metric == "log_score" and noise in {POISSON, PLAIN, INFLATED, NORMAL}
    }
    return {
        "family": family,
        "doubts": doubts,
        "scores": scores,
        "reason": story_reason(family, doubts, valid["reason"], compared=family in likelihoods),
    }


def _as_normal(
    columns: dict[tuple, np.ndarray], conditions: dict[str, dict[str, Any]], rule: dict[str, Any]
) -> bool:
    """Whether normals cut at zero explain the zeros and do no worse than NB noise."""
    if not conditions["same_means"]["met"]:
        return False
    if conditions["normal_gap_exceeds_bootstrap"]["met"] is not False:
        return False
    return not _same_means(columns, PLAIN, NORMAL, rule)["met"]


def _cannot_tell(conditions: dict[str, dict[str, Any]]) -> bool:
    """Whether a step is neither shown nor shown to be needless.

    Data drawn from a normal that does worse than NB noise refute nothing: that leaves it open too.
    """
    first = conditions["same_means"]
    if not first["met"]:
        return bool(first["interval"][1] > first["delta"])
    decisive = {name: c["met"] for name, c in conditions.items() if name != "valid"}
    as_normal = decisive.pop("normal_gap_exceeds_bootstrap", True)
    beaten = decisive.pop("no_normal_noise", True)
    if False in decisive.values() or conditions.get("no_normal_noise", {}).get("normal_is_better"):
        return False
    return not (as_normal and beaten) or None in decisive.values()

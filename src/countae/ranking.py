"""Many data sets: ranks of the losses, whether they differ, and by how much they must."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from countae.errors import ScoreError
from countae.files import read_json

FEWEST_DATASETS = 6  # below, neither test can say much
LEVEL = 0.05


def read_verdicts(folders: list[Path]) -> list[dict[str, Any]]:
    """Content of verdict.json of each data set, in the given order.

    Parameters
    ----------
    folders : list of Path
        Folders of data sets' results.

    Raises
    ------
    ScoreError
        When there are fewer than two, a file is not there or has no scores, two data sets have
        one name, or the losses differ.
    """
    if len(folders) < 2:
        raise ScoreError(
            f"Ranks over data sets need the results of at least two, found {len(folders)}. Fix: "
            "name one folder per data set, such as `countae rank results/a results/b`."
        )
    verdicts = [_read(folder / "verdict.json") for folder in folders]
    twice = [name for name, n in Counter(v["dataset"] for v in verdicts).items() if n > 1]
    if twice:
        raise ScoreError(
            f"The data set {twice[0]!r} is there more than once, and would count more than "
            "others. Fix: name each folder once, and folders of the primary protocol only."
        )
    losses = [_scores(verdict).keys() for verdict in verdicts]
    for folder, here in zip(folders, losses, strict=True):
        if here != losses[0]:
            raise ScoreError(
                f"{folder / 'verdict.json'}: compares {', '.join(sorted(here))}, but "
                f"{folders[0] / 'verdict.json'} compares {', '.join(sorted(losses[0]))}. Ranks "
                "need the same losses everywhere. Fix: run the workflow with one list of "
                "`likelihoods` for all data sets."
            )
    return verdicts


def rank(verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    r"""Ranks of the losses on each data set, their means, and what they prove.

    The best loss of a data set has rank 1; equal scores share the mean of their ranks. From six
    data sets on the Friedman test asks whether all losses have the same mean rank, and two of
    them differ when their mean ranks are further apart than the Nemenyi critical difference. With
    two losses Wilcoxon's signed-rank test of their scores stands in the Friedman test's place.

    Parameters
    ----------
    verdicts : list of dict
        From :func:`read_verdicts`; the scores are those of the axis ``overall``, lower is better.

    Returns
    -------
    dict
        ``datasets``, ``abstained`` (those without a verdict on the axis ``overall``), ``losses``,
        ``scores`` and ``ranks`` by data set and loss, ``mean_ranks`` by loss, ``friedman``
        (``statistic`` and ``p``) and ``critical_difference``, each None where it is not made, and
        ``reason``, which says why, or what they show.
        Reference: Demšar 2006, JMLR 7:1-30, sections 3.1.3 and 3.2.2
    """
    from scipy.stats import rankdata

    datasets = [verdict["dataset"] for verdict in verdicts]
    abstained = [v["dataset"] for v in verdicts if v["axes"]["overall"]["outcome"] == "abstain"]
    losses = list(_scores(verdicts[0]))
    scores = np.array([[_scores(verdict)[name] for name in losses] for verdict in verdicts])
    ranks = rankdata(scores, axis=1)
    test, difference = None, None
    if len(datasets) >= FEWEST_DATASETS:
        test = friedman(scores) if len(losses) > 2 else wilcoxon(scores)
        difference = critical_difference(*scores.shape) if len(losses) > 2 else None
    return {
        "datasets": datasets,
        "abstained": abstained,
        "losses": losses,
        "scores": _by_name(datasets, losses, scores),
        "ranks": _by_name(datasets, losses, ranks),
        "mean_ranks": dict(zip(losses, ranks.mean(axis=0).tolist(), strict=True)),
        "friedman": test,
        "critical_difference": difference,
        "reason": _reason(len(datasets), len(losses), len(abstained), test, difference),
    }


def friedman(scores: np.ndarray) -> dict[str, float]:
    """Friedman's χ² and p of scores, (data set, loss), three losses or more; ties are heeded."""
    from scipy.stats import friedmanchisquare

    if (scores == scores[:, :1]).all():  # SciPy divides by zero
        return {"statistic": 0.0, "p": 1.0}
    found = friedmanchisquare(*scores.T)
    return {"statistic": float(found.statistic), "p": float(found.pvalue)}


def wilcoxon(scores: np.ndarray) -> dict[str, float]:
    """Wilcoxon's signed-rank statistic and two-sided p of scores, (data set, 2)."""
    from scipy import stats

    if (scores[:, 0] == scores[:, 1]).all():
        return {"statistic": 0.0, "p": 1.0}
    found = stats.wilcoxon(scores[:, 0], scores[:, 1])
    return {"statistic": float(found.statistic), "p": float(found.pvalue)}


def critical_difference(n_datasets: int, n_losses: int) -> float:
    r"""Nemenyi's critical difference of mean ranks, :math:`q_α \sqrt{k(k+1)/(6N)}`, α = 0.05.

    q is the quantile of the studentised range over √2; Demšar 2006, section 3.2.2 and table 5.
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - LEVEL, n_losses, np.inf)) / math.sqrt(2)
    return q * math.sqrt(n_losses * (n_losses + 1) / (6 * n_datasets))


def _reason(
    n_datasets: int,
    n_losses: int,
    n_abstained: int,
    test: dict[str, float] | None,
    difference: float | None,
) -> str:
    """Why there is no test, or what the tests show, in words."""
    if test is None:
        text = (
            f"{n_datasets} data sets: too few for a test over data sets, which needs "
            f"{FEWEST_DATASETS}; the ranks only describe these."
        )
    else:
        name = "Friedman's test of the ranks" if n_losses > 2 else "Wilcoxon's signed-rank test"
        sure = test["p"] <= LEVEL
        text = (
            f"{name} over {n_datasets} data sets {'finds' if sure else 'does not find'} that the "
            f"losses differ (p = {test['p']:.2g})."
        )
        if difference is None:
            text += " It takes the place of Friedman's, which needs three losses."
        elif sure:
            text += f" Losses differ whose mean ranks are further apart than {difference:.2f}."
        else:
            text += " Then no pair of losses can be told apart by its mean ranks either."
    if n_abstained:
        one = n_abstained == 1
        text += (
            f" {n_abstained} data {'set has' if one else 'sets have'} no verdict of "
            f"{'its' if one else 'their'} own and {'is' if one else 'are'} ranked all the same."
        )
    return text


def _read(path: Path) -> dict[str, Any]:
    """A verdict with scores on the axis ``overall``."""
    if not path.is_file():
        raise ScoreError(
            f"{path}: is needed for the ranks, but is not there. Fix: run `countae verdict "
            f"{path.parent}` first, or the whole workflow."
        )
    verdict = read_json(path)
    try:
        known = all(math.isfinite(score) for score in _scores(verdict).values())
        known = known and bool(verdict["dataset"] and verdict["axes"]["overall"]["outcome"])
    except (KeyError, TypeError, AttributeError):
        known = False
    if not known or len(_scores(verdict)) < 2:
        raise ScoreError(
            f"{path}: has no scores of two losses or more on the axis `overall`, as `countae "
            "verdict` writes them. Fix: make it again."
        )
    return verdict


def _scores(verdict: dict[str, Any]) -> dict[str, float]:
    """Score of each loss on the axis ``overall``."""
    return verdict["axes"]["overall"]["scores"]


def _by_name(
    datasets: list[str], losses: list[str], table: np.ndarray
) -> dict[str, dict[str, float]]:
    """A (data set, loss) table as nested dicts."""
    rows = (dict(zip(losses, row, strict=True)) for row in table.tolist())
    return dict(zip(datasets, rows, strict=True))

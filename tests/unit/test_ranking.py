"""Ranks over data sets: SciPy, Demšar's tables and worked example as oracles."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from countae.errors import ScoreError
from countae.ranking import critical_difference, friedman, rank, read_verdicts

KEYS = {
    "datasets", "abstained", "losses", "scores", "ranks", "mean_ranks", "friedman",
    "critical_difference", "reason",
}  # fmt: skip
# Demšar 2006, table 6: AUC of C4.5 and of its variants +m, +cf, +m+cf on fourteen data sets.
# The two printed as 0.975 have ranks 2 and 3 there, so they differ beyond the third digit.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
    ]
)  # fmt: skip


def verdicts(scores, abstained=()):
    """Verdicts with a row of scores each; losses a, b, c …, data sets d0, d1 …"""
    return [
        {
            "dataset": f"d{i}",
            "axes": {
                "overall": {
                    "outcome": "abstain" if i in abstained else "winner",
                    "scores": dict(zip("abcdefghij", map(float, row), strict=False)),
                }
            },
        }
        for i, row in enumerate(scores)
    ]


def test_demsars_worked_example():
    """Oracle: Demšar 2006: mean ranks 3.143, 2.000, 2.893, 1.964; critical difference 1.25."""
    found = rank(verdicts(-DEMSAR))
    assert set(found) == KEYS
    means = [round(found["mean_ranks"][name], 3) for name in "abcd"]
    assert means == [3.143, 2.0, 2.893, 1.964]
    assert found["critical_difference"] == pytest.approx(1.25, abs=0.005)
    # his 9.28 does not correct for ties; SciPy divides by the correction
    ties = sum(n**3 - n for row in DEMSAR for n in np.unique(row, return_counts=True)[1])
    correction = 1 - ties / (14 * (4**3 - 4))
    assert found["friedman"]["statistic"] * correction == pytest.approx(9.28, abs=0.05)
    assert found["friedman"]["p"] == pytest.approx(
        stats.chi2.sf(found["friedman"]["statistic"], 3), rel=1e-9
    )
    assert "finds that the losses differ" in found["reason"]
    assert "further apart than 1.25" in found["reason"]


@pytest.mark.parametrize(
    ("losses", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_critical_difference_has_the_published_quantiles(losses, q):
    """Oracle: Demšar 2006, table 5 (a), α = 0.05; three digits, not rounded."""
    scale = np.sqrt(losses * (losses + 1) / (6 * 20))
    assert critical_difference(20, losses) / scale == pytest.approx(q, abs=1e-3)


def test_friedman_by_hand_without_ties(rng):
    """Oracle: 12 N/(k(k+1)) (Σ R² − k(k+1)²/4), Demšar 2006, section 3.2.2."""
    scores = rng.random((9, 5))
    mean = scores.argsort(axis=1).argsort(axis=1).mean(axis=0) + 1
    expected = 12 * 9 / 30 * ((mean**2).sum() - 5 * 36 / 4)
    assert friedman(scores)["statistic"] == pytest.approx(expected, rel=1e-9)


def test_ranks_by_hand_with_ties_and_abstentions():
    """Oracle: by hand; the lowest score has rank 1, equal ones share; below six no test."""
    found = rank(verdicts([[2.0, 1.0, 3.0], [1.0, 1.0, 0.5]], abstained=[1]))
    assert found["ranks"] == {
        "d0": {"a": 2, "b": 1, "c": 3}, "d1": {"a": 2.5, "b": 2.5, "c": 1},
    }  # fmt: skip
    assert found["mean_ranks"] == {"a": 2.25, "b": 1.75, "c": 2.0}
    assert found["scores"]["d1"] == {"a": 1.0, "b": 1.0, "c": 0.5}
    assert (found["datasets"], found["abstained"]) == (["d0", "d1"], ["d1"])
    assert found["friedman"] is None
    assert found["critical_difference"] is None
    assert found["reason"].startswith("2 data sets: too few")
    assert "1 data set has no verdict of its own" in found["reason"]


def test_six_data_sets_are_enough_and_five_are_not(rng):
    scores = rng.random((6, 3))
    assert rank(verdicts(scores[:5]))["friedman"] is None
    found = rank(verdicts(scores))
    assert found["friedman"]["p"] == stats.friedmanchisquare(*scores.T).pvalue
    assert found["critical_difference"] == pytest.approx(2.343 * np.sqrt(12 / 36), abs=1e-3)


def test_two_losses_are_compared_by_signed_ranks():
    """Oracle: by hand; seven data sets of one sign, so W = 0 and p = 2/2⁷."""
    scores = np.array([[1.0, 1.0 + 0.1 * (i + 1)] for i in range(7)])
    found = rank(verdicts(scores))
    assert found["friedman"] == {"statistic": 0.0, "p": pytest.approx(2 / 128)}
    assert found["critical_difference"] is None
    assert "Wilcoxon's signed-rank test over 7 data sets finds" in found["reason"]


@pytest.mark.parametrize("losses", [2, 3])
def test_equal_scores_everywhere_differ_in_nothing(losses):
    found = rank(verdicts(np.ones((6, losses))))
    assert found["friedman"] == {"statistic": 0.0, "p": 1.0}
    assert "does not find" in found["reason"]
    json.dumps(found, allow_nan=False)


def written(folder, content):
    folder.mkdir()
    (folder / "verdict.json").write_text(json.dumps(content))
    return folder


def test_what_cannot_be_ranked_is_told(tmp_path):
    one, two, three = (
        written(tmp_path / v["dataset"], v) for v in verdicts([[1, 2], [2, 1], [1, 2, 3]])
    )
    assert [v["dataset"] for v in read_verdicts([two, one])] == ["d1", "d0"]
    with pytest.raises(ScoreError, match="at least two, found 1"):
        read_verdicts([one])
    with pytest.raises(ScoreError, match=r"nothing.verdict\.json: is needed .* is not there"):
        read_verdicts([one, tmp_path / "nothing"])
    with pytest.raises(ScoreError, match="compares a, b, c, but .*d0.* compares a, b"):
        read_verdicts([one, two, three])
    with pytest.raises(ScoreError, match="'d0' is there more than once"):
        read_verdicts([one, two, one])
    for name, content in {
        "empty": {}, "list": [1], "text": {"dataset": "x", "axes": {"overall": "none"}},
        "single": verdicts([[1.0]])[0], "nan": verdicts([[1.0, np.nan]])[0],
    }.items():  # fmt: skip
        why = "has the number NaN" if name == "nan" else "has no scores of two losses"
        with pytest.raises(ScoreError, match=why):
            read_verdicts([one, written(tmp_path / name, content)])


def test_losses_in_another_order_are_the_same(tmp_path):
    first, second = verdicts([[1.0, 2.0], [1.0, 2.0]])
    scores = second["axes"]["overall"]["scores"]
    second["axes"]["overall"]["scores"] = dict(reversed(scores.items()))
    folders = [written(tmp_path / v["dataset"], v) for v in (first, second)]
    assert rank(read_verdicts(folders))["mean_ranks"] == {"a": 1.0, "b": 2.0}

"""Calibration of the posterior probability that a zero is an extra one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, roc_auc_score

from countae import metrics

extra_zero_calibration = metrics.get("extra_zero_calibration")


@pytest.fixture(scope="module")
def zinb():
    """2,000 cells × 6 genes of ZINB counts, with the parameters and the mask."""
    rng = np.random.default_rng(31)
    mean = np.broadcast_to([0.5, 1.0, 2.0, 4.0, 8.0, 16.0], (2_000, 6))
    pi = np.broadcast_to([0.1, 0.3, 0.5, 0.2, 0.4, 0.3], mean.shape)
    extra = rng.random(mean.shape) < pi
    observed = np.where(extra, 0, rng.poisson(rng.gamma(2.0, mean / 2.0))).astype(float)
    from_nb = stats.nbinom(2.0, 2.0 / (2.0 + mean)).pmf(0)
    return {"observed": observed, "zero_probability": pi, "extra_zero": extra}, from_nb


def of(given, from_nb, pi=None):
    pi = given["zero_probability"] if pi is None else pi
    inputs = given | {"zero_probability": pi, "prob_zero": pi + (1 - pi) * from_nb}
    return extra_zero_calibration(**inputs)


def test_agrees_with_scikit_learn(zinb):
    """Oracle: sklearn.metrics.roc_auc_score and brier_score_loss of Bayes' rule, with ties."""
    given, from_nb = zinb
    found, zero = of(given, from_nb), given["observed"] == 0
    pi, extra = given["zero_probability"], given["extra_zero"]
    posterior = (pi / (pi + (1 - pi) * from_nb))[zero]
    constant = np.full(zero.sum(), extra[zero].mean())
    np.testing.assert_allclose(found["auc"], roc_auc_score(extra[zero], posterior), rtol=1e-12)
    np.testing.assert_allclose(
        found["brier"], brier_score_loss(extra[zero], posterior), rtol=1e-12
    )
    np.testing.assert_allclose(
        found["brier_constant"], brier_score_loss(extra[zero], constant), rtol=1e-12
    )
    assert found["entries"] == zero.sum()
    np.testing.assert_allclose(found["prevalence"], extra[zero].mean(), rtol=1e-12)


def test_the_truth_is_calibrated_and_a_wrong_posterior_worse(zinb):
    """Oracle: propriety; the truth beats the constant, a wrong π loses to the truth or to both."""
    given, from_nb = zinb
    truth = of(given, from_nb)
    assert truth["brier"] < truth["brier_constant"] - 0.02
    wrong = of(given, from_nb, pi=1 - given["zero_probability"])
    assert wrong["brier"] > truth["brier"] + 0.02
    # π of the wrong genes: worse than no knowledge
    swapped = of(given, from_nb, pi=given["zero_probability"][:, ::-1] ** 4)
    assert swapped["brier"] > swapped["brier_constant"]


def test_by_hand():
    """Oracle: by hand. Posteriors .5, .5, .8 of zeros of which the first and third are extra."""
    found = extra_zero_calibration(
        observed=np.array([[0.0, 0.0, 0.0, 3.0]]),
        zero_probability=np.array([[0.2, 0.3, 0.4, 0.9]]),
        prob_zero=np.array([[0.4, 0.6, 0.5, 0.9]]),
        extra_zero=np.array([[True, False, True, False]]),
    )
    assert found["auc"] == pytest.approx((0.5 + 1) / 2)
    assert found["brier"] == pytest.approx((0.25 + 0.25 + 0.04) / 3)
    assert found["brier_constant"] == pytest.approx(2 / 9)
    assert found["prevalence"] == pytest.approx(2 / 3)
    assert found["entries"] == 3


def test_limits():
    """Oracle: by hand. No zero, no extra zero, an f(0) that underflows, and a rounded one."""
    none = {"zero_probability": np.array([[0.5, 0.0]]), "prob_zero": np.array([[0.4999999, 0.0]])}
    mask = np.array([[False, False]])
    assert extra_zero_calibration(observed=np.ones((1, 2)), extra_zero=mask, **none) == {
        "entries": 0.0
    }
    found = extra_zero_calibration(observed=np.zeros((1, 2)), extra_zero=mask, **none)
    assert found == {"brier": 0.5, "brier_constant": 0.0, "prevalence": 0.0, "entries": 2.0}

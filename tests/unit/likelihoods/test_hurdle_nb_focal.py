"""Hurdle NB with a focal loss: the loss by hand, and what its not being proper does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from countae import likelihoods


@pytest.fixture
def focal():
    return likelihoods.get("hurdle_nb_focal")()


def focal_by_hand(q):
    """−(1 − q)² log q, Lin et al. eq. 4 with γ = 2."""
    return -((1 - q) ** 2) * np.log(q)


def test_loss_by_hand(focal, t64):
    """Oracle: Lin's formula, and scipy.stats.nbinom over its survival for positive counts."""
    nb, p = stats.nbinom(2.0, 2.0 / 5.0), 0.3
    at = {"mean": t64(3.0), "inverse_dispersion": t64(2.0)}
    losses = focal.loss(t64([0.0, 4.0]), **at, prob_zero_logit=t64(np.log(p / (1 - p))))
    expected = [focal_by_hand(p), focal_by_hand(1 - p) - nb.logpmf(4) + np.log(nb.sf(0))]
    np.testing.assert_allclose(losses, expected, rtol=1e-10)


def test_claims_what_the_hurdle_claims(focal, t64):
    """Limit: without focusing (γ = 0) the loss is the hurdle's; the claim always is."""
    hurdle, counts = likelihoods.get("hurdle_nb")(), t64([0.0, 1.0, 6.0])
    at = {"mean": t64(3.0), "inverse_dispersion": t64(0.7), "prob_zero_logit": t64(-0.4)}
    assert torch.equal(focal.log_pmf(counts, **at), hurdle.log_pmf(counts, **at))
    plain = type("Plain", (type(focal),), {"focus": 0.0})()
    np.testing.assert_allclose(plain.loss(counts, **at), hurdle.loss(counts, **at), rtol=1e-12)


@pytest.mark.parametrize("true", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_is_not_proper_and_the_way_back_is_known(focal, t64, true):
    """Oracle: the best q by SciPy's minimiser is nearer to ½; the variant makes it right again."""
    found = optimize.minimize_scalar(
        lambda q: true * focal_by_hand(q) + (1 - true) * focal_by_hand(1 - q),
        bounds=(1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-12},
    ).x  # fmt: skip
    if true == 0.5:
        assert abs(found - 0.5) < 1e-6
    else:
        assert abs(found - 0.5) < abs(true - 0.5) - 1e-3
    parameters = {"prob_zero_logit": t64(np.log(found / (1 - found)))}
    again = focal.variants(parameters)["recalibrated"]["prob_zero_logit"]
    np.testing.assert_allclose(torch.sigmoid(again), true, rtol=1e-4)  # of the minimiser


def test_the_way_back_holds_far_out(focal, t64):
    """Limit: q → 0. φ′(1−q) ≈ −γq² and φ′(q) ≈ −1/q by hand, so that P(0) ≈ 3q³ at γ = 2."""
    parameters = {"prob_zero_logit": t64([-30.0, 30.0])}
    again = focal.variants(parameters)["recalibrated"]["prob_zero_logit"]
    np.testing.assert_allclose(again, [np.log(3) - 90.0, 90.0 - np.log(3)], rtol=1e-9)

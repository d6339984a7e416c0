"""Error of the share of zeros."""

from __future__ import annotations

import numpy as np

from countae import metrics

zero_fraction_error = metrics.get("zero_fraction_error")


def test_is_expected_minus_observed():
    """Oracle: by hand; below 0 too few zeros were promised."""
    observed = np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 2.0], [5.0, 3.0]])
    prob_zero = np.array([[0.5, 0.5]] * 4)
    value = zero_fraction_error(observed=observed, prob_zero=prob_zero)
    np.testing.assert_allclose(value, [-0.25, 0.25])


def test_is_zero_for_the_truth(truth):
    """Oracle: the binomial error of a share; four of them."""
    value = zero_fraction_error(observed=truth.observed, prob_zero=truth.prob_zero)
    error = np.sqrt((truth.prob_zero * (1 - truth.prob_zero)).mean(axis=0) / len(truth.observed))
    assert (np.abs(value) <= 4 * error).all()

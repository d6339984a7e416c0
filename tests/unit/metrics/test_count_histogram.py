"""Observed and expected histograms of counts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from countae import metrics

count_histogram = metrics.get("count_histogram")
STARTS = [0, 1, 2, 3, 4, 5, 7, 10, 15, 25, 50, 100, 250, 1000]


def shares(found: dict, kind: str) -> np.ndarray:
    """(bin, gene)"""
    return np.stack([found[f"{kind}.{k}"] for k in STARTS])


@pytest.fixture(scope="module")
def found(truth, callables):
    given = callables(truth.mean, truth.inverse_dispersion)
    return count_histogram(
        observed=truth.observed, prob_zero=truth.prob_zero, cdf=given["cdf"]
    )  # fmt: skip


def test_expected_shares_agree_with_scipy(truth, found):
    """Oracle: sums of scipy.stats.nbinom.pmf over the counts of a bin, averaged over cells."""
    theta = truth.inverse_dispersion
    nb = stats.nbinom(theta, theta / (theta + truth.mean))
    pmf = np.stack([nb.pmf(k).mean(axis=0) for k in range(1000)])
    expected = [pmf[a:b].sum(axis=0) for a, b in zip(STARTS, STARTS[1:], strict=False)]
    np.testing.assert_allclose(shares(found, "expected")[:-1], expected, atol=1e-5)
    np.testing.assert_allclose(shares(found, "expected").sum(axis=0), 1, atol=1e-12)


def test_observed_shares_agree_with_numpy(truth, found):
    """Oracle: numpy.histogram."""
    for gene in range(truth.observed.shape[1]):
        number, _ = np.histogram(truth.observed[:, gene], [*STARTS, np.inf])
        np.testing.assert_allclose(shares(found, "observed")[:, gene], number / 4_000, atol=1e-12)


def test_the_truth_expects_what_is_observed(truth, found):
    """Oracle: a share of n entries lies within four standard errors of its probability."""
    seen, expected = shares(found, "observed"), shares(found, "expected")
    error = np.sqrt(expected * (1 - expected) / len(truth.observed))
    assert (np.abs(seen - expected) <= 4 * error + 1e-5).all()


def test_a_point_mass_stands_in_one_bin():
    """Oracle: by hand; 6 belongs to the bin from 5 on, and nothing is lost on the way."""
    found = count_histogram(
        observed=np.array([[6.0]]), prob_zero=np.zeros((1, 1)), cdf=lambda k, i: 1.0 * (k >= 6)
    )
    for kind in ("observed", "expected"):
        assert found[f"{kind}.5"] == 1
        assert shares(found, kind).sum() == 1

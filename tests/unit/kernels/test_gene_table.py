"""Compiled log-likelihoods and derivatives against 50-digit arithmetic and SciPy."""

from __future__ import annotations

import mpmath
import numba
import numpy as np
import pytest
from scipy import special, stats

from countae.kernels.compiled import compiled
from countae.kernels.gene_table import GeneTable

RAW = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
ORDERS = [(2, 0, 0), (1, 1, 0), (0, 2, 0), (1, 0, 1), (0, 1, 1), (0, 0, 2)]


def exact(x, mean, s, t, z):
    """Value, three slopes and six second derivatives of the log-probability by mpmath."""

    def log_pmf(s, t, z):
        theta, mu = mpmath.exp(t), mean * mpmath.exp(s)
        share = theta / (theta + mu)
        nb = mpmath.rf(theta, x) / mpmath.factorial(x) * share**theta * (1 - share) ** x
        pi = mpmath.exp(z) / (1 + mpmath.exp(z)) if z != -mpmath.inf else mpmath.mpf(0)
        return mpmath.log(pi * (x == 0) + (1 - pi) * nb)

    if z == -np.inf:

        def of_nb(s, t):
            return log_pmf(s, t, -mpmath.inf)

        orders = [None if n[2] else n[:2] for n in RAW + ORDERS]
        slopes = [0.0 if n is None else mpmath.diff(of_nb, (s, t), n) for n in orders]
    else:
        slopes = [mpmath.diff(log_pmf, (s, t, z), n) for n in RAW + ORDERS]
    return np.array([float(v) for v in [log_pmf(s, t, z), *slopes]])


@pytest.mark.parametrize("z", [-np.inf, -30.0, -1.0, 4.0])
@pytest.mark.parametrize("theta", [1e-3, 0.7, 40.0, 1e6])
@pytest.mark.parametrize(
    ("x", "mean"),
    [(0, 1e-3), (0, 2.0), (0, 900.0), (1, 0.2), (31, 3.0), (32, 50.0), (33, 3.0), (34, 60.0),
     (700, 90.0), (200_000, 1.5e5)],
)  # fmt: skip
def test_agrees_with_50_digits(x, mean, theta, z):
    """Oracle: mpmath's derivatives of the mass function, at s = 0.3.

    Relative 1e-9; the floor of large counts is the rounding of terms like x log x, which cancel
    against each other.
    """
    s, t = 0.3, float(np.log(theta))
    with mpmath.workdps(60):
        logit = z if z == -np.inf else mpmath.mpf(z)
        expected = exact(x, mean, mpmath.mpf(s), mpmath.mpf(t), logit)
    table = GeneTable.of(np.array([[float(x)]]), np.array([[mean]]))
    found = table.sums(np.array([0]), *(np.array([v]) for v in (s, t, z)))[:, 0]
    floor = 2e-15 * x * np.log(max(x, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=floor)


@pytest.mark.parametrize("pi", [0.0, 0.3])
def test_sums_over_cells_agree_with_scipy(pi):
    """Oracle: scipy.stats.nbinom over 3,000 cells of five genes, from none to all without count,
    many enough that running products must be turned into logarithms; and genes keep their places.
    """
    rng = np.random.default_rng(3)
    mean = rng.lognormal(0, 0.5, (3_000, 5)) * [0.0005, 0.3, 2.0, 80.0, 5e4]
    theta = np.array([0.5, 2.0, 0.2, 5.0, 1e3])
    x = rng.poisson(rng.gamma(np.broadcast_to(theta, mean.shape), mean / theta)).astype(float)
    x[:, 0] = 0
    scale, genes = np.exp([0.2, -0.1, 0.0, 0.4, 0.1]), np.array([4, 0, 3, 2, 1])
    pmf = stats.nbinom(theta, theta / (theta + scale * mean)).pmf(x)
    expected = np.log(pi * (x == 0) + (1 - pi) * pmf).sum(axis=0)
    with np.errstate(divide="ignore"):
        raw = np.log(scale), np.log(theta), np.full(5, special.logit(pi))
    found = GeneTable.of(x, mean).sums(genes, *(value[genes] for value in raw))
    np.testing.assert_allclose(found[0], expected[genes], rtol=1e-9)


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch):
    """numba refuses to cache where no directory can be written; loops must work all the same."""
    original = numba.njit

    def refusing(*args, cache=False, **settings):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return original(*args, **settings)

    monkeypatch.setattr(numba, "njit", refusing)
    assert compiled(lambda x: 1.0 / x)(0.0) == np.inf

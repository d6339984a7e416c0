"""Newton's method over genes against scipy.optimize, one gene at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize, special, stats

from countae.kernels.autograd import by_autograd
from countae.kernels.newton import by_differences, maximise_per_gene

TOLERANCE = 1e-3


def scipy_maximum(function, start):
    found = optimize.minimize(
        lambda x: -function(x),
        start,
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000},
    )
    assert found.success
    return found.x


@pytest.fixture(scope="module")
def gamma_counts():
    """300 cells × 8 genes, NB around a mean of 5."""
    rng = np.random.default_rng(4)
    theta = np.geomspace(0.2, 20, 8)
    return rng.poisson(rng.gamma(np.broadcast_to(theta, (300, 8)), 5.0 / theta))


def test_one_parameter(gamma_counts):
    """Oracle: scipy.optimize over scipy.stats.nbinom for log θ; a tenth of the stopping rule.

    The curvature is checked against a second difference of SciPy's log-likelihood, to 1 %.
    """
    x = torch.as_tensor(gamma_counts, dtype=torch.float64)

    def objective(raw, genes):
        theta = raw[0].exp()
        log_pmf = (
            torch.lgamma(x[:, genes] + theta) - torch.lgamma(theta)
            + theta * torch.log(theta / (theta + 5)) - x[:, genes] * torch.log(theta + 5)
        )  # fmt: skip
        return log_pmf.sum(dim=0)

    best, curvature = maximise_per_gene(
        by_autograd(objective), np.zeros((1, 8)), tolerance=TOLERANCE
    )
    assert best.shape == (1, 8)
    for gene in range(8):

        def of_scipy(log_theta, gene=gene):
            theta = np.exp(np.ravel(log_theta)[0])
            return stats.nbinom(theta, theta / (theta + 5)).logpmf(gamma_counts[:, gene]).sum()

        expected = scipy_maximum(of_scipy, [0.0])[0]
        assert abs(float(best[0, gene]) - expected) < 0.1 * TOLERANCE
        h = 1e-2
        second = -(of_scipy(expected + h) - 2 * of_scipy(expected) + of_scipy(expected - h)) / h**2
        np.testing.assert_allclose(curvature[gene], second, rtol=1e-2)


def test_two_parameters_and_the_profiled_curvature():
    """Oracle: scipy.optimize, and NumPy's inverse of the 2 × 2 Hessian, for a logistic curve."""
    rng = np.random.default_rng(5)
    z = rng.normal(size=(400, 3))
    y = (rng.random((400, 3)) < special.expit(0.5 + np.array([0.3, 1.0, 2.0]) * z)).astype(float)
    z_, y_ = torch.as_tensor(z), torch.as_tensor(y)

    def objective(raw, genes):
        logit = raw[1] + raw[0] * z_[:, genes]
        return (y_[:, genes] * logit - torch.nn.functional.softplus(logit)).sum(dim=0)

    best, curvature = maximise_per_gene(
        by_autograd(objective), np.zeros((2, 3)), tolerance=TOLERANCE
    )
    for gene in range(3):

        def of_scipy(raw, gene=gene):
            logit = raw[1] + raw[0] * z[:, gene]
            return (y[:, gene] * logit - np.logaddexp(0, logit)).sum()

        expected = scipy_maximum(of_scipy, [0.0, 0.0])
        np.testing.assert_allclose(best[:, gene], expected, atol=0.1 * TOLERANCE)
        share = special.expit(expected[1] + expected[0] * z[:, gene])
        design = np.stack([z[:, gene], np.ones(400)], axis=1)
        information = (design * (share * (1 - share))[:, None]).T @ design
        variance = np.linalg.inv(information)[0, 0]
        np.testing.assert_allclose(1 / curvature[gene], variance, rtol=2e-3)


def test_far_start_and_wrong_curvature():
    """Oracle: the maximum of −log cosh(x − 7) and of a bell, 7 by hand.

    At 0 the first is almost straight and the second curves upwards, so that plain Newton steps
    would fly off.
    """

    def objective(raw, genes):
        gap = raw[0] - 7.0
        values = torch.stack([-torch.log(torch.cosh(gap)), torch.exp(-0.02 * gap**2)])
        return torch.gather(values, 0, genes[None])[0]

    best, curvature = maximise_per_gene(
        by_autograd(objective), np.zeros((1, 2)), tolerance=TOLERANCE
    )
    np.testing.assert_allclose(best[0], 7.0, atol=TOLERANCE)
    np.testing.assert_allclose(curvature, [1.0, 0.04], rtol=1e-2)


def test_never_worse_than_its_start():
    """Limit: a step that does not improve is refused, also on a function with many maxima."""

    def objective(raw, genes):
        return torch.sin(5 * raw[0]) - 0.1 * raw[0] ** 2

    start = np.linspace(-3, 3, 40)[None]
    best, _ = maximise_per_gene(by_autograd(objective), start, tolerance=TOLERANCE)
    values = [objective(torch.as_tensor(raw), torch.arange(40)) for raw in (best, start)]
    assert (values[0] >= values[1]).all()
    slope = 5 * np.cos(5 * best[0]) - 0.2 * best[0]
    assert np.abs(slope).max() < 25 * TOLERANCE  # a maximum each, if not the highest
    np.testing.assert_array_equal(start, np.linspace(-3, 3, 40)[None])


def test_own_derivatives_of_three_parameters():
    """Oracle: NumPy's inverse of the Hessian of two quadratics, one step from any start.

    The first parameter's curvature is the inverse of its variance.
    """
    rng = np.random.default_rng(6)
    root = rng.normal(size=(2, 3, 3))
    precision, centre = root @ root.transpose(0, 2, 1) + np.eye(3), rng.normal(size=(3, 2))

    def derivatives(raw, genes):
        gap, at = (raw - centre[:, genes]).T, precision[genes]
        slope = -np.einsum("gij,gj->gi", at, gap)
        return 0.5 * (slope * gap).sum(axis=1), slope.T, -np.moveaxis(at, 0, -1)

    best, curvature = maximise_per_gene(derivatives, np.zeros((3, 2)), tolerance=1e-9)
    np.testing.assert_allclose(best, centre, rtol=1e-8)
    np.testing.assert_allclose(1 / curvature, np.linalg.inv(precision)[:, 0, 0], rtol=1e-12)


def test_genes_do_not_influence_each_other():
    """Limit: a gene alone gives what it gives among others."""
    centre = torch.tensor([0.5, -2.0, 40.0], dtype=torch.float64)

    def objective(raw, genes):
        return -torch.cosh(0.3 * (raw[0] - centre[genes]))

    together, _ = maximise_per_gene(by_autograd(objective), np.zeros((1, 3)), tolerance=TOLERANCE)
    np.testing.assert_allclose(together[0], centre, atol=TOLERANCE)


def test_bounds_stop_what_rises_for_ever():
    """Limit: −e⁻ᵃ has no maximum and ends at the bound; a parabola inside is not touched."""

    def derivatives(raw, genes):
        a, b = raw
        value = -np.exp(-a) - 0.5 * (b - 1) ** 2
        hessian = np.zeros((2, 2, len(genes)))
        hessian[0, 0], hessian[1, 1] = -np.exp(-a), -1.0
        return value, np.stack([np.exp(-a), 1 - b]), hessian

    bounds = np.array([-3.0, -3.0]), np.array([6.0, 3.0])
    best, _ = maximise_per_gene(
        derivatives, np.zeros((2, 1)), tolerance=TOLERANCE, iterations=20, bounds=bounds
    )
    np.testing.assert_allclose(best[:, 0], [6.0, 1.0], atol=1e-6)


def test_differences_of_a_parabola_are_its_derivatives():
    """Oracle by hand: k(a − c)² has the slope 2k(a − c) and the bend 2k, to rounding."""
    centre, steep = np.array([0.3, -2.0, 1.0]), np.array([-1.0, -4.0, 0.5])
    genes, at = np.array([2, 0]), np.array([[0.7, 1.5]])
    parabola = by_differences(lambda a, g: steep[g] * (a - centre[g]) ** 2, 0.1)
    found = parabola(at, genes)
    away = at[0] - centre[genes]
    np.testing.assert_allclose(found[0], steep[genes] * away**2, rtol=1e-12)
    np.testing.assert_allclose(found[1], [2 * steep[genes] * away], rtol=1e-10)
    np.testing.assert_allclose(found[2], [[2 * steep[genes]]], rtol=1e-8)


def test_genes_are_looked_at_some_at_a_time(monkeypatch):
    """Oracle: all genes at once; no piece has more entries than are allowed."""
    monkeypatch.setattr("countae.kernels.newton.MOST_ENTRIES", 30)
    centre, seen = np.random.default_rng(0).normal(size=10), []

    def value(at, genes):
        seen.append(len(genes))
        return -((at - centre[genes]) ** 4)

    raw, genes = np.random.default_rng(1).normal(size=(1, 7)), np.array([1, 2, 4, 5, 6, 8, 9])
    found = by_differences(value, 0.1, cells=9)(raw, genes)
    assert max(seen) == 3
    expected = by_differences(value, 0.1)(raw, genes)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)

"""The common start of every loss: moments per gene, against plain NumPy and a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from countae.likelihoods import _moments
from countae.likelihoods._moments import gene_moments


@pytest.fixture
def data():
    """4,000 cells: Poisson, NB with θ = 0.5, 2 and 10, and NB θ = 2 with 40 % extra zeros."""
    rng = np.random.default_rng(11)
    size = rng.lognormal(0, 0.3, 4_000)
    rate, theta = np.array([2.0, 1.0, 4.0, 8.0, 5.0]), np.array([1e9, 0.5, 2.0, 10.0, 2.0])
    mean = size[:, None] * rate
    counts = rng.poisson(rng.gamma(np.broadcast_to(theta, mean.shape), mean / theta))
    counts[rng.random(4_000) < 0.4, 4] = 0
    return counts, size


def test_agrees_with_the_formula_entry_by_entry(data):
    """Oracle: the docstring's equations over a dense matrix; float64 sums."""
    counts, size = data
    moments = gene_moments(counts=csr_matrix(counts), size_factor=size)
    rate = counts.sum(axis=0) / size.sum()
    m = size[:, None] * rate
    theta = (m**2).sum(axis=0) / ((counts - m) ** 2 - counts).sum(axis=0)
    np.testing.assert_allclose(moments.mean, rate, rtol=1e-12)
    inside = (theta > 0.01) & (theta < 1e3)
    assert inside[1:].all()
    np.testing.assert_allclose(moments.inverse_dispersion[inside], theta[inside], rtol=1e-9)
    np.testing.assert_allclose(
        moments.log1p_mean, np.log1p(counts / size[:, None]).mean(axis=0), rtol=1e-12
    )


def test_recovers_the_inverse_dispersion(data):
    """Recovery: θ of 0.5, 2 and 10 within 30 %, the method of moments' error at 4,000 cells."""
    counts, size = data
    found = gene_moments(counts=csr_matrix(counts), size_factor=size).inverse_dispersion
    np.testing.assert_allclose(found[1:4], [0.5, 2.0, 10.0], rtol=0.3)
    assert found[0] > 100  # a Poisson gene


def test_zero_probability_is_the_excess_over_nb_zeros(data):
    """Oracle: (zeros − NB zeros)/(1 − NB zeros) over all cells, not 32 quantiles: within 0.002."""
    counts, size = data
    moments = gene_moments(counts=csr_matrix(counts), size_factor=size)
    theta, m = moments.inverse_dispersion.numpy(), size[:, None] * moments.mean.numpy()
    nb = ((theta / (theta + m)) ** theta).mean(axis=0)
    expected = np.clip(((counts == 0).mean(axis=0) - nb) / (1 - nb), 0.01, 0.9)
    np.testing.assert_allclose(moments.zero_probability, expected, atol=2e-3)
    assert moments.zero_probability[4] > 0.1


def test_stored_zeros_are_zeros(data):
    """Limit: a zero that the sparse matrix stores counts like one that it does not."""
    counts, size = data
    stored = csr_matrix(np.ones_like(counts))
    stored.data = counts.ravel().copy()
    expected = gene_moments(counts=csr_matrix(counts), size_factor=size)
    actual = gene_moments(counts=stored, size_factor=size)
    np.testing.assert_allclose(actual.zero_probability, expected.zero_probability)


@pytest.mark.parametrize("cells", [1, 7, 1_000])
def test_the_size_of_a_block_changes_no_bit(data, monkeypatch, cells):
    """Oracle: all cells at once, by SciPy's sparse products and sums over columns."""
    counts, size = csr_matrix(data[0][:1_500]), data[1][:1_500]
    monkeypatch.setattr(_moments, "CELLS_AT_A_TIME", cells)
    found = gene_moments(counts=counts, size_factor=size)
    whole = counts.astype(np.float64)
    total, mean = whole.sum(axis=0).A1, whole.sum(axis=0).A1 / size.sum()
    squares = whole.power(2).sum(axis=0).A1 - 2 * mean * (whole.T @ size)
    excess = squares + mean**2 * np.square(size).sum() - total
    theta = mean**2 * np.square(size).sum() / np.maximum(excess, mean**2)
    scaled = whole.multiply(1.0 / size[:, None]).tocsr()
    np.testing.assert_array_equal(found.mean, mean)
    np.testing.assert_array_equal(found.log1p_mean, scaled.log1p().mean(axis=0).A1)
    np.testing.assert_array_equal(found.inverse_dispersion[1:], theta[1:])

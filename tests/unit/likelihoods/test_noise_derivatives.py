"""Formulas of the noise families against autograd through their own ``log_pmf``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from countae import likelihoods
from countae.likelihoods._base import Likelihood
from countae.noise import noise_families

# normal noise is fitted by differences of values that are read from a table: test_mse_counts.py
FAMILIES = [
    name for name in noise_families() if likelihoods.get(name).noise_heads and name != "mse_counts"
]


@pytest.fixture(scope="module")
def genes():
    """400 cells × 8 genes of means 0.02 … 400, and raw parameters far from their best."""
    rng = np.random.default_rng(12)
    mean = rng.lognormal(0, 0.5, (400, 8)) * np.geomspace(0.02, 400, 8)
    x = rng.poisson(rng.gamma(0.8, mean / 0.8)) * (rng.random(mean.shape) > 0.2)
    return x.astype(float), mean, rng.normal(0, 1.5, (2, 8))


@pytest.mark.parametrize("name", FAMILIES)
def test_agree_with_autograd(name, genes):
    """Oracle: Torch's first derivatives in float64, to 1e-8, and second ones to 1e-6: Torch's
    trigamma errs by 2e-7 (``kernels/test_gene_table.py`` asks mpmath for more).
    """
    x, mean, raw = genes
    family, index = likelihoods.get(name)(), np.arange(8)
    raw = raw[: len(family.noise_heads)]
    value, gradient, hessian = family.noise_derivatives(x, mean)(raw, index)

    def log_likelihood(at):
        parameters = family.from_mean(
            torch.as_tensor(mean), **dict(zip(family.noise_heads, at, strict=True))
        )
        return family.log_pmf(torch.as_tensor(x), **parameters).sum(dim=0)

    at = torch.as_tensor(raw)
    np.testing.assert_allclose(value, log_likelihood(at), rtol=1e-10)
    slope = torch.autograd.functional.jacobian(lambda a: log_likelihood(a).sum(), at)
    np.testing.assert_allclose(gradient, slope, rtol=1e-8)
    bend = torch.autograd.functional.hessian(lambda a: log_likelihood(a).sum(), at)
    np.testing.assert_allclose(hessian, torch.einsum("igjg->ijg", bend), rtol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_default_gives_the_same(name, genes):
    """Limit: a family without formulas is fitted all the same; differences are good to 1e-3."""
    x, mean, raw = genes
    family, index = likelihoods.get(name)(), np.array([6, 1, 3])
    at = raw[: len(family.noise_heads), index]
    own = family.noise_derivatives(x, mean)(at, index)
    default = Likelihood.noise_derivatives(family, x, mean)(at, index)
    for found, expected, tolerance in zip(own, default, (1e-10, 1e-8, 1e-3), strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance)

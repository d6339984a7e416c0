"""The saddle-point form's parts against 50-digit arithmetic, and how they are put together."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch

from countae.kernels import count_pmf as pmf

DTYPES = pytest.mark.parametrize(
    ("dtype", "eps"),
    [(torch.float32, 2.0**-24), (torch.float64, 2.0**-53)],
    ids=["float32", "float64"],
)
ARGUMENTS = [1e-4, 1e-2, 0.3, 1.0, 2.0, 3.0, 3.99, 4.0, 7.5, 11.9, 12.0, 16.0, 100.0, 1e4, 1e8]
RATIOS = [1e-12, 1e-6, 1e-3, 0.1, 0.49, 0.51, 0.66, 0.68, 0.9, 0.999, 1.001, 1.1, 1.49, 1.51, 1.9,
          2.1, 10.0, 1e3, 1e6, 1e12]  # fmt: skip


@pytest.fixture
def batch():
    """Counts, means and θ of (cell, gene), more than one block of them, 10 % of counts not 0."""
    rng = np.random.default_rng(3)
    x = rng.poisson(40, (70, 900)) * (rng.random((70, 900)) < 0.1)
    mean, theta = rng.lognormal(0, 2, (70, 900)), rng.lognormal(0, 3, (70, 900))
    return [torch.as_tensor(value, dtype=torch.float64) for value in (x, mean, theta)]


@DTYPES
def test_stirling_remainder_and_slope(dtype, eps):
    """Oracle: mpmath's loggamma and digamma, the slope times z; over max(1, |value|).

    Before the series begins, terms of the size of z cancel: 2.5 roundings of the largest.
    """
    z = torch.tensor(ARGUMENTS, dtype=dtype)
    with mpmath.workdps(50):
        exact = [mpmath.mpf(value) for value in z.tolist()]
        half = mpmath.log(2 * mpmath.pi) / 2
        value = [float(mpmath.loggamma(v) - ((v - 0.5) * mpmath.log(v) - v + half)) for v in exact]
        slope = [float(v * (mpmath.digamma(v) - mpmath.log(v)) + 0.5) for v in exact]
    for found, expected in (
        (pmf.stirling_remainder(z), value),
        (z * pmf.stirling_slope(z), slope),
    ):
        error = np.abs(found.double().numpy() - expected) / np.maximum(1, np.abs(expected))
        assert error.max() <= 2.5 * pmf._series_from(dtype)[0] * eps


@DTYPES
@pytest.mark.parametrize("b", [1e-4, 1.0, 3e5])
def test_deviance_and_log_minus_linear(dtype, eps, b):
    """Oracle: mpmath. Relative: 16 roundings of the deviance; the slope's logarithm loses more."""
    b = torch.tensor(b, dtype=dtype)
    a = torch.tensor(RATIOS, dtype=dtype) * b
    with mpmath.workdps(50):
        pairs = [(mpmath.mpf(value), mpmath.mpf(b.item())) for value in a.tolist()]
        deviance = [float(u * mpmath.log(u / v) - u + v) for u, v in pairs]
        concave = [float(mpmath.log(u / v) - (u - v) / v) for u, v in pairs]
    np.testing.assert_allclose(pmf.deviance(a, b, a - b).double(), deviance, rtol=16 * eps)
    np.testing.assert_allclose(pmf.log_minus_linear(a, b, a - b).double(), concave, rtol=40 * eps)


@DTYPES
def test_nothing_apart_is_nothing(dtype, eps):
    """Limit a = b: no deviance, no slope, and no 0/0 in its derivatives."""
    a = torch.tensor([1e-4, 1.0, 1e6], dtype=dtype, requires_grad=True)
    assert (pmf.deviance(a, a, a - a) == 0).all()
    value = pmf.log_minus_linear(a, a, a - a)
    (gradient,) = torch.autograd.grad(value.sum(), a)
    assert (value == 0).all()
    assert torch.isfinite(gradient).all()


def test_slopes_are_those_of_the_values():
    """Oracle: finite differences, first and second, in float64, counts of 0 and not."""
    x = torch.tensor([[0.0, 1.0, 3.0], [0.0, 40.0, 7.0]], dtype=torch.float64)
    mean = torch.tensor([[0.5, 2.0, 3.0], [30.0, 11.0, 0.4]], dtype=torch.float64)
    theta = torch.tensor([0.3, 1.7, 30.0], dtype=torch.float64)
    logit = torch.tensor([[-2.0], [1.0]], dtype=torch.float64)
    for value in (mean, theta, logit):
        value.requires_grad_()

    def zinb(mean, theta, logit):
        return pmf.log_zero_inflated(x, pmf.log_negative_binomial(x, mean, theta), logit)

    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda at: pmf.log_poisson(x, at), (mean,))
        assert check(lambda *at: pmf.log_negative_binomial(x, *at), (mean, theta))
        assert check(zinb, (mean, theta, logit))


def test_blocks_are_put_together(batch):
    """Limit: a batch of many blocks gives what its rows give, values and slopes."""
    x, mean, theta = batch
    logit = torch.log(mean / theta)

    def all_of(rows):
        at = [value[rows].clone().requires_grad_() for value in (mean, theta, logit)]
        nb = pmf.log_negative_binomial(x[rows], *at[:2])
        value = pmf.log_zero_inflated(x[rows], nb, at[2])
        return value, *torch.autograd.grad((value * mean[rows]).sum(), at)

    whole = all_of(slice(None))
    single = [all_of(slice(row, row + 1)) for row in range(len(x))]
    assert x.numel() > 3 * pmf.BLOCK
    for found, parts in zip(whole, zip(*single, strict=True), strict=True):
        torch.testing.assert_close(found, torch.cat(parts), rtol=1e-12, atol=1e-13)


def test_shapes_and_types_are_broadcast():
    """Limit: (gene,), (cell, 1) and 0-d parameters and integer counts are as if expanded."""
    x = torch.tensor([[0, 2, 5], [1, 0, 0]])
    gene = torch.tensor([0.5, 2.0, 3.0], requires_grad=True)
    cell = torch.tensor([[0.3], [9.0]], requires_grad=True)
    for mean, theta in ((gene, cell), (cell, gene), (gene, gene), (gene[0], cell)):
        value = pmf.log_negative_binomial(x, mean, theta)
        wide = [v.expand(2, 3).contiguous() for v in (mean, theta)]
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, pmf.log_negative_binomial(x.float(), *wide))
        torch.testing.assert_close(
            pmf.log_poisson(x, mean), pmf.log_poisson(x.float(), wide[0]).float()
        )
        found = torch.autograd.grad(value.sum(), (gene, cell), allow_unused=True)
        expected = torch.autograd.grad(
            pmf.log_negative_binomial(x, *wide).sum(), (gene, cell), allow_unused=True
        )
        torch.testing.assert_close(found[0], expected[0])
        if expected[1] is not None:
            torch.testing.assert_close(found[1], expected[1])


def test_works_where_torch_is_asked_to_be_deterministic():
    """Torch refuses some scattered writes then."""
    at = torch.ones(3, requires_grad=True)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        counts = torch.tensor([0.0, 1.0, 2.0])
        value = pmf.log_negative_binomial(counts, at, at) + pmf.log_poisson(counts, at)
        value.sum().backward()
    finally:
        torch.use_deterministic_algorithms(before)
    assert torch.isfinite(at.grad).all()


def test_layout_does_not_matter(batch):
    """Limit: transposed memory gives the same numbers."""
    x, mean, theta = batch
    turned = [value.T.contiguous().T for value in batch]
    torch.testing.assert_close(
        pmf.log_negative_binomial(*turned), pmf.log_negative_binomial(x, mean, theta)
    )
    torch.testing.assert_close(pmf.log_poisson(*turned[:2]), pmf.log_poisson(x, mean))


def test_a_mean_that_underflows_still_explains_a_zero():
    """Limit μ → 0: P(0) = 1, and the log mean's gradient is 0, not 0/0."""
    log_mean = torch.tensor([-200.0], requires_grad=True)
    zero, theta = torch.zeros(1), torch.ones(1)
    for value in (
        pmf.log_poisson(zero, log_mean.exp()),
        pmf.log_negative_binomial(zero, log_mean.exp(), theta),
    ):
        assert float(value.detach()) == 0.0
        (gradient,) = torch.autograd.grad(value, log_mean)
        assert float(gradient) == 0.0


@DTYPES
def test_zeros_are_never_more_than_certain(dtype, eps):
    """Limit P(0) → 1: π + (1 − π) rounds to 1, never above it; the log is known to a rounding."""
    logit = torch.linspace(-14, 14, 2_001, dtype=dtype)
    for log_pmf in (0.0, -1e-9, -1e-5):
        own = torch.full_like(logit, log_pmf)
        value = pmf.log_zero_inflated(torch.zeros_like(logit), own, logit)
        assert value.max() <= 0
        exact = log_pmf * torch.sigmoid(-logit.double())  # to log_pmf²
        assert (value - exact).abs().max() <= 4 * eps + log_pmf**2


def test_positive_counts_are_never_extra_zeros():
    """Limit: the gradient of log P(x > 0) passes whole, however large its rounding."""
    log_pmf = torch.tensor([-3e6, -1.0], requires_grad=True)
    logit = torch.tensor([0.7, 0.7], requires_grad=True)
    value = pmf.log_zero_inflated(torch.tensor([1e6, 2.0]), log_pmf, logit)
    of_log_pmf, of_logit = torch.autograd.grad(value.sum(), (log_pmf, logit))
    assert (of_log_pmf == 1).all()
    torch.testing.assert_close(of_logit, -torch.sigmoid(logit))

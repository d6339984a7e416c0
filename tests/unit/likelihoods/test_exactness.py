"""Value and gradients of every loss's claim in float32 and float64 against 50 digits."""

from __future__ import annotations

import itertools
from functools import cache

import exact
import mpmath
import numpy as np
import pytest
import torch

from countae import likelihoods
from countae.likelihoods._cut_density import CutDensity

COUNTS = [0, 1, 2, 5, 12, 30, 150, 10_000, 1_000_000]
MEANS = [1e-6, 1e-3, 0.1, 0.9, 4.7, 13.7, 148.0, 1e4, 1e5]
THETAS = [1e-4, 1e-2, 0.7, 1.9, 3.9, 4.1, 15.0, 100.0, 1e4, 1e6, 1e8]
LOGITS = [float(np.log(pi) - np.log1p(-pi)) for pi in (1e-6, 0.3, 0.999)]
AXES = {
    "mean": MEANS, "inverse_dispersion": THETAS, "zero_logit": LOGITS, "prob_zero_logit": LOGITS,
    "share_logit": [-16.0, -7.0, -0.4, 3.0], "concentration": [1e-3, 0.7, 40.0, 1e4, 1e9],
    "trials": [1.0, 25.0, 3e3, 1e6],
}  # fmt: skip
COARSER = {  # a sum over a grid for each point, in 50 digits
    "mean": [1e-6, 0.9, 13.7, 1e4, 1e5], "inverse_dispersion": [1e-4, 1e-2, 0.7, 4.1, 1e4, 1e8],
}  # fmt: skip
ORACLES = {
    "poisson": exact.poisson, "multinomial": exact.poisson,
    "nb": exact.nb, "nb_batch": exact.nb, "nb_cell": exact.nb, "dirichlet_multinomial": exact.nb,
    "poisson_lognormal": exact.poisson_lognormal, "beta_binomial": exact.beta_binomial,
    "zip": exact.zip_, "hurdle_nb": exact.hurdle_nb, "hurdle_nb_focal": exact.hurdle_nb,
    "zinb": exact.zinb, "zinb_gene": exact.zinb, "zinb_logistic": exact.zinb,
}  # fmt: skip
# In float64 about five times what was measured; a log-normal's mode at a count of 1e6 and a
# rate far below it is known to 1e-16 of the count.
DOUBLE = {"poisson_lognormal": (2e-9, 5e-9), "beta_binomial": (1e-11, 1e-10)}


def grid(name):
    """Counts and parameters, each (entry,), rounded to float32."""
    axes = AXES | COARSER if name == "poisson_lognormal" else AXES
    chosen = [COUNTS] + [axes[parameter] for parameter in likelihoods.get(name).parameters]
    return torch.tensor(list(itertools.product(*chosen)), dtype=torch.float32).T


def computed(name, dtype):
    """Value and gradients on the grid, (entry, 1 + parameter), float64."""
    counts, *values = grid(name).to(dtype)
    family = likelihoods.get(name)()
    at = {
        key: value.clone().requires_grad_(key != "trials")
        for key, value in zip(family.parameters, values, strict=True)
    }
    log_pmf = family.log_pmf(counts, **at)
    assert log_pmf.dtype == dtype
    log_pmf.sum().backward()
    slopes = [
        torch.zeros(len(counts), dtype=torch.float64) if value.grad is None
        else value.grad.double() * (1.0 if key.endswith("logit") else value.detach().double())
        for key, value in at.items()
    ]  # fmt: skip
    return torch.stack([log_pmf.detach().double(), *slopes], dim=1).numpy()


@cache
def expected(oracle):
    """Value and gradients, (entry, 1 + parameter), from 50 digits."""
    name = next(name for name, its_own in ORACLES.items() if its_own is oracle)
    with mpmath.workdps(exact.DIGITS):
        return np.array(
            [
                [float(v) for v in oracle(int(x), *map(mpmath.mpf, at))]
                for x, *at in grid(name).T.tolist()
            ]
        )


def test_every_loss_is_here():
    cuts = {n for n in likelihoods.names() if issubclass(likelihoods.get(n), CutDensity)}
    assert cuts == set(DENSITIES)
    assert set(likelihoods.names()) == cuts | set(ORACLES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ORACLES)
def test_agrees_with_50_digits(name, dtype):
    """Oracle: mpmath at the same rounded inputs; over max(1, |value|) and max(1, |gradient|).

    The targets of float32 are 2e-6 and 1e-5.
    """
    of_value, of_gradient = (2e-6, 1e-5)
    if dtype == torch.float64:
        of_value, of_gradient = DOUBLE.get(name, (1e-14, 1e-14))
    actual, truth = computed(name, dtype), expected(ORACLES[name])
    assert np.isfinite(actual).all()
    assert actual[:, 0].max() <= 0
    error = np.abs(actual - truth) / np.maximum(1, np.abs(truth))
    assert error[:, 0].max() <= of_value
    assert error[:, 1:].max() <= of_gradient


ON_LOG1P = ([-2.0, 0.0, 0.4, 3.0, 9.0], [0.02, 0.5, 3.0, 20.0])  # locations, scales
ON_COUNTS = ([-3.0, 0.0, 0.3, 7.7, 150.0, 1e4], [0.3, 1.0, 5.0, 100.0, 3e3])
DENSITIES = {
    "mse_counts": exact.normal_below, "gaussian": exact.normal_below,
    "weighted_mse": exact.normal_below, "l1": exact.laplace_below, "huber": exact.huber_below,
    "mse_log1p": exact.normal_below, "mahalanobis_mse": exact.normal_below,
}  # fmt: skip
SIZES, WEIGHT = [0.1, 1.0, 12.0], 0.375


@pytest.mark.parametrize("name", DENSITIES)
def test_cut_densities_agree_with_50_digits(name):
    """Oracle: differences of mpmath's distribution functions; counts to 1e6, both tails.

    2e-6 of max(1, |log p|) in float32 and 1e-8 in float64: at a count of a million on the log
    scale an interval is 1e-6 wide, and its ends are known to 1e-15.
    """
    family = likelihoods.get(name)()
    logarithmic = getattr(family, "logarithmic", False)
    rows = list(itertools.product(COUNTS, *(ON_LOG1P if logarithmic else ON_COUNTS), SIZES))
    points = torch.tensor(rows, dtype=torch.float32).T
    with mpmath.workdps(exact.DIGITS):
        truth = []
        for x, m, s, size in points.T.tolist():
            weighted = "weight" in family.parameters
            spread = mpmath.mpf(s) * (mpmath.sqrt(mpmath.mpf(size) / WEIGHT) if weighted else 1)

            def transform(value, size=size):
                return mpmath.log1p(value / mpmath.mpf(size)) if logarithmic else value

            truth.append(float(exact.cut(DENSITIES[name], int(x), m, spread, transform)))
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.float64, 1e-8)):
        x, location, scale, size = points.to(dtype)
        at = {"location": location, "scale": scale, "size_factor": size}
        if "weight" in family.parameters:
            at["weight"] = torch.tensor(WEIGHT, dtype=dtype)
        actual = family.log_pmf(x, **at)
        assert actual.dtype == dtype
        assert actual.max() <= 0
        error = np.abs(actual.double().numpy() - truth) / np.maximum(1, np.abs(truth))
        assert error.max() <= tolerance


def test_zinb_without_extra_zeros_is_nb():
    """Limit π → 0 in float32, value and gradients, to a rounding."""
    counts, mean, theta = grid("nb")
    at = [mean.clone().requires_grad_(), theta.clone().requires_grad_()]
    found = []
    for name, more in (("nb", {}), ("zinb", {"zero_logit": torch.tensor(-103.0)})):
        value = likelihoods.get(name)().log_pmf(
            counts, mean=at[0], inverse_dispersion=at[1], **more
        )
        found.append((value, *torch.autograd.grad(value.sum(), at)))
    for nb, zinb in zip(*found, strict=True):
        likely = found[0][0] > -80  # below, π itself counts
        torch.testing.assert_close(zinb[likely], nb[likely], rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["nb", "poisson_lognormal"])
def test_with_a_large_inverse_dispersion_it_is_poisson(name):
    """Limit θ → ∞ in float32: the gap at θ = 1e8 is below ((x−μ)² + x + μ)/2θ."""
    counts, mean = grid("poisson")
    kept = (counts - mean).abs() <= 1e5
    counts, mean = counts[kept], mean[kept]
    family = likelihoods.get(name)()
    value = family.log_pmf(counts, mean=mean, inverse_dispersion=torch.tensor(1e8))
    poisson = likelihoods.get("poisson")().log_pmf(counts, mean=mean)
    gap = ((counts - mean) ** 2 + counts + mean) / 2e8
    assert ((value - poisson).abs() <= 1.01 * gap + 4e-6 * poisson.abs().clamp(min=1)).all()

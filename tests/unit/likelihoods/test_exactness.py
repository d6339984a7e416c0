"""Value and gradients of every count family in float32 and float64 against 50 digits."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
import torch

from countae import likelihoods

COUNTS = [0, 1, 2, 5, 12, 30, 150, 10_000, 1_000_000]
MEANS = [1e-6, 1e-3, 0.1, 0.9, 4.7, 13.7, 148.0, 1e4, 1e5]
THETAS = [1e-4, 1e-2, 0.7, 1.9, 3.9, 4.1, 15.0, 100.0, 1e4, 1e6, 1e8]
LOGITS = [float(np.log(pi) - np.log1p(-pi)) for pi in (1e-6, 0.3, 0.999)]
AXES = {
    "mean": MEANS, "inverse_dispersion": THETAS, "zero_logit": LOGITS, "prob_zero_logit": LOGITS,
}  # fmt: skip
loggamma, digamma = mpmath.memoize(mpmath.loggamma), mpmath.memoize(mpmath.digamma)


def poisson(x, mu):
    """log P(x) and its derivative in log μ."""
    return x * mpmath.log(mu) - mu - loggamma(x + 1), x - mu


def nb(x, mu, theta):
    """log P(x) and its derivatives in log μ and log θ, by the textbook's formula."""
    n, log_p = x + theta, mpmath.log(theta / (mu + theta))
    value = loggamma(n) - loggamma(theta) - loggamma(x + 1) + theta * log_p
    value += x * mpmath.log(mu / (mu + theta))
    of_theta = theta * (digamma(n) - digamma(theta) + log_p + (mu - x) / (mu + theta))
    return value, (x - mu) * theta / (mu + theta), of_theta


def zinb(x, mu, theta, logit):
    """log P(x) and its derivatives in log μ, log θ and logit π, by Bayes' rule."""
    value, *slopes = nb(x, mu, theta)
    pi = 1 / (1 + mpmath.exp(-logit))
    own = (1 - pi) * mpmath.exp(value)
    extra = pi if x == 0 else mpmath.mpf(0)
    share = own / (own + extra)
    return mpmath.log(own + extra), *(share * slope for slope in slopes), 1 - share - pi


def zip_(x, mu, logit):
    """log P(x) and its derivatives in log μ and logit π, by Bayes' rule."""
    value, slope = poisson(x, mu)
    pi = 1 / (1 + mpmath.exp(-logit))
    own = (1 - pi) * mpmath.exp(value)
    extra = pi if x == 0 else mpmath.mpf(0)
    share = own / (own + extra)
    return mpmath.log(own + extra), share * slope, 1 - share - pi


def hurdle_nb(x, mu, theta, logit):
    """log P(x) and its derivatives in log μ, log θ and logit P(0), by the chain rule."""
    zero = 1 / (1 + mpmath.exp(-logit))
    if x == 0:
        return mpmath.log(zero), mpmath.mpf(0), mpmath.mpf(0), 1 - zero
    value, *slopes = nb(x, mu, theta)
    at_zero, *of_zero = nb(0, mu, theta)
    positive = -mpmath.expm1(at_zero)
    value += mpmath.log1p(-zero) - mpmath.log(positive)
    odds = mpmath.exp(at_zero) / positive
    return value, *(a + odds * b for a, b in zip(slopes, of_zero, strict=True)), -zero


ORACLES = {"poisson": poisson, "nb": nb, "zinb": zinb, "zip": zip_, "hurdle_nb": hurdle_nb}


def grid(name):
    """Counts and parameters, each (entry,), rounded to float32."""
    axes = [COUNTS] + [AXES[parameter] for parameter in likelihoods.get(name).parameters]
    return torch.tensor(list(itertools.product(*axes)), dtype=torch.float32).T


def computed(name, dtype):
    """Value and gradients on the grid, (entry, 1 + parameter), float64."""
    counts, *values = grid(name).to(dtype)
    family = likelihoods.get(name)()
    at = {
        key: value.clone().requires_grad_()
        for key, value in zip(family.parameters, values, strict=True)
    }
    log_pmf = family.log_pmf(counts, **at)
    assert log_pmf.dtype == dtype
    log_pmf.sum().backward()
    slopes = [
        value.grad.double() * (1.0 if key.endswith("logit") else value.detach().double())
        for key, value in at.items()
    ]
    return torch.stack([log_pmf.detach().double(), *slopes], dim=1).numpy()


FAMILIES = [*ORACLES]


def test_every_family_of_noise_is_here():
    members = map(likelihoods.get, likelihoods.names())
    noise = {m.name for m in members if m.noise_heads is not None and not m.noise_from_residuals}
    assert noise <= set(FAMILIES)


@pytest.fixture(scope="module")
def exact():
    """Value and gradients by family, (entry, 1 + parameter), from 50 digits."""
    with mpmath.workdps(50):
        return {
            name: np.array(
                [
                    [float(v) for v in ORACLES[name](int(x), *map(mpmath.mpf, at))]
                    for x, *at in grid(name).T.tolist()
                ]
            )
            for name in FAMILIES
        }


@pytest.mark.parametrize(
    ("dtype", "of_value", "of_gradient"),
    [(torch.float32, 2e-6, 1e-5), (torch.float64, 1e-14, 1e-14)],
    ids=["float32", "float64"],
)
@pytest.mark.parametrize("name", FAMILIES)
def test_agrees_with_50_digits(name, exact, dtype, of_value, of_gradient):
    """Oracle: mpmath at the same rounded inputs; over max(1, |value|) and max(1, |gradient|).

    The targets of float32; in float64 about five times what was measured.
    """
    actual, expected = computed(name, dtype), exact[name]
    assert np.isfinite(actual).all()
    assert actual[:, 0].max() <= 0
    error = np.abs(actual - expected) / np.maximum(1, np.abs(expected))
    assert error[:, 0].max() <= of_value
    assert error[:, 1:].max() <= of_gradient


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


def test_nb_of_large_inverse_dispersion_is_poisson():
    """Limit θ → ∞ in float32: the gap at θ = 1e8 is below ((x−μ)² + x + μ)/2θ."""
    counts, mean = grid("poisson")
    kept = (counts - mean).abs() <= 1e5
    counts, mean = counts[kept], mean[kept]
    nb = likelihoods.get("nb")().log_pmf(counts, mean=mean, inverse_dispersion=torch.tensor(1e8))
    poisson = likelihoods.get("poisson")().log_pmf(counts, mean=mean)
    gap = ((counts - mean) ** 2 + counts + mean) / 2e8
    assert ((nb - poisson).abs() <= 1.01 * gap + 4e-6 * poisson.abs().clamp(min=1)).all()

"""How exact log-probabilities are in float32: `python benchmarks/accuracy.py`.

Prints, for our losses and for formulas that other programs use, the worst error of log P and of
its gradients over a grid, and the share of the grid that errs by more than 1e-5. The truth is the
textbook's formula in 50 digits at the same float32-rounded inputs. Errors are over
max(1, |truth|); a value that is not finite counts as infinitely wrong. Peers' formulas are written
here from their documentation, as formulas; a program may do more around them.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from countae import likelihoods

COUNTS = [0, 1, 2, 3, 7, 12, 30, 150, 1_000, 10_000, 100_000, 1_000_000]
MEANS = [a * 10.0**k for k in range(-6, 5) for a in (1, 3)] + [1e5]
THETAS = [a * 10.0**k for k in range(-4, 8) for a in (1, 3)] + [1e8]
ZERO_PROBABILITIES = [1e-6, 1e-3, 0.3, 0.9, 0.999]
LIMIT = 1e-5
EPS = 1e-8  # as scvi-tools documents
EPS_DCA = 1e-10
loggamma, digamma = mpmath.memoize(mpmath.loggamma), mpmath.memoize(mpmath.digamma)

Form = Callable[..., Tensor]


def lgamma_nb(x: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """The NB of scvi-tools: lgamma differences, logs of x + eps."""
    log_total = torch.log(theta + mean + EPS)
    return (
        theta * (torch.log(theta + EPS) - log_total)
        + x * (torch.log(mean + EPS) - log_total)
        + torch.lgamma(x + theta)
        - torch.lgamma(theta)
        - torch.lgamma(x + 1)
    )


def lgamma_zinb(x: Tensor, mean: Tensor, theta: Tensor, logit: Tensor) -> Tensor:
    """The ZINB of scvi-tools: softplus of logits around the same NB."""
    log_zero = theta * (torch.log(theta + EPS) - torch.log(theta + mean + EPS)) - logit
    at_zero = softplus(log_zero) - softplus(-logit)  # log π = −softplus(−logit)
    above = lgamma_nb(x, mean, theta) - logit - softplus(-logit)
    return torch.where(x < EPS, at_zero, above)


def dca_nb(x: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """The NB of DCA: θ at most 1e6, log(1 + μ/θ)."""
    theta = theta.clamp(max=1e6)
    normaliser = torch.lgamma(theta + EPS_DCA) + torch.lgamma(x + 1)
    normaliser = normaliser - torch.lgamma(x + theta + EPS_DCA)
    exponents = (theta + x) * torch.log(1 + mean / (theta + EPS_DCA))
    exponents = exponents + x * (torch.log(theta + EPS_DCA) - torch.log(mean + EPS_DCA))
    return -(normaliser + exponents)


def dca_zinb(x: Tensor, mean: Tensor, theta: Tensor, logit: Tensor) -> Tensor:
    """The ZINB of DCA: probabilities, not logits."""
    pi, theta = torch.sigmoid(logit), theta.clamp(max=1e6)
    zero = torch.pow(theta / (theta + mean + EPS_DCA), theta)
    at_zero = torch.log(pi + (1 - pi) * zero + EPS_DCA)
    return torch.where(x < EPS, at_zero, dca_nb(x, mean, theta) + torch.log(1 - pi + EPS_DCA))


def torch_nb(x: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """``torch.distributions``, by logits."""
    logits = torch.log(mean) - torch.log(theta)
    return torch.distributions.NegativeBinomial(theta, logits=logits).log_prob(x)


def torch_poisson(x: Tensor, mean: Tensor) -> Tensor:
    """``torch.distributions``."""
    return torch.distributions.Poisson(mean).log_prob(x)


def eps_poisson(x: Tensor, mean: Tensor) -> Tensor:
    """Textbook's formula with a log of μ + eps."""
    return x * torch.log(mean + EPS) - mean - torch.lgamma(x + 1)


def ours(name: str) -> Form:
    """``log_pmf`` of a registered loss, parameters in their order."""
    family = likelihoods.get(name)()
    return lambda x, *at: family.log_pmf(x, **dict(zip(family.parameters, at, strict=True)))


FORMS: dict[str, dict[str, Form]] = {
    "poisson": {
        "countae": ours("poisson"),
        "lgamma, log(μ + eps)": eps_poisson,
        "torch.distributions": torch_poisson,
    },
    "nb": {
        "countae": ours("nb"),
        "lgamma, logs + eps (scvi-tools)": lgamma_nb,
        "the same, θ ≤ 1e6 (DCA)": dca_nb,
        "torch.distributions": torch_nb,
    },
    "zinb": {
        "countae": ours("zinb"),
        "lgamma, logs + eps (scvi-tools)": lgamma_zinb,
        "the same, θ ≤ 1e6 (DCA)": dca_zinb,
    },
}


def truth(x: int, mu: Any, theta: Any = None, logit: Any = None) -> list[float]:
    """Log P(x) and its derivatives in log μ, log θ and logit π, as far as these are given."""
    if theta is None:
        return [float(x * mpmath.log(mu) - mu - loggamma(mpmath.mpf(x + 1))), float(x - mu)]
    n, log_p = x + theta, mpmath.log(theta / (mu + theta))
    value = loggamma(n) - loggamma(theta) - loggamma(mpmath.mpf(x + 1)) + theta * log_p
    value += x * mpmath.log(mu / (mu + theta))
    of_theta = theta * (digamma(n) - digamma(theta) + log_p + (mu - x) / (mu + theta))
    slopes = [(x - mu) * theta / (mu + theta), of_theta]
    if logit is not None:
        pi = 1 / (1 + mpmath.exp(-logit))
        own, extra = (1 - pi) * mpmath.exp(value), pi * (x == 0)
        share = own / (own + extra)
        value, slopes = mpmath.log(own + extra), [share * s for s in slopes] + [1 - share - pi]
    return [float(value), *map(float, slopes)]


def grid(name: str) -> Tensor:
    """Counts and parameters, (1 + parameter, entry), rounded to float32."""
    logits = [float(np.log(pi) - np.log1p(-pi)) for pi in ZERO_PROBABILITIES]
    axes: list[list[float]] = [[*COUNTS], MEANS, THETAS, logits]
    axes = axes[: 1 + len(likelihoods.get(name).parameters)]
    return torch.tensor(list(itertools.product(*axes)), dtype=torch.float32).T


def errors(form: Form, at: Tensor, exact: np.ndarray) -> np.ndarray:
    """Of the value and of each gradient, (entry, 1 + parameter), over max(1, |truth|)."""
    counts, *values = at
    leaves = [value.clone().requires_grad_() for value in values]
    value = form(counts, *leaves)
    value.sum().backward()
    found = [value.detach().double()]
    for index, leaf in enumerate(leaves):
        scale = (
            leaf.detach().double() if index < 2 else 1.0
        )  # of log μ, log θ and the logit itself
        found.append((leaf.grad if leaf.grad is not None else torch.zeros(())).double() * scale)
    error = np.abs(torch.stack(found, dim=1).numpy() - exact) / np.maximum(1, np.abs(exact))
    return np.where(np.isfinite(error), error, np.inf)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    dtype = getattr(torch, parser.parse_args().dtype)
    mpmath.mp.dps = 50
    print("| loss | form | log P, worst | > 1e-5 | gradients, worst | > 1e-5 | log P > 0 |")
    print("|---|---|---|---|---|---|---|")
    for name, forms in FORMS.items():
        at = grid(name)
        exact = np.array([truth(int(x), *map(mpmath.mpf, rest)) for x, *rest in at.T.tolist()])
        for label, form in forms.items():
            error = errors(form, at.to(dtype), exact)
            value, gradient = error[:, 0], error[:, 1:].max(axis=1)
            above = (form(*at.to(dtype)) > 0).double().mean().item()
            cells = [f"{value.max():.2g}", f"{(value > LIMIT).mean():.1%}"]
            cells += [f"{gradient.max():.2g}", f"{(gradient > LIMIT).mean():.1%}", f"{above:.1%}"]
            print(f"| {name} | {label} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

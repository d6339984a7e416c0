"""How exact log-probabilities are in float32: `python benchmarks/accuracy.py`.

Prints, for our losses and for formulas that other programs use, the worst error of log P and of
its gradients over a grid, and the share of the grid that errs by more than 1e-5. The truth is the
textbook's formula in 50 digits at the same float32-rounded inputs. Errors are over
max(1, |truth|); a value that is not finite counts as infinitely wrong. Peers' formulas are written
here from their documentation, as formulas; a program may do more around them. Losses of a residual
are not trained on their log P, so that only its value is measured; `l1`, `huber` and so on say
which density is cut into integers. The truths are those of the tests, `tests/exact.py`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mpmath
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from countae import likelihoods

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import exact

COUNTS = [0, 1, 2, 3, 7, 12, 30, 150, 1_000, 10_000, 100_000, 1_000_000]
MEANS = [a * 10.0**k for k in range(-6, 5) for a in (1, 3)] + [1e5]
THETAS = [a * 10.0**k for k in range(-4, 8) for a in (1, 3)] + [1e8]
ZERO_PROBABILITIES = [1e-6, 1e-3, 0.3, 0.9, 0.999]
LIMIT = 1e-5
EPS = 1e-8  # as scvi-tools documents
EPS_DCA = 1e-10
SHARE_LOGITS = [-16.0, -11.0, -7.0, -3.0, -0.4, 3.0]
CONCENTRATIONS = [10.0**k for k in range(-3, 10)]
TRIALS = [1.0, 25.0, 3e3, 1e6]
LOCATIONS = {False: [-3.0, 0.0, 0.3, 7.7, 150.0, 1e4], True: [-2.0, 0.0, 0.4, 3.0, 9.0]}
SCALES = {False: [0.3, 1.0, 5.0, 100.0, 3e3], True: [0.02, 0.5, 3.0, 20.0]}  # on log1p counts
SIZES = [0.1, 1.0, 12.0]
NODES = 20  # of Gauss and Hermite

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


def probability_zip(x: Tensor, mean: Tensor, logit: Tensor) -> Tensor:
    """Textbook's formula with probabilities, not logits."""
    pi, poisson = torch.sigmoid(logit), torch_poisson(x, mean)
    at_zero = torch.log(pi + (1 - pi) * torch.exp(poisson))
    return torch.where(x == 0, at_zero, torch.log(1 - pi) + poisson)


def probability_hurdle(x: Tensor, mean: Tensor, theta: Tensor, logit: Tensor) -> Tensor:
    """Textbook's formula: log(1 − NB(0)) from the probability, around Torch's NB."""
    zero = torch.exp(torch_nb(torch.zeros_like(x), mean, theta))
    above = logsigmoid(-logit) + torch_nb(x, mean, theta) - torch.log(1 - zero)
    return torch.where(x == 0, logsigmoid(logit), above)


def hermite(x: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """Poisson log-normal by Gauss–Hermite nodes of the normal, where they stand."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    v = torch.log1p(1 / theta)[..., None]
    rate = torch.exp(torch.log(mean)[..., None] - v / 2 + v.sqrt() * torch.tensor(nodes).to(x))
    log_weight = torch.tensor(np.log(weights / weights.sum())).to(x)
    return torch.logsumexp(torch_poisson(x[..., None], rate) + log_weight, dim=-1)


def lgamma_beta_binomial(x: Tensor, logit: Tensor, kappa: Tensor, n: Tensor) -> Tensor:
    """The same claim by ``lgamma`` alone, as in Pyro's BetaBinomial, with a share of an NB."""
    p, q = torch.sigmoid(logit), torch.sigmoid(-logit)
    log_beta = lambda a, b: torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)  # noqa: E731
    below = torch.minimum(x, n)
    value = log_beta(below + kappa * p, n - below + kappa * q) - log_beta(kappa * p, kappa * q)
    value = value - torch.log(n + 1) - log_beta(n - below + 1, below + 1)
    known = torch.where(x > n, -torch.inf, value + np.log1p(-1e-3))
    return torch.logaddexp(known, torch_nb(x, n * p, kappa * p) + np.log(1e-3))


def difference(
    below: Form, logarithmic: bool, x: Tensor, m: Tensor, s: Tensor, size: Tensor
) -> Tensor:
    """Log of a difference of distribution functions, as one would write it."""
    g = (lambda v: torch.log1p(v / size)) if logarithmic else (lambda v: v)
    low = torch.where(x > 0, below((g((x - 0.5).clamp(min=0)) - m) / s), 0)
    return torch.log(below((g(x + 0.5) - m) / s) - low)


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
    "poisson_lognormal": {
        "countae": ours("poisson_lognormal"),
        "20 Gauss–Hermite nodes, torch": hermite,
    },
    "beta_binomial": {
        "countae": ours("beta_binomial"),
        "lgamma (Pyro), torch": lgamma_beta_binomial,
    },
    "zip": {"countae": ours("zip"), "probabilities, torch": probability_zip},
    "zinb": {
        "countae": ours("zinb"),
        "lgamma, logs + eps (scvi-tools)": lgamma_zinb,
        "the same, θ ≤ 1e6 (DCA)": dca_zinb,
    },
    "hurdle_nb": {"countae": ours("hurdle_nb"), "probabilities, torch": probability_hurdle},
    "mse_counts": {
        "countae": ours("mse_counts"),
        "log of a difference": partial(difference, torch.special.ndtr, False),
    },
    "mse_log1p": {
        "countae": ours("mse_log1p"),
        "log of a difference": partial(difference, torch.special.ndtr, True),
    },
    "l1": {
        "countae": ours("l1"),
        "log of a difference": partial(difference, torch.distributions.Laplace(0, 1).cdf, False),
    },
    "huber": {"countae": ours("huber")},
}
SAME = {  # claims of the same form, measured above
    "multinomial": "poisson", "nb_batch": "nb", "nb_cell": "nb", "dirichlet_multinomial": "nb",
    "zinb_gene": "zinb", "zinb_logistic": "zinb", "hurdle_nb_focal": "hurdle_nb",
    "gaussian": "mse_counts", "weighted_mse": "mse_counts", "mahalanobis_mse": "mse_log1p",
}  # fmt: skip
TRUTHS = {
    "poisson": exact.poisson, "nb": exact.nb, "zip": exact.zip_, "zinb": exact.zinb,
    "hurdle_nb": exact.hurdle_nb, "poisson_lognormal": exact.poisson_lognormal,
    "beta_binomial": exact.beta_binomial,
}  # fmt: skip
BELOW = {
    "mse_counts": exact.normal_below, "mse_log1p": exact.normal_below,
    "l1": exact.laplace_below, "huber": exact.huber_below,
}  # fmt: skip


def truth(name: str, x: int, *at: float) -> list[float]:
    """Log P(x) and its derivatives in log μ, log θ or logits; of a cut density the value alone."""
    if name in TRUTHS:
        return [float(value) for value in TRUTHS[name](x, *map(mpmath.mpf, at))]
    m, s, size = map(mpmath.mpf, at)
    transform = (lambda v: mpmath.log1p(v / size)) if name == "mse_log1p" else (lambda v: v)
    return [float(exact.cut(BELOW[name], x, m, s, transform))]


def grid(name: str) -> Tensor:
    """Counts and parameters, (1 + parameter, entry), rounded to float32."""
    log, coarse = name == "mse_log1p", slice(None, None, 3 if name == "poisson_lognormal" else 1)
    logits = [float(np.log(pi) - np.log1p(-pi)) for pi in ZERO_PROBABILITIES]
    every = {
        "mean": MEANS[coarse], "inverse_dispersion": THETAS[coarse], "zero_logit": logits,
        "prob_zero_logit": logits, "share_logit": SHARE_LOGITS, "concentration": CONCENTRATIONS,
        "trials": TRIALS, "location": LOCATIONS[log], "scale": SCALES[log], "size_factor": SIZES,
    }  # fmt: skip
    axes = [[*map(float, COUNTS)], *(every[p] for p in likelihoods.get(name).parameters)]
    return torch.tensor(list(itertools.product(*axes)), dtype=torch.float32).T


def errors(name: str, form: Form, at: Tensor, true: np.ndarray) -> np.ndarray:
    """Of the value and of each gradient, (entry, 1 + gradient), over max(1, |truth|)."""
    counts, *values = at
    leaves = [value.clone().requires_grad_() for value in values]
    value = form(counts, *leaves)
    value.sum().backward()
    found = [value.detach().double()]
    names = likelihoods.get(name).parameters
    for leaf, key in list(zip(leaves, names, strict=True))[: true.shape[1] - 1]:
        # of logarithms, and of logits themselves; the number of trials is given
        scale = 1.0 if key.endswith("logit") else leaf.detach().double()
        zero = leaf.grad is None or key == "trials"
        found.append(torch.zeros_like(leaf).double() if zero else leaf.grad.double() * scale)
    error = np.abs(torch.stack(found, dim=1).numpy() - true) / np.maximum(1, np.abs(true))
    return np.where(np.isfinite(error), error, np.inf)


def row(name: str, label: str, form: Form, at: Tensor, true: np.ndarray) -> str:
    """One line of the table."""
    error = errors(name, form, at, true)
    above = (form(*at) > 0).double().mean().item()
    cells = [f"{error[:, 0].max():.2g}", f"{(error[:, 0] > LIMIT).mean():.1%}"]
    if error.shape[1] > 1:
        gradient = error[:, 1:].max(axis=1)
        cells += [f"{gradient.max():.2g}", f"{(gradient > LIMIT).mean():.1%}"]
    else:
        cells += ["–", "–"]
    return f"| {name} | {label} | " + " | ".join([*cells, f"{above:.1%}"]) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    dtype = getattr(torch, parser.parse_args().dtype)
    mpmath.mp.dps = exact.DIGITS
    missing = set(likelihoods.names()) - {*FORMS, *SAME}
    assert not missing, f"not measured: {missing}"
    print("| loss | form | log P, worst | > 1e-5 | gradients, worst | > 1e-5 | log P > 0 |")
    print("|---|---|---|---|---|---|---|")
    for name, forms in FORMS.items():
        at = grid(name)
        true = np.array([truth(name, int(x), *rest) for x, *rest in at.T.tolist()])
        for label, form in forms.items():
            print(row(name, label, form, at.to(dtype), true), flush=True)


if __name__ == "__main__":
    main()

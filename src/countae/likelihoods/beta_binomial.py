"""Beta-binomial: each molecule of a cell is of a gene or not, with a share that varies."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from countae.kernels.beta_binomial import cumulated, log_beta_binomial
from countae.kernels.precision import widened
from countae.likelihoods import register
from countae.likelihoods._base import GeneMoments, Likelihood, flattened, to_numpy, to_tensor
from countae.likelihoods._compositions import log_total
from countae.likelihoods.nb import NegativeBinomial

LARGEST_SHARE = 0.99  # at which training starts; a single gene has all molecules
TINY = 1e-290  # NumPy draws from no beta distribution with a parameter of 0
_NB = NegativeBinomial()


@register("beta_binomial")
class BetaBinomial(Likelihood):
    r"""Beta-binomial of n molecules with a share that varies around p from cell to cell.

    .. math:: P(x) = (1-ε) \binom{n}{x} \frac{B(x+κp,\, n-x+κ(1-p))}{B(κp,\, κ(1-p))}
                     + ε\, NB(x; np, κp)

    ``trials`` n is the cell's total over the modelled genes that its visible counts imply,
    s R rounded to at least 1, with R the genes' mean total at size factor 1 (head ``log_total``,
    not learnt); (cell, gene). ``share_logit`` is logit p, one per gene and cell, ``concentration``
    κ > 0 one per gene. The mean is np, the variance np(1−p)(κ+n)/(κ+1). κ → ∞ is binomial, and
    with n → ∞ Poisson; n → ∞ alone is NB(np, κp).

    A hidden count may exceed n, an estimate made without it, and in a cell with one dominant gene
    it does; hence ε = 1/1,000, the probability that n says nothing of the total, with the
    distribution that is left when the total is unknown. It has the same mean.
    Reference: Skellam 1948, doi:10.1111/j.2517-6161.1948.tb00014.x.

    >>> from countae.likelihoods import BetaBinomial
    >>> BetaBinomial().distribution(share_logit=-2.0, concentration=10.0, trials=20.0).mean
    tensor(2.3841)
    """

    name = "beta_binomial"
    title = "Beta-binomial"
    reference = "10.1111/j.2517-6161.1948.tb00014.x"
    complexity = 1
    heads = {"share_logit": "entry", "log_concentration": "gene", "log_total": "gene"}
    parameters = ("share_logit", "concentration", "trials")
    fixed_heads = ("log_total",)
    start_noise = "nb"
    unknown_total: ClassVar[float] = 1e-3

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        """The share of the mean, and the concentration with the NB's variance of a small share."""
        share = (moments.mean / moments.mean.sum()).clamp(max=LARGEST_SHARE)
        return {
            "share_logit": torch.logit(share),
            "log_concentration": moments.inverse_dispersion.log() - share.log(),
            "log_total": log_total(moments),
        }

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        trials = torch.round(size_factor * raw["log_total"].detach().exp()).clamp(min=1)
        return {
            "share_logit": raw["share_logit"],
            "concentration": raw["log_concentration"].exp(),
            "trials": trials,
        }

    def log_pmf(
        self, counts: Tensor, *, share_logit: Tensor, concentration: Tensor, trials: Tensor
    ) -> Tensor:
        x, logit, kappa, n = torch.broadcast_tensors(
            *widened(counts, share_logit, concentration, trials)
        )
        known = log_beta_binomial(torch.minimum(x, n), n, logit, kappa)
        known = torch.where(x > n, -torch.inf, known + math.log1p(-self.unknown_total))
        share = torch.sigmoid(logit)
        unknown = _NB.log_pmf(x, mean=n * share, inverse_dispersion=kappa * share)
        value = torch.logaddexp(known, unknown + math.log(self.unknown_total))
        return value.clamp(max=0).to(share_logit.dtype)

    def cdf(
        self, counts: Tensor, *, share_logit: Tensor, concentration: Tensor, trials: Tensor
    ) -> Tensor:
        every = torch.broadcast_tensors(counts, share_logit, concentration, trials)
        x, logit, kappa, n = flattened(every, every[0].shape)
        low = np.floor(np.clip(x, 0, n))
        high = np.minimum(low + 1, n)
        share = np.clip(x - low, 0, 1)  # linear between the integers
        known = (1 - share) * _cdf(low, logit, kappa, n) + share * _cdf(high, logit, kappa, n)
        _, z, k, trials_ = (value.double() for value in every)
        p = torch.sigmoid(z)
        unknown = to_numpy(_NB.cdf(every[0].double(), mean=trials_ * p, inverse_dispersion=k * p))
        known = np.where(x < 0, 0.0, known).reshape(unknown.shape)
        value = (1 - self.unknown_total) * known + self.unknown_total * unknown
        return to_tensor(value, share_logit)

    def mean(self, *, share_logit: Tensor, concentration: Tensor, trials: Tensor) -> Tensor:
        return trials * torch.sigmoid(share_logit)

    def variance(self, *, share_logit: Tensor, concentration: Tensor, trials: Tensor) -> Tensor:
        share, rest = torch.sigmoid(share_logit), torch.sigmoid(-share_logit)
        mean = trials * share
        known = mean * rest * (concentration + trials) / (concentration + 1)
        unknown = mean * (1 + trials / concentration)
        return known + self.unknown_total * (unknown - known)

    def sample(
        self,
        rng: np.random.Generator,
        *,
        share_logit: Tensor,
        concentration: Tensor,
        trials: Tensor,
    ) -> Tensor:
        every = torch.broadcast_tensors(share_logit, concentration, trials)
        logit, kappa, n = (to_numpy(value.double()) for value in every)
        p, rest = np.maximum(expit(logit), TINY), np.maximum(expit(-logit), TINY)
        known = rng.binomial(n.astype(np.int64), rng.beta(kappa * p, kappa * rest))
        unknown = rng.poisson(rng.gamma(kappa * p, n / kappa))
        return to_tensor(
            np.where(rng.random(n.shape) < self.unknown_total, unknown, known), share_logit
        )


def _cdf(
    counts: np.ndarray, logit: np.ndarray, concentration: np.ndarray, trials: np.ndarray
) -> np.ndarray:
    """The beta-binomial's own, at whole counts, (entry,)."""
    x, z, kappa, n = map(torch.as_tensor, (counts, logit, concentration, trials))
    log_at = log_beta_binomial(x, n, z, kappa).numpy()
    alpha, beta = kappa * torch.sigmoid(z), kappa * torch.sigmoid(-z)
    return cumulated(counts, log_at, trials, alpha.numpy(), beta.numpy())

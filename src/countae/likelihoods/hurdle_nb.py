"""Hurdle negative binomial: whether a gene is seen, and how often if so, said apart."""

from __future__ import annotations

import numpy as np
import torch
from scipy import special
from torch import Tensor
from torch.nn.functional import logsigmoid

from countae.kernels.precision import widened
from countae.kernels.special import log1mexp
from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, GeneMoments, Likelihood, to_numpy, to_tensor
from countae.likelihoods._best_start import best_heads
from countae.likelihoods.nb import NegativeBinomial

_NB = NegativeBinomial()


@register("hurdle_nb")
class HurdleNegativeBinomial(Likelihood):
    r"""Zero with probability :math:`p`, else a negative binomial that cannot be zero.

    .. math:: P(0) = p, \quad P(x) = (1-p)\, \frac{NB(x; μ, θ)}{1 - NB(0; μ, θ)}

    ``prob_zero_logit`` is logit p, one per gene and cell; ``mean`` is the mean μ > 0 of the NB
    before it is truncated (the count's own mean is (1−p)μ/(1−NB(0))), and
    ``inverse_dispersion`` is θ > 0, one per gene. All broadcast to (cell, gene). p is the chance
    of any zero, not of an extra one: zeros may also be rarer than the NB's.

    The loss is the cross-entropy of zero or not, plus the truncated NB's term of positive counts.
    The network does not see a cell's depth, so the odds of a positive count are multiplied by the
    size factor, as those of an NB with θ = 1 (and of any with a small mean) are.
    Reference: Mullahy 1986, doi:10.1016/0304-4076(86)90002-3.

    >>> from countae.likelihoods import HurdleNegativeBinomial
    >>> claim = HurdleNegativeBinomial().distribution(
    ...     mean=2.0, inverse_dispersion=0.5, prob_zero_logit=0.0
    ... )
    >>> claim.mean
    tensor(1.8090)
    """

    name = "hurdle_nb"
    title = "Hurdle negative binomial"
    reference = "10.1016/0304-4076(86)90002-3"
    complexity = 6
    heads = {"log_mean": "entry", "log_inverse_dispersion": "gene", "prob_zero_logit": "entry"}
    parameters = ("mean", "inverse_dispersion", "prob_zero_logit")
    start_noise = "zinb"

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        """Mean and zeros of the ZINB with these moments, at size factor 1."""
        log_mean = moments.mean.log() - torch.log1p(-moments.zero_probability)
        positive = (
            torch.log1p(-moments.zero_probability)
            + log1mexp(_log_nb_zero(log_mean.exp(), moments.inverse_dispersion))
        )  # fmt: skip
        return {
            "log_mean": log_mean,
            "log_inverse_dispersion": moments.inverse_dispersion.log(),
            "prob_zero_logit": log1mexp(positive) - positive,
        }

    def best_start(
        self, counts: np.ndarray, size_factor: np.ndarray, moments: GeneMoments
    ) -> dict[str, Tensor]:
        return best_heads(self, counts, size_factor, self.start(moments))

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        return {
            "mean": size_factor * raw["log_mean"].exp(),
            "inverse_dispersion": raw["log_inverse_dispersion"].exp(),
            "prob_zero_logit": raw["prob_zero_logit"] - size_factor.log(),
        }

    def log_pmf(
        self, counts: Tensor, *, mean: Tensor, inverse_dispersion: Tensor, prob_zero_logit: Tensor
    ) -> Tensor:
        truncated = log_truncated(counts, mean, inverse_dispersion)
        positive = logsigmoid(-prob_zero_logit) + truncated
        return torch.where(counts == 0, logsigmoid(prob_zero_logit), positive)

    def compiled_loss(self) -> CompiledLoss:
        from countae.kernels.fused_counts import (
            hurdle_nb,
        )  # numba takes a third of a second to import

        return CompiledLoss(tuple(self.heads), hurdle_nb)

    def cdf(
        self, counts: Tensor, *, mean: Tensor, inverse_dispersion: Tensor, prob_zero_logit: Tensor
    ) -> Tensor:
        # 1 − (1−p) P(NB > x)/P(NB > 0): upper tails, which keep their digits where NB(0) is near 1
        x, mu, theta = to_numpy(counts), to_numpy(mean), to_numpy(inverse_dispersion)
        after, total = np.maximum(x, 0) + 1, mu + theta
        above = np.where(
            mu < theta,  # the smaller share of the two is the one that has its digits
            special.betainc(after, theta, mu / total),
            special.betaincc(theta, after, theta / total),
        )
        positive = -np.expm1(-theta * np.log1p(mu / theta))
        share = to_tensor(np.minimum(above / positive, 1.0), mean)
        value = 1 - torch.sigmoid(-prob_zero_logit) * share
        return torch.where(counts < 0, torch.zeros_like(value), value)

    def prob_zero(
        self, *, mean: Tensor, inverse_dispersion: Tensor, prob_zero_logit: Tensor
    ) -> Tensor:
        return torch.sigmoid(prob_zero_logit)

    def recursion(
        self, *, mean: Tensor, inverse_dispersion: Tensor, prob_zero_logit: Tensor
    ) -> tuple[Tensor, ...]:
        _, one, a, b = _NB.recursion(mean=mean, inverse_dispersion=inverse_dispersion)
        factor = _factor(mean, inverse_dispersion, prob_zero_logit)
        return torch.sigmoid(prob_zero_logit), factor * one, a, b

    def mean(self, *, mean: Tensor, inverse_dispersion: Tensor, prob_zero_logit: Tensor) -> Tensor:
        return _factor(mean, inverse_dispersion, prob_zero_logit) * mean

    def variance(
        self, *, mean: Tensor, inverse_dispersion: Tensor, prob_zero_logit: Tensor
    ) -> Tensor:
        # the NB's second moment μ(1 + μ + μ/θ), times the factor f of positive counts, minus m²,
        # where m = fμ and 1 − f = (p − NB(0))/(1 − NB(0)), which has its digits where f is near 1
        log_zero = _log_nb_zero(mean, inverse_dispersion)
        rarer = (torch.sigmoid(prob_zero_logit) - log_zero.exp()) / -torch.expm1(log_zero)
        count_mean = _factor(mean, inverse_dispersion, prob_zero_logit) * mean
        return count_mean * (1 + mean / inverse_dispersion + mean * rarer)

    def sample(
        self,
        rng: np.random.Generator,
        *,
        mean: Tensor,
        inverse_dispersion: Tensor,
        prob_zero_logit: Tensor,
    ) -> Tensor:
        every = np.broadcast_arrays(
            to_numpy(mean), to_numpy(inverse_dispersion), to_numpy(torch.sigmoid(prob_zero_logit))
        )
        mu, theta, zero = every
        drawn = _positive_nb(rng, mu, theta) * (rng.random(zero.shape) >= zero)
        return to_tensor(drawn, mean)


def log_truncated(counts: Tensor, mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
    """Log-probability of positive counts under the NB without its zeros, (cell, gene).

    In float64: for a small mean, two logarithms of it leave a number near 0.
    """
    x, mu, theta = widened(counts, mean, inverse_dispersion)
    log_nb = _NB.log_pmf(x, mean=mu, inverse_dispersion=theta)
    return (log_nb - log1mexp(_log_nb_zero(mu, theta))).to(mean.dtype)


def _log_nb_zero(mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
    """Log of the NB's P(0), (cell, gene)."""
    return -inverse_dispersion * torch.log1p(mean / inverse_dispersion)


def _factor(mean: Tensor, inverse_dispersion: Tensor, prob_zero_logit: Tensor) -> Tensor:
    """(1 − p)/(1 − NB(0)), by which the NB's probability of each positive count is multiplied."""
    positive = -torch.expm1(_log_nb_zero(mean, inverse_dispersion))
    return torch.sigmoid(-prob_zero_logit) / positive


def _positive_nb(rng: np.random.Generator, mean: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Counts from a negative binomial given that they are positive, without rejection.

    An NB count is a Poisson number of bursts of logarithmic size, which arrive during a time λ =
    θ log(1 + μ/θ). The first one's arrival is drawn given that there is one; what comes in the
    time that is left is again NB (Johnson, Kemp & Kotz 2005, Univariate Discrete Distributions,
    section 5.4).
    """
    per_theta = np.log1p(mean / theta)
    first = -np.log1p(rng.random(mean.shape) * np.expm1(-theta * per_theta))
    share = np.minimum(mean / (mean + theta), np.nextafter(1.0, 0.0))
    burst = rng.logseries(share)
    left = np.maximum(theta - first / per_theta, 0.0)
    return burst + rng.poisson(rng.gamma(left, mean / theta))

"""Poisson log-normal: the negative binomial's variance with a heavier tail."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from countae.kernels.poisson_lognormal import cumulated, log_poisson_lognormal
from countae.likelihoods import register
from countae.likelihoods._base import GeneMoments, Likelihood, to_numpy, to_tensor
from countae.likelihoods._best_start import best_heads

BOUNDS = {"log_inverse_dispersion": (np.log(1e-4), np.log(1e3))}  # σ from 3 down to 0.03


@register("poisson_lognormal")
class PoissonLognormal(Likelihood):
    r"""Poisson counts whose rate is log-normal from cell to cell; variance :math:`μ + μ^2/θ`.

    .. math:: P(x) = \int \mathrm{Poisson}(x; μ e^ε)\, N(ε; -σ^2/2, σ^2)\, dε,
              \qquad σ^2 = \log(1 + 1/θ)

    ``mean`` is the count's mean μ > 0, the size factor included; ``inverse_dispersion`` is θ > 0,
    one per gene, so that mean and variance are those of ``nb`` with the same numbers, and only the
    shape differs: fewer zeros, a heavier tail. θ → ∞ (σ → 0) is Poisson. Both broadcast to (cell,
    gene). There is no closed form; see :mod:`countae.kernels.poisson_lognormal`.
    Reference: Aitchison & Ho 1989, doi:10.1093/biomet/76.4.643.

    >>> import torch
    >>> from countae.likelihoods import PoissonLognormal
    >>> claim = PoissonLognormal().distribution(
    ...     mean=2.0, inverse_dispersion=0.5
    ... )
    >>> claim.log_prob(torch.tensor([0.0, 1.0, 2.0])).exp()
    tensor([0.3473, 0.2474, 0.1469])
    """

    name = "poisson_lognormal"
    title = "Poisson log-normal"
    reference = "10.1093/biomet/76.4.643"
    complexity = 1
    heads = {"log_mean": "entry", "log_inverse_dispersion": "gene"}
    parameters = ("mean", "inverse_dispersion")
    start_noise = "nb"

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        return {
            "log_mean": moments.mean.log(),
            "log_inverse_dispersion": moments.inverse_dispersion.log(),
        }

    def best_start(
        self, counts: np.ndarray, size_factor: np.ndarray, moments: GeneMoments
    ) -> dict[str, Tensor]:
        return best_heads(self, counts, size_factor, self.start(moments), BOUNDS)

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        return {
            "mean": size_factor * raw["log_mean"].exp(),
            "inverse_dispersion": raw["log_inverse_dispersion"].exp(),
        }

    def log_pmf(self, counts: Tensor, *, mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
        return log_poisson_lognormal(counts, mean, inverse_dispersion)

    def cdf(self, counts: Tensor, *, mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
        every = np.broadcast_arrays(*map(to_numpy, (counts, mean, inverse_dispersion)))
        x, mu, theta = (value.reshape(-1) for value in every)
        value = np.where(x < 0, 0.0, cumulated(np.maximum(x, 0), mu, theta))
        return to_tensor(value.reshape(every[0].shape), mean)

    def mean(self, *, mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
        return mean

    def variance(self, *, mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
        return mean + mean * mean / inverse_dispersion

    def sample(
        self, rng: np.random.Generator, *, mean: Tensor, inverse_dispersion: Tensor
    ) -> Tensor:
        variance = np.log1p(1 / to_numpy(inverse_dispersion))
        centre = np.log(to_numpy(mean)) - variance / 2
        rate = np.exp(centre + np.sqrt(variance) * rng.standard_normal(centre.shape))
        return to_tensor(rng.poisson(rate), mean)

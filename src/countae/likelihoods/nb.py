"""Negative binomial: Poisson counts whose mean varies from cell to cell."""

from __future__ import annotations

import numpy as np
import torch
from scipy import special
from torch import Tensor

from countae.kernels.count_pmf import log_negative_binomial
from countae.kernels.newton import Derivatives
from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, GeneMoments, Likelihood, to_numpy, to_tensor


@register("nb")
class NegativeBinomial(Likelihood):
    r"""Negative binomial in mean and inverse dispersion; variance :math:`μ + μ^2/θ`.

    .. math:: P(x) = \frac{Γ(x+θ)}{Γ(θ)\,x!} \Bigl(\frac{θ}{θ+μ}\Bigr)^θ
                     \Bigl(\frac{μ}{θ+μ}\Bigr)^x

    ``mean`` is μ > 0, the size factor included; ``inverse_dispersion`` is θ > 0, one per gene
    (θ → ∞ is Poisson). Both broadcast to (cell, gene).
    Reference: Hilbe 2011, Negative Binomial Regression, eq. 8.8; for single cells Grün et al.
    2014, doi:10.1038/nmeth.2930.

    >>> import torch
    >>> from countae.likelihoods import NegativeBinomial
    >>> claim = NegativeBinomial().distribution(
    ...     mean=2.0, inverse_dispersion=0.5
    ... )
    >>> claim.log_prob(torch.tensor([0.0, 1.0, 2.0])).exp()
    tensor([0.4472, 0.1789, 0.1073])
    """

    name = "nb"
    title = "Negative binomial (NB)"
    reference = "10.1038/nmeth.2930"
    complexity = 1
    heads = {"log_mean": "entry", "log_inverse_dispersion": "gene"}
    parameters = ("mean", "inverse_dispersion")
    start_noise = "nb"
    noise_heads = ("log_inverse_dispersion",)

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        return {
            "log_mean": moments.mean.log(),
            "log_inverse_dispersion": moments.inverse_dispersion.log(),
        }

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        return {
            "mean": size_factor * raw["log_mean"].exp(),
            "inverse_dispersion": raw["log_inverse_dispersion"].exp(),
        }

    def log_pmf(self, counts: Tensor, *, mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
        return log_negative_binomial(counts, mean, inverse_dispersion)

    def compiled_loss(self) -> CompiledLoss | None:
        from countae.kernels.fused_counts import nb  # numba takes a third of a second to import

        return CompiledLoss(tuple(self.heads), nb)

    def cdf(self, counts: Tensor, *, mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
        x, mu, theta = to_numpy(counts), to_numpy(mean), to_numpy(inverse_dispersion)
        value = special.betaincc(np.maximum(x, 0) + 1, theta, mu / (mu + theta))
        return to_tensor(np.where(x < 0, 0.0, value), mean)

    def prob_zero(self, *, mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
        return torch.exp(-inverse_dispersion * torch.log1p(mean / inverse_dispersion))

    def recursion(self, *, mean: Tensor, inverse_dispersion: Tensor) -> tuple[Tensor, ...]:
        zero = self.prob_zero(mean=mean, inverse_dispersion=inverse_dispersion)
        a = mean / (mean + inverse_dispersion)
        return zero, zero * a * inverse_dispersion, a, (inverse_dispersion - 1) * a

    def mean(self, *, mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
        return mean

    def variance(self, *, mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
        return mean + mean * mean / inverse_dispersion

    def sample(
        self, rng: np.random.Generator, *, mean: Tensor, inverse_dispersion: Tensor
    ) -> Tensor:
        theta = to_numpy(inverse_dispersion)
        scale = to_numpy(mean) / theta
        return to_tensor(rng.poisson(rng.gamma(np.broadcast_to(theta, scale.shape), scale)), mean)

    def from_mean(self, mean: Tensor, log_inverse_dispersion: Tensor) -> dict[str, Tensor]:
        return {"mean": mean, "inverse_dispersion": log_inverse_dispersion.exp()}

    def noise_derivatives(self, counts: np.ndarray, mean: np.ndarray) -> Derivatives:
        from countae.kernels import gene_table as at  # numba takes a third of a second to import

        table = at.GeneTable.of(counts, mean)

        def derivatives(
            raw: np.ndarray, genes: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            unscaled, no_extra_zeros = np.zeros(len(genes)), np.full(len(genes), -np.inf)
            sums = table.sums(genes, unscaled, raw[0], no_extra_zeros)
            return sums[at.VALUE], sums[[at.G_T]], sums[[at.H_TT]][None]

        return derivatives

"""Zero-inflated negative binomial: NB counts, some of them replaced by zeros."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from countae.kernels.count_pmf import log_zero_inflated
from countae.kernels.newton import Derivatives
from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, GeneMoments, Likelihood, to_numpy, to_tensor
from countae.likelihoods.nb import NegativeBinomial

_NB = NegativeBinomial()


@register("zinb")
class ZeroInflatedNegativeBinomial(Likelihood):
    r"""Zero-inflated negative binomial: 0 with probability :math:`π`, else NB(μ, θ).

    ``mean`` is the NB component's mean μ > 0 (the count's own mean is (1−π)μ),
    ``inverse_dispersion`` is θ > 0, one per gene, and ``zero_logit`` is logit π, one per gene
    and cell when a network predicts it. All broadcast to (cell, gene).
    References: Risso et al. 2018, doi:10.1038/s41467-017-02554-5; as an autoencoder's loss
    Eraslan et al. 2019, doi:10.1038/s41467-018-07931-2.

    >>> from countae.likelihoods import ZeroInflatedNegativeBinomial
    >>> claim = ZeroInflatedNegativeBinomial().distribution(
    ...     mean=2.0, inverse_dispersion=0.5, zero_logit=-1.0
    ... )
    >>> claim.mean
    tensor(1.4621)
    """

    name = "zinb"
    title = "Zero-inflated negative binomial (ZINB)"
    reference = "10.1038/s41467-018-07931-2"
    complexity = 6
    heads = {"log_mean": "entry", "log_inverse_dispersion": "gene", "zero_logit": "entry"}
    parameters = ("mean", "inverse_dispersion", "zero_logit")
    start_noise = "zinb"
    noise_heads = ("log_inverse_dispersion", "zero_logit")

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        zero = moments.zero_probability
        return {
            "log_mean": moments.mean.log() - torch.log1p(-zero),
            "log_inverse_dispersion": moments.inverse_dispersion.log(),
            "zero_logit": torch.logit(zero),
        }

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        return {
            "mean": size_factor * raw["log_mean"].exp(),
            "inverse_dispersion": raw["log_inverse_dispersion"].exp(),
            "zero_logit": raw["zero_logit"],
        }

    def log_pmf(
        self, counts: Tensor, *, mean: Tensor, inverse_dispersion: Tensor, zero_logit: Tensor
    ) -> Tensor:
        log_nb = _NB.log_pmf(counts, mean=mean, inverse_dispersion=inverse_dispersion)
        return log_zero_inflated(counts, log_nb, zero_logit)

    def compiled_loss(self) -> CompiledLoss:
        from countae.kernels.fused_counts import zinb  # numba takes a third of a second to import

        return CompiledLoss(tuple(self.heads), zinb)

    def cdf(
        self, counts: Tensor, *, mean: Tensor, inverse_dispersion: Tensor, zero_logit: Tensor
    ) -> Tensor:
        nb = _NB.cdf(counts, mean=mean, inverse_dispersion=inverse_dispersion)
        value = torch.sigmoid(zero_logit) + torch.sigmoid(-zero_logit) * nb
        return torch.where(counts < 0, torch.zeros_like(nb), value)

    def prob_zero(self, *, mean: Tensor, inverse_dispersion: Tensor, zero_logit: Tensor) -> Tensor:
        nb = _NB.prob_zero(mean=mean, inverse_dispersion=inverse_dispersion)
        return torch.sigmoid(zero_logit) + torch.sigmoid(-zero_logit) * nb

    def recursion(
        self, *, mean: Tensor, inverse_dispersion: Tensor, zero_logit: Tensor
    ) -> tuple[Tensor, ...]:
        zero, one, a, b = _NB.recursion(mean=mean, inverse_dispersion=inverse_dispersion)
        extra, rest = torch.sigmoid(zero_logit), torch.sigmoid(-zero_logit)
        return extra + rest * zero, rest * one, a, b

    def mean(self, *, mean: Tensor, inverse_dispersion: Tensor, zero_logit: Tensor) -> Tensor:
        return torch.sigmoid(-zero_logit) * mean

    def variance(self, *, mean: Tensor, inverse_dispersion: Tensor, zero_logit: Tensor) -> Tensor:
        # (1−π)μ(1 + μ/θ + πμ): the NB's second moment, thinned, minus the mean squared
        zero, rest = torch.sigmoid(zero_logit), torch.sigmoid(-zero_logit)
        return rest * mean * (1 + mean * (1 / inverse_dispersion + zero))

    def sample(
        self,
        rng: np.random.Generator,
        *,
        mean: Tensor,
        inverse_dispersion: Tensor,
        zero_logit: Tensor,
    ) -> Tensor:
        mean, inverse_dispersion, zero = torch.broadcast_tensors(
            mean, inverse_dispersion, torch.sigmoid(zero_logit)
        )
        nb = _NB.sample(rng, mean=mean, inverse_dispersion=inverse_dispersion)
        return nb * to_tensor(rng.random(nb.shape) >= to_numpy(zero), nb)

    def from_mean(
        self, mean: Tensor, log_inverse_dispersion: Tensor, zero_logit: Tensor
    ) -> dict[str, Tensor]:
        return {
            "mean": mean / torch.sigmoid(-zero_logit),
            "inverse_dispersion": log_inverse_dispersion.exp(),
            "zero_logit": zero_logit,
        }

    def noise_derivatives(self, counts: np.ndarray, mean: np.ndarray) -> Derivatives:
        from countae.kernels import gene_table as at  # numba takes a third of a second to import

        table = at.GeneTable.of(counts, mean)

        def derivatives(
            raw: np.ndarray, genes: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            # the count's mean is held fixed, so the NB's is exp(s) times it with s = −log(1−π),
            # whose derivative in z is π and whose second is π(1−π)
            t, z = raw
            f, pi = table.sums(genes, np.logaddexp(0, z), t, z), expit(z)
            gradient = np.stack([f[at.G_T], f[at.G_Z] + pi * f[at.G_S]])
            mixed = f[at.H_TZ] + pi * f[at.H_ST]
            bend = f[at.H_ZZ] + pi * (2 * f[at.H_SZ] + pi * f[at.H_SS] + (1 - pi) * f[at.G_S])
            return f[at.VALUE], gradient, np.stack([[f[at.H_TT], mixed], [mixed, bend]])

        return derivatives

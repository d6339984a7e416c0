"""Dirichlet-multinomial: compositions that vary more than molecules drawn at random."""

from __future__ import annotations

import torch
from torch import Tensor

from countae.kernels.count_pmf import log_negative_binomial
from countae.likelihoods import register
from countae.likelihoods._base import GeneMoments, no_noise
from countae.likelihoods._compositions import (
    expected_counts,
    hidden_composition,
    log_total,
    spread_over,
)
from countae.likelihoods.nb import NegativeBinomial


@no_noise
@register("dirichlet_multinomial")
class DirichletMultinomial(NegativeBinomial):
    r"""Multinomial of a cell's hidden counts whose shares are Dirichlet(α), given their total n.

    .. math:: P(x \mid n) = \frac{\prod_j NB(x_j; n p_j, α_j)}{NB(n; n, \sum_j α_j)},
              \qquad p_j = α_j / \sum_k α_k

    (NB in mean and inverse dispersion; written out, the usual ratio of Gamma functions.) The
    network puts out log α for every gene and cell: its shares are the composition, its sum the
    cell's concentration. α → ∞ at fixed shares is ``multinomial``. Genes of a subset are
    Dirichlet-multinomial with their own α, so that the hidden ones need no others.

    Scored as one entry's NB(s R p, α), the marginal for a total that is NB(s R, Σα); its variance
    μ(1 + s R/Σα) is a multiple of the mean, the same for all genes of a cell. ``mean`` is s R p
    and ``inverse_dispersion`` α, both (cell, gene); R as in ``multinomial``.
    Reference: Mosimann 1962, doi:10.1093/biomet/49.1-2.65.

    >>> from countae.likelihoods import DirichletMultinomial
    >>> DirichletMultinomial().distribution(mean=2.0, inverse_dispersion=0.5).variance
    tensor(10.)
    """

    name = "dirichlet_multinomial"
    title = "Dirichlet-multinomial"
    reference = "10.1093/biomet/49.1-2.65"
    complexity = 1
    heads = {"log_concentration": "entry", "log_total": "gene"}
    fixed_heads = ("log_total",)
    by_cell = True
    start_noise = "nb"

    def compiled_loss(self) -> None:
        """None: a compiled loss knows single counts, not cells."""

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        """Σα at which the genes' variance beyond Poisson has the sum that their θ say."""
        beyond = (moments.mean.square() / moments.inverse_dispersion).sum()
        total = moments.mean.sum()
        return {
            "log_concentration": moments.mean.log() + total.log() - beyond.log(),
            "log_total": log_total(moments),
        }

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        log_alpha = raw["log_concentration"]
        mean = expected_counts(log_alpha, raw["log_total"], size_factor)
        return {"mean": mean, "inverse_dispersion": log_alpha.exp().expand_as(mean)}

    def loss_of_cells(
        self, counts: Tensor, wanted: Tensor, raw: dict[str, Tensor], size_factor: Tensor
    ) -> Tensor:
        log_alpha = raw["log_concentration"]
        x, total, mean = hidden_composition(counts, wanted, log_alpha)
        alpha = log_alpha.exp()
        # a cell without wanted entries has a total of 0 and any concentration
        concentration = torch.where(wanted > 0, alpha, 0).sum(dim=1, keepdim=True)
        concentration = torch.where(concentration > 0, concentration, 1)
        of_total = log_negative_binomial(total, total, concentration)
        return spread_over(of_total, wanted) - wanted * log_negative_binomial(x, mean, alpha)

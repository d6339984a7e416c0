"""Multinomial: which genes a cell's molecules are of, given how many there are."""

from __future__ import annotations

from torch import Tensor

from countae.kernels.count_pmf import log_poisson
from countae.likelihoods import register
from countae.likelihoods._base import GeneMoments, no_noise
from countae.likelihoods._compositions import (
    expected_counts,
    hidden_composition,
    log_total,
    spread_over,
)
from countae.likelihoods.poisson import Poisson


@no_noise
@register("multinomial")
class Multinomial(Poisson):
    r"""Multinomial of a cell's hidden counts given their total n.

    .. math:: P(x \mid n) = \frac{n!}{\prod_j x_j!} \prod_j p_j^{x_j}
              = \frac{\prod_j \mathrm{Poisson}(x_j; n p_j)}{\mathrm{Poisson}(n; n)}

    p is the softmax of the network's outputs, over the hidden genes in training. Depth drops out:
    only the composition is learnt. Scored as one entry's Poisson(s R p), the marginal for a total
    that is itself Poisson around s R, what visible counts say of it; R is the genes' mean total,
    kept in the head ``log_total``, which is not learnt. ``mean`` is s R p > 0, (cell, gene).
    Reference: Townes et al. 2019, doi:10.1186/s13059-019-1861-6, eq. 1.

    >>> from countae.likelihoods import Multinomial
    >>> Multinomial().distribution(mean=2.0).prob_zero
    tensor(0.1353)
    """

    name = "multinomial"
    title = "Multinomial"
    reference = "10.1186/s13059-019-1861-6"
    complexity = 0
    heads = {"log_weight": "entry", "log_total": "gene"}
    fixed_heads = ("log_total",)
    by_cell = True

    def compiled_loss(self) -> None:
        """None: a compiled loss knows single counts, not cells."""

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        return {"log_weight": moments.mean.log(), "log_total": log_total(moments)}

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        return {"mean": expected_counts(raw["log_weight"], raw["log_total"], size_factor)}

    def loss_of_cells(
        self, counts: Tensor, wanted: Tensor, raw: dict[str, Tensor], size_factor: Tensor
    ) -> Tensor:
        x, total, mean = hidden_composition(counts, wanted, raw["log_weight"])
        return spread_over(log_poisson(total, total), wanted) - wanted * log_poisson(x, mean)

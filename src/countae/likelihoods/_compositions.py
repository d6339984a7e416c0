r"""What losses of compositions share: a cell's hidden counts given their total.

A cell's total over the modelled genes says nothing of its composition, so these losses condition
on it. In training the total of the *hidden* counts is known, and the loss is the exact conditional
probability of the hidden counts given it. In scoring it is not: a prediction may use visible
counts only. They give the expected total :math:`n_i = s_i R`, with R the genes' mean total at size
factor 1, and the claim is the marginal of one entry when the total varies around that:

- multinomial, total Poisson(n): independent Poisson(n p), exactly;
- Dirichlet-multinomial with concentrations α, total NB(n, Σα): independent NB(n p, α), exactly.

Both use the same fact backwards: independent counts given their sum are a composition.
"""

from __future__ import annotations

import torch
from torch import Tensor

from countae.likelihoods._base import GeneMoments


def log_total(moments: GeneMoments) -> Tensor:
    """Log of the expected total at size factor 1, the same for each gene, (gene,)."""
    return moments.mean.sum().log().expand_as(moments.mean).clone()


def expected_counts(log_weight: Tensor, log_total: Tensor, size_factor: Tensor) -> Tensor:
    """Expected counts s R p, (cell, gene), with p the weights over their sum in each cell."""
    log_share = torch.log_softmax(log_weight, dim=-1)
    return size_factor * torch.exp(log_total.detach() + log_share)


def hidden_composition(
    counts: Tensor, wanted: Tensor, log_weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Wanted counts, their total, and what each is expected to be given that total.

    Parameters
    ----------
    counts, wanted : Tensor, (cell, gene)
    log_weight : Tensor, (cell, gene)

    Returns
    -------
    Tensor, (cell, gene); Tensor, (cell, 1); Tensor, (cell, gene)
        All 0 where not wanted.
    """
    chosen = counts * wanted
    total = chosen.sum(dim=1, keepdim=True)
    lowest = torch.finfo(log_weight.dtype).min
    share = torch.softmax(log_weight.masked_fill(wanted == 0, lowest), dim=1) * wanted
    return chosen, total, total * share


def spread_over(value: Tensor, wanted: Tensor) -> Tensor:
    """A number per cell, (cell, 1), in equal parts over its wanted entries, (cell, gene)."""
    return value * wanted / wanted.sum(dim=1, keepdim=True).clamp(min=1)

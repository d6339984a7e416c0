"""Negative binomial whose spread the network predicts for every count."""

from __future__ import annotations

from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, no_noise
from countae.likelihoods.nb import NegativeBinomial


@no_noise
@register("nb_cell")
class NegativeBinomialPerCell(NegativeBinomial):
    r"""Negative binomial with an inverse dispersion :math:`θ_{ij}` per gene and cell.

    The distribution is that of ``nb``, variance :math:`μ_{ij} + μ_{ij}^2/θ_{ij}`, but θ is a head
    of the network, so that a type of cells may be noisier than another. With θ the same in all
    cells it is ``nb``. A count says little of its own variance: expect θ to take up what the mean
    misses.
    Reference: Eraslan et al. 2019, doi:10.1038/s41467-018-07931-2 ("nb", dispersion per entry).

    >>> import torch
    >>> from countae.likelihoods import NegativeBinomialPerCell
    >>> claim = NegativeBinomialPerCell().distribution(
    ...     mean=2.0, inverse_dispersion=torch.tensor([0.5, 50.0])
    ... )
    >>> claim.variance
    tensor([10.0000,  2.0800])
    """

    name = "nb_cell"
    title = "Negative binomial, dispersion per gene and cell"
    reference = "10.1038/s41467-018-07931-2"
    complexity = 3
    heads = {"log_mean": "entry", "log_inverse_dispersion": "entry"}
    start_noise = "nb"

    def compiled_loss(self) -> CompiledLoss | None:
        return super().compiled_loss()  # the same formula, whatever its heads depend on

"""Negative binomial whose spread differs between batches."""

from __future__ import annotations

from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, no_noise
from countae.likelihoods.nb import NegativeBinomial


@no_noise
@register("nb_batch")
class NegativeBinomialPerBatch(NegativeBinomial):
    r"""Negative binomial with an inverse dispersion :math:`θ_{bj}` per batch and gene.

    The distribution is that of ``nb``, variance :math:`μ_{ij} + μ_{ij}^2/θ_{b(i)j}` with b(i) the
    batch of cell i (``batch_key`` of the data set). Without batches it is ``nb``. A batch without
    training cells keeps the θ at which training starts, that of all cells.
    Reference: Lopez et al. 2018, doi:10.1038/s41592-018-0229-2 (scVI, dispersion "gene-batch").

    >>> import torch
    >>> from countae.likelihoods import NegativeBinomialPerBatch
    >>> claim = NegativeBinomialPerBatch().distribution(
    ...     mean=2.0, inverse_dispersion=torch.tensor([0.5, 50.0])
    ... )
    >>> claim.prob_zero
    tensor([0.4472, 0.1407])
    """

    name = "nb_batch"
    title = "Negative binomial, dispersion per gene and batch"
    reference = "10.1038/s41592-018-0229-2"
    complexity = 2
    heads = {"log_mean": "entry", "log_inverse_dispersion": "batch"}
    start_noise = "nb"

    def compiled_loss(self) -> CompiledLoss | None:
        return super().compiled_loss()  # the same formula, whatever its heads depend on

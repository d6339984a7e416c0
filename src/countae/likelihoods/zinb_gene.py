"""ZINB with one probability of an extra zero per gene."""

from __future__ import annotations

from countae.likelihoods import register
from countae.likelihoods._base import CompiledLoss, no_noise
from countae.likelihoods.zinb import ZeroInflatedNegativeBinomial


@no_noise
@register("zinb_gene")
class ZeroInflatedNegativeBinomialPerGene(ZeroInflatedNegativeBinomial):
    r"""ZINB(μ, θ, π) of ``zinb`` with one zero probability :math:`π_j` per gene.

    Extra zeros then fall on all cells alike, whatever the network sees of them, so that they
    cannot take over what the mean should say: the variant to ask whether a gene has extra zeros.
    Reference: Lambert 1992, doi:10.2307/1269547 (a constant zero probability); for single cells
    Risso et al. 2018, doi:10.1038/s41467-017-02554-5.

    >>> from countae.likelihoods import ZeroInflatedNegativeBinomialPerGene
    >>> claim = ZeroInflatedNegativeBinomialPerGene().distribution(
    ...     mean=2.0, inverse_dispersion=0.5, zero_logit=0.0
    ... )
    >>> claim.prob_zero
    tensor(0.7236)
    """

    name = "zinb_gene"
    title = "ZINB, zero probability per gene"
    reference = "10.1038/s41467-017-02554-5"
    complexity = 4
    heads = {"log_mean": "entry", "log_inverse_dispersion": "gene", "zero_logit": "gene"}
    start_noise = "zinb"

    def compiled_loss(self) -> CompiledLoss:
        return super().compiled_loss()  # the same formula, whatever its heads depend on

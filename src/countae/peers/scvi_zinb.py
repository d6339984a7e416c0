"""scvi-tools' SCVI with its likelihood `zinb`."""

from __future__ import annotations

from countae.peers import register
from countae.peers._scvi import SCVI


@register("scvi_zinb")
class ScviZINB(SCVI):
    """SCVI with ``gene_likelihood="zinb"``, read as our ``zinb``."""

    title = "scvi-tools SCVI, ZINB"
    gene_likelihood = "zinb"
    likelihood = "zinb"
    own_names = {"mean": "mu", "inverse_dispersion": "theta", "zero_logit": "zi_logits"}

"""scvi-tools' SCVI with its likelihood `poisson`."""

from __future__ import annotations

from countae.peers import register
from countae.peers._scvi import SCVI


@register("scvi_poisson")
class ScviPoisson(SCVI):
    """SCVI with ``gene_likelihood="poisson"``, read as our ``poisson``."""

    title = "scvi-tools SCVI, Poisson"
    gene_likelihood = "poisson"
    likelihood = "poisson"
    own_names = {"mean": "rate"}

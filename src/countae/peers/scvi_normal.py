"""scvi-tools' SCVI with its likelihood `normal`."""

from __future__ import annotations

from countae.peers import register
from countae.peers._scvi import SCVI


@register("scvi_normal")
class ScviNormal(SCVI):
    """SCVI with ``gene_likelihood="normal"``, read as our ``gaussian``."""

    title = "scvi-tools SCVI, normal"
    gene_likelihood = "normal"
    likelihood = "gaussian"
    own_names = {"location": "loc", "scale": "scale"}

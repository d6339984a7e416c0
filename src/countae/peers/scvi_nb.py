"""scvi-tools' SCVI with its likelihood `nb`."""

from __future__ import annotations

from countae.peers import register
from countae.peers._scvi import SCVI


@register("scvi_nb")
class ScviNB(SCVI):
    """SCVI with ``gene_likelihood="nb"``, read as our ``nb``."""

    title = "scvi-tools SCVI, NB"
    gene_likelihood = "nb"
    likelihood = "nb"
    own_names = {"mean": "mu", "inverse_dispersion": "theta"}

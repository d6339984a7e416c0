"""What a user takes home: one .h5ad with counts, denoised layers, latents and per-gene columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from countae.counts import CountMatrix
from countae.fit import versions
from countae.metrics.dispersion_standard_error import IDENTIFIABLE, dispersion_standard_error
from countae.predict import Prediction, reconstruct

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from countae.model import CountAutoencoder

LOWEST_TESTABLE_MEAN = 0.5  # below it the likelihood-ratio test of extra zeros has no power


def export(
    matrix: CountMatrix,
    networks: Iterator[tuple[str, CountAutoencoder]],
    *,
    verdict: dict[str, Any],
    genes: pd.DataFrame,
    triage: dict[str, Any],
    denoised: bool = True,
) -> AnnData:
    """The prepared counts with what each loss' network says of them, ready for scanpy.

    Parameters
    ----------
    matrix : CountMatrix
    networks : iterator of (likelihood, CountAutoencoder)
        One network per loss; the first seed's, by custom.
    verdict, genes, triage
        Content of verdict.json, the table of genes that goes with it, and triage.json.
    denoised : bool
        Whether to add ``layers["denoised_<likelihood>"]`` (dense, float32).

    Returns
    -------
    AnnData
        X: raw counts. ``layers["denoised_…"]``: expected counts at size factor 1. ``obsm["X_…"]``:
        latent coordinates. ``var``: inverse dispersion and zero probability (averaged over cells)
        per likelihood and whether the counts can tell them, log scores, class.
        ``uns["countae"]``: provenance, JSON inside strings.
    """
    adata = matrix.adata.copy()
    adata.X = adata.X.astype(np.int32)
    for likelihood, network in networks:
        latent, expected, prediction = reconstruct(network, matrix, device="cpu")
        adata.obsm[f"X_{likelihood}"] = latent
        if denoised:
            adata.layers[f"denoised_{likelihood}"] = expected
        for name, value in _per_gene(prediction, int((matrix.part != "test").sum())).items():
            adata.var[f"{likelihood}_{name}"] = value
    table = genes.set_index("gene").loc[adata.var_names]
    for column in table.columns[table.columns.str.startswith("log_score_")]:
        adata.var[f"{column.removeprefix('log_score_')}_log_score"] = table[column]
    adata.var["log_score_difference"] = table["difference"]
    adata.var["best_loss"] = table["best"].astype("category")
    adata.var["countae_class"] = table["class"].astype("category")
    adata.uns["countae"] = matrix.info | {
        "verdict": json.dumps(verdict),
        "triage": json.dumps(triage),
        "versions": json.dumps(versions()),
    }
    return adata


def _per_gene(prediction: Prediction, n_fitted: int) -> dict[str, np.ndarray]:
    """Inverse dispersion and mean zero probability of each gene, where the likelihood has them.

    Each with a column that says whether the counts can tell it: the standard error of log θ is at
    most one half; the mean is at least one half, below which extra zeros cannot be seen.
    """
    found = {}
    if "inverse_dispersion" in prediction.parameters:
        theta = prediction.parameters["inverse_dispersion"][0].numpy()
        error = dispersion_standard_error(
            mean=prediction.mean, inverse_dispersion=theta, n_fitted=n_fitted
        )
        found["inverse_dispersion"] = theta
        found["inverse_dispersion_identifiable"] = error <= IDENTIFIABLE
    if "zero_logit" in prediction.parameters:
        zero = prediction.parameters["zero_logit"].sigmoid()
        found["zero_probability"] = zero.mean(dim=0).numpy()
        found["zero_probability_testable"] = prediction.mean.mean(axis=0) >= LOWEST_TESTABLE_MEAN
    return found

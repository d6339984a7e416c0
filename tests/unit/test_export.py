"""The exported file opens in scanpy and holds what its documentation says."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import scanpy
from conftest import SETTINGS

from countae.export import export
from countae.files import written_aside
from countae.fit import fit


def test_the_exported_file_opens_in_scanpy(small_nb, tmp_path):
    names = ["nb", "zinb", "mse_log1p"]
    training = SETTINGS["training"] | {"max_epochs": 2}
    networks = (
        (name, fit(small_nb, name, seed=0, network=SETTINGS["network"], training=training)[0])
        for name in names
    )
    genes = pd.DataFrame(
        {
            "gene": small_nb.gene_id[::-1],  # another order than the matrix
            "class": "tie",
            "best": "nb",
            "difference": np.arange(40.0),
        }
        | {f"log_score_{name}": 1.0 for name in names}
    )
    made = export(small_nb, networks, verdict={"sentence": "s"}, genes=genes, triage={"a": 1})
    with written_aside(tmp_path / "out.h5ad") as aside:
        made.write_h5ad(aside)

    adata = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert adata.X.dtype == np.int32
    np.testing.assert_array_equal(adata.X.toarray(), small_nb.counts.toarray())
    for name in names:
        assert adata.layers[f"denoised_{name}"].shape == (150, 40)
        assert np.isfinite(adata.layers[f"denoised_{name}"]).all()
        assert adata.obsm[f"X_{name}"].shape == (150, 10)
        assert f"{name}_log_score" in adata.var
    assert (adata.var["nb_inverse_dispersion"] > 0).all()
    assert adata.var["zinb_zero_probability"].between(0, 1).all()
    assert "nb_zero_probability" not in adata.var
    assert adata.var["nb_inverse_dispersion_identifiable"].dtype == bool
    testable = adata.var["zinb_zero_probability_testable"]
    assert 0 < testable.sum() < 40
    assert "fold" not in adata.layers
    assert adata.var["log_score_difference"].iloc[0] == 39.0
    assert adata.var["countae_class"].dtype == "category"
    assert set(adata.obs["split"]) == {"train", "validation", "test"}
    assert json.loads(adata.uns["countae"]["verdict"]) == {"sentence": "s"}
    scanpy.pp.neighbors(adata, use_rep="X_nb", n_neighbors=5)
    assert adata.obsp["distances"].shape == (150, 150)

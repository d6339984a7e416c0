"""The exported file opens in scanpy and holds what its documentation says."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
import torch
from conftest import SETTINGS
from typer.testing import CliRunner

from countae import likelihoods, predict
from countae.cli import app
from countae.counts import CountMatrix
from countae.errors import ConfigError, ScoreError
from countae.export import MOST_DENOISED, _Known, check_output, export, fits, write
from countae.fit import fit
from countae.metrics.dispersion_standard_error import dispersion_standard_error


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
    write(made, tmp_path / "out.h5ad")

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


def exported(matrix, network, **options):
    genes = pd.DataFrame(
        {"gene": matrix.gene_id, "class": "tie", "best": "zinb", "difference": 0.0}
    )
    return export(matrix, iter([("zinb", network)]), verdict={}, genes=genes, triage={}, **options)


def test_cells_in_pieces_from_a_file_are_all_cells_at_once(small_nb, tmp_path, monkeypatch):
    """Oracle: ``reconstruct``, and the columns' own definitions over all cells."""
    training = SETTINGS["training"] | {"max_epochs": 2}
    network, _ = fit(small_nb, "zinb", seed=0, network=SETTINGS["network"], training=training)
    small_nb.save(tmp_path / "counts.h5ad")
    mapped = CountMatrix.load(tmp_path / "counts.h5ad")
    monkeypatch.setattr("countae.protocols._base.BLOCK", 37)
    write(exported(mapped, network), tmp_path / "out.h5ad")
    made = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert made.X.dtype == np.int32
    np.testing.assert_array_equal(made.X.toarray(), small_nb.counts.toarray())
    latent, denoised, prediction = predict.reconstruct(network, small_nb)
    np.testing.assert_allclose(made.obsm["X_zinb"], latent, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made.layers["denoised_zinb"], denoised, rtol=1e-4)
    zero = prediction.parameters["zero_logit"].sigmoid().mean(dim=0)
    np.testing.assert_allclose(made.var["zinb_zero_probability"], zero, rtol=1e-5)
    theta = prediction.parameters["inverse_dispersion"][0].numpy()
    error = dispersion_standard_error(
        mean=prediction.mean, inverse_dispersion=theta,
        n_fitted=int((small_nb.part != "test").sum()),
    )  # fmt: skip
    found = made.var["zinb_inverse_dispersion_identifiable"]
    np.testing.assert_array_equal(found, error <= 0.5)
    testable = prediction.mean.mean(axis=0) >= 0.5
    np.testing.assert_array_equal(made.var["zinb_zero_probability_testable"], testable)
    for _ in range(2):  # the second time in place of the first
        write(exported(mapped, network, denoised=False), tmp_path / "out.zarr")
    other = anndata.read_zarr(tmp_path / "out.zarr")
    np.testing.assert_array_equal(other.X.toarray(), made.X.toarray())
    np.testing.assert_array_equal(other.obsm["X_zinb"], made.obsm["X_zinb"])
    assert "denoised_zinb" not in other.layers
    assert not [*tmp_path.glob(".*")]


@pytest.mark.parametrize("name", ["counts.csv", "counts", "counts.h5"])
def test_another_format_is_refused_before_the_work(tmp_path, name):
    """Not a line of HDF5 in a file that calls itself something else."""
    with pytest.raises(ConfigError, match=r"must be a \.h5ad file or a \.zarr folder"):
        check_output(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["verdict.json", "triage.json"])
def test_an_export_of_something_else_says_which_file(small_nb, tmp_path, key):
    small_nb.save(tmp_path / "counts.h5ad")
    for each in ("verdict.json", "triage.json"):
        whole = {"axes": {}, "sentence": "", "settings": {}, "parts": {}}
        (tmp_path / each).write_text(json.dumps({} if each == key else whole))
    pd.DataFrame({"gene": small_nb.gene_id}).to_parquet(tmp_path / "verdict_genes.parquet")
    words = ["export", str(tmp_path), str(tmp_path / "o.h5ad"), "--likelihoods", "nb"]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, ScoreError)
    assert f"is no {key} of this version of countae" in str(done.exception)
    assert not (tmp_path / "o.h5ad").exists()


def test_a_folder_that_is_no_zarr_store_is_not_replaced(small_nb, tmp_path):
    place = tmp_path / "mine.zarr"
    place.mkdir()
    (place / "precious.txt").touch()
    with pytest.raises(ConfigError, match=r"mine.zarr: is a folder with something else"):
        write(small_nb.adata, place)
    assert [p.name for p in tmp_path.rglob("*")] == ["mine.zarr", "precious.txt"]


def test_denoised_layers_have_a_limit(small_nb):
    """Limit: 150 × 40 entries a loss, by hand."""
    most = MOST_DENOISED // (150 * 40)
    assert fits(small_nb, most)
    assert not fits(small_nb, most + 1)


def test_one_cell_in_so_many_is_kept_of_all_blocks(monkeypatch):
    """By hand: every third of 30 cells, whatever the blocks; and nothing else stays in memory."""
    monkeypatch.setattr("countae.export.MOST_CELLS", 10)
    known, means = _Known(30, 20), torch.arange(30.0)[:, None] + torch.ones(30, 4)
    for block in means.split(7):
        parameters = {"mean": block, "inverse_dispersion": torch.ones(1, 4)}
        known.add(predict.Prediction.of(likelihoods.get("nb")(), parameters))
    np.testing.assert_array_equal(known.sample, means[::3])
    assert known.sample.base is None

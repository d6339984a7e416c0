"""Loaders: the same counts for the same cells, whoever reads them; so the same training."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from conftest import SETTINGS
from scipy.sparse import csr_matrix

from countae.counts import loaders
from countae.counts._matrix import CountMatrix
from countae.errors import ConfigError
from countae.fit import fit

SHAPE = (400, 70)
NETWORK = {"hidden": [16], "latent": 4}
TRAINING = SETTINGS["training"] | {"max_epochs": 3, "batch_size": 32}


def installed(name: str) -> bool:
    return name == "mapped" or find_spec(name) is not None


NAMES = [
    pytest.param(name, marks=pytest.mark.skipif(not installed(name), reason=f"needs {name}"))
    for name in loaders.names()
]


@pytest.fixture(params=[np.uint8, np.uint16, np.int32], ids=lambda dtype: dtype.__name__)
def counts(request):
    rng = np.random.default_rng(3)
    values = rng.negative_binomial(0.3, 0.1, SHAPE) * (rng.random(SHAPE) < 0.4)
    values[rng.choice(SHAPE[0], 9)] = 0  # cells without any count
    return csr_matrix(np.minimum(values, 255).astype(request.param))


def content(rows: tuple[csr_matrix, np.ndarray]) -> np.ndarray:
    matrix, cells = rows
    return matrix[cells].toarray()


@pytest.mark.parametrize("name", NAMES)
def test_cells_come_in_the_order_asked_for(counts, name):
    loader = loaders.get(name)(counts)
    rng = np.random.default_rng(0)
    kept = []
    for cells in (rng.permutation(400)[:96], np.array([7]), np.array([5, 5, 2]), np.arange(400)):
        rows = loader.rows(cells)
        assert rows[0].dtype == counts.dtype
        np.testing.assert_array_equal(content(rows), counts.toarray()[cells])
        kept.append((cells, rows))
    for cells, rows in kept:  # what was read first is still what it was
        np.testing.assert_array_equal(content(rows), counts.toarray()[cells])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("processes", [1, 3])
def test_an_epoch_is_every_cell_once_and_processes_share_none(counts, name, processes):
    """A column holds the number of the cell, so that rows say which cell they are."""
    numbered = counts.astype(np.int32).tolil()
    numbered[:, 0] = np.arange(1, SHAPE[0] + 1)[:, None]
    loader = loaders.get(name)(numbered.tocsr())
    order = np.random.default_rng(1).permutation(SHAPE[0])
    seen = [
        [content(loader.rows(share))[:, 0] for share in np.array_split(step, processes)]
        for step in np.array_split(order, 6)
    ]
    of = [np.concatenate([shares[rank] for shares in seen]) for rank in range(processes)]
    np.testing.assert_array_equal(np.sort(np.concatenate(of)), np.arange(1, SHAPE[0] + 1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("likelihood", ["zinb", "mse_log1p"])
def test_a_fit_is_the_same_to_the_last_bit(small_nb, tmp_path, name, likelihood):
    small_nb.save(tmp_path / "counts.h5ad")
    mapped = CountMatrix.load(tmp_path / "counts.h5ad")
    found = [
        fit(
            matrix, likelihood, seed=0, network=NETWORK,
            training=TRAINING | {"loader": loader},
        )
        for matrix, loader in ((small_nb, "mapped"), (mapped, name))
    ]  # fmt: skip
    assert found[0][1].train_loss == found[1][1].train_loss
    weights = [model.state_dict() for model, _ in found]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.skipif(not installed("annbatch"), reason="needs annbatch")
def test_annbatch_reads_a_zarr_store(counts, tmp_path):
    import zarr
    from anndata.io import sparse_dataset, write_elem

    group = zarr.open_group(tmp_path / "counts.zarr", mode="w", zarr_format=2)
    write_elem(group, "X", counts)
    cells = np.random.default_rng(2).permutation(400)[:50]
    rows = loaders.get("annbatch")(sparse_dataset(group["X"])).rows(cells)
    np.testing.assert_array_equal(content(rows), counts.toarray()[cells])


def test_annbatch_where_it_is_not_installed_is_advised_about(counts, monkeypatch):
    monkeypatch.setitem(sys.modules, "annbatch", None)
    with pytest.raises(ConfigError, match=r"pip install 'countae\[annbatch\]'"):
        loaders.get("annbatch")(counts)


def test_naming_the_loaders_imports_none_of_them():
    code = "from countae.counts import loaders; loaders.names(); import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "annbatch" not in done.stdout.split()

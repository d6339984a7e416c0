"""Prepared counts as a file that is mapped: plain .h5ad, small types, the same results."""

from __future__ import annotations

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SETTINGS
from scipy import sparse

from countae import config
from countae.config import Source
from countae.counts import CountMatrix
from countae.counts._store import RowWriter, count_type
from countae.errors import CountMatrixError
from countae.fit import fit
from countae.gene_verdict import describe_genes
from countae.hold_out import hide, write_hidden
from countae.prepare import prepare
from countae.score import score_network

TRAINING = config.defaults("training") | {"max_epochs": 3}
NETWORK = config.defaults("network") | {"hidden": [16], "latent": 3}


@pytest.fixture(scope="module")
def large_counts(tmp_path_factory):
    """150 cells × 12 genes with counts far above 255, prepared, in memory and in a file."""
    rng = np.random.default_rng(3)
    mean = rng.gamma(1.0, 300.0, (2, 12))[rng.integers(2, size=150)]
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(2.0, mean / 2)))
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(150)])
    var = pd.DataFrame(index=[f"gene{j}" for j in range(12)])
    folder = tmp_path_factory.mktemp("large")
    anndata.AnnData(counts, obs=obs, var=var).write_h5ad(folder / "raw.h5ad")
    matrix, _ = prepare(
        Source(str(folder / "raw.h5ad"), genes="all"),
        simulate=SETTINGS["simulate"],
        quality=SETTINGS["quality"],
        genes=SETTINGS["genes"],
        held_out=SETTINGS["split"],
    )
    matrix.save(folder / "counts.h5ad")
    return matrix, folder / "counts.h5ad"


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(0, "uint8"), (255, "uint8"), (256, "uint16"), (65_535, "uint16"), (65_536, "uint32")],
)
def test_counts_have_the_smallest_type_that_holds_them(small_nb, tmp_path, largest, dtype):
    assert count_type(largest) == dtype
    adata = small_nb.adata.copy()
    adata.X.data[:] = 1 + np.arange(adata.X.nnz) % max(largest, 1)
    adata.X.data[7] = max(largest, 1)
    CountMatrix(adata, "x").save(tmp_path / "counts.h5ad")
    found = CountMatrix.load(tmp_path / "counts.h5ad")
    assert found.counts.dtype == count_type(max(largest, 1))
    np.testing.assert_array_equal(found.counts.toarray(), adata.X.toarray())
    assert found.rows(slice(None)).dtype == np.int32


def test_counts_are_mapped_and_cannot_be_written_to(large_counts):
    found = CountMatrix.load(large_counts[1]).counts
    for part in (found.data, found.indices, found.indptr):
        base = part
        while not isinstance(base, np.memmap) and base.base is not None:
            base = base.base
        assert isinstance(base, np.memmap)
        assert part.flags.aligned
        assert not part.flags.writeable
    # with another type for each, SciPy copies both whenever rows are taken
    assert found.indptr.dtype == found.indices.dtype == np.int32


def test_the_file_opens_as_any_other(large_counts):
    """Oracle: scanpy's own numbers from the counts in memory."""
    import scanpy

    matrix, path = large_counts
    plain, expected = scanpy.read_h5ad(path), matrix.adata.copy()
    np.testing.assert_array_equal(plain.X.toarray(), expected.X.toarray())
    pd.testing.assert_frame_equal(plain.obs.astype({"split": object}), expected.obs)
    for adata in (plain, expected):
        scanpy.pp.normalize_total(adata)
        scanpy.pp.log1p(adata)
        scanpy.pp.pca(adata, n_comps=3, random_state=0)
    np.testing.assert_allclose(plain.X.toarray(), expected.X.toarray(), rtol=1e-6)
    np.testing.assert_allclose(plain.obsm["X_pca"], expected.obsm["X_pca"], atol=1e-4)


def test_a_file_that_another_tool_rewrote_is_read(large_counts, tmp_path):
    """What is compressed cannot be mapped; it is read, and is the same."""
    matrix, path = large_counts
    anndata.read_h5ad(path).write_h5ad(tmp_path / "again.h5ad", compression="gzip")
    again = CountMatrix.load(tmp_path / "again.h5ad")
    np.testing.assert_array_equal(again.counts.toarray(), matrix.counts.toarray())
    cells = np.arange(len(matrix.obs))
    np.testing.assert_array_equal(again.fold_of(cells), matrix.fold_of(cells))


def results(matrix):
    network, record = fit(matrix, "nb", seed=1, network=NETWORK, training=TRAINING, device="cpu")
    scores = score_network(network, matrix, wanted=[], device="cpu")
    return network.state_dict(), record.validation_loss, scores, describe_genes(matrix)


@pytest.mark.parametrize("protocol", ["masked", "thinning"])
def test_everything_is_the_same_from_the_file_and_from_memory(large_counts, tmp_path, protocol):
    """Oracle: int32 counts in memory, in which no sum, difference or square can overflow."""
    matrix, path = large_counts
    assert matrix.counts.data.max() > 2 * 255
    assert CountMatrix.load(path).counts.dtype == np.uint16
    pair = []
    for one in (matrix, CountMatrix.load(path)):
        made = one
        if protocol != "masked":
            made = hide(one, protocol)
            made.save(tmp_path / f"{len(pair)}.h5ad")
            made = made if one is matrix else CountMatrix.load(tmp_path / f"{len(pair)}.h5ad")
        pair.append(results(made))
    (weights, losses, scores, genes), (others, again, rescored, regenes) = pair
    assert losses == again
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    pd.testing.assert_frame_equal(scores.table, rescored.table, check_exact=True)
    pd.testing.assert_frame_equal(scores.cells, rescored.cells, check_exact=True)
    pd.testing.assert_frame_equal(genes, regenes, check_exact=True)


@pytest.mark.parametrize("protocol", ["thinning", "nb_splitting"])
def test_halves_that_are_written_in_blocks_are_those_in_memory(
    large_counts, tmp_path, monkeypatch, protocol
):
    matrix, path = large_counts
    network, _ = fit(matrix, "nb", seed=1, network=NETWORK, training=TRAINING, device="cpu")
    monkeypatch.setattr("countae.counts._store.ROWS_AT_ONCE", 11)
    expected = hide(matrix, protocol, network=network)
    write_hidden(CountMatrix.load(path), protocol, tmp_path / "half.h5ad", network=network)
    found = CountMatrix.load(tmp_path / "half.h5ad")
    assert found.adata.layers["visible"].dtype == np.uint16
    cells = np.arange(len(matrix.obs))
    assert (found.visible(cells) != expected.visible(cells)).nnz == 0
    assert (found.rows(cells) != matrix.counts).nnz == 0
    np.testing.assert_array_equal(
        found.obs["visible_library_size"], expected.obs["visible_library_size"]
    )
    assert "visible" not in matrix.adata.layers
    assert matrix.protocol == "masked"


def test_halves_are_drawn_block_by_block(large_counts):
    """Oracle: Binomial(x, 1/2) by the generator of each 256 cells; other blocks differ."""
    matrix = large_counts[0]
    cells = np.arange(len(matrix.obs))
    twice = CountMatrix(
        anndata.concat([matrix.adata] * 4, index_unique="-", uns_merge="same"), "four times"
    )
    twice.adata.var = matrix.adata.var.copy()
    found = hide(twice, "thinning").adata.layers["visible"]
    rng = np.random.Generator(np.random.Philox(key=[0x5EED << 32, 1]))
    rows = twice.rows(np.arange(256, 512))
    np.testing.assert_array_equal(
        found[256:512].toarray()[rows.toarray() > 0], rng.binomial(rows.data, 0.5)
    )
    first = hide(matrix, "thinning").adata.layers["visible"]
    assert (found[cells] != first).nnz == 0
    assert (found[len(cells) + cells] != first).nnz > 0


def test_a_square_that_no_int32_holds_is_right(large_counts):
    """Oracle: the variance by NumPy in float64, of counts above 46,340."""
    adata = large_counts[0].adata.copy()
    adata.X.data[:] = adata.X.data * 100
    matrix = CountMatrix(adata, "larger")
    test = np.flatnonzero(matrix.part == "test")
    expected = matrix.counts[test].toarray().astype(float).var(axis=0)
    np.testing.assert_allclose(describe_genes(matrix)["variance"], expected, rtol=1e-9)


@pytest.mark.parametrize("place", ["indices", "indptr"])
def test_an_index_outside_the_matrix_is_found_before_it_is_used(large_counts, tmp_path, place):
    (tmp_path / "counts.h5ad").write_bytes(large_counts[1].read_bytes())
    with h5py.File(tmp_path / "counts.h5ad", "r+") as file:
        file[f"X/{place}"][5] = 10**6
    with pytest.raises(CountMatrixError, match=r"points outside its .* damaged. Fix: make"):
        CountMatrix.load(tmp_path / "counts.h5ad")


def test_a_file_that_was_cut_short_is_told(large_counts, tmp_path):
    whole = large_counts[1].read_bytes()
    (tmp_path / "counts.h5ad").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CountMatrixError, match=r"not readable as .h5ad .*cut short"):
        CountMatrix.load(tmp_path / "counts.h5ad")


def test_rows_in_pieces_are_rows_at_once_and_missing_ones_are_told(tmp_path, rng):
    counts = sparse.csr_matrix(rng.poisson(0.5, (50, 7)))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        writer = RowWriter(file, "X", shape=(50, 7), stored=counts.nnz, dtype=np.uint8)
        for start, stop in ((0, 1), (1, 30), (30, 30), (30, 49)):
            writer.append(counts[start:stop])
        with pytest.raises(CountMatrixError, match="changed while they were read: 50 cells"):
            writer.close()
        writer.append(counts[49:])
        writer.close()
        found = anndata.io.read_elem(file["X"])
    assert (found != counts).nnz == 0

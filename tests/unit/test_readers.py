"""Every format gives the same counts, in blocks of any size, and refuses what it must not read."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from count_files import FORMATS, example
from scipy import sparse

from countae.counts import readers
from countae.counts.readers import _spill, _stored, open_counts
from countae.errors import CountMatrixError

CELLS, GENES = 53, 17


@pytest.fixture
def adata(rng):
    """53 cells × 17 genes of Poisson counts."""
    counts = sparse.csr_matrix(rng.poisson(0.7, size=(CELLS, GENES)).astype(np.float32))
    obs = pd.DataFrame({"kind": ["a", "b"] * 26 + ["a"]}, index=[f"c{i}" for i in range(CELLS)])
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=[*map(str, range(GENES))]))


@pytest.fixture
def small_pieces(monkeypatch):
    """Buffers so small that every loop over pieces runs several times, through real files."""
    monkeypatch.setattr(_stored, "SLAB", 5 * 8 * GENES)
    monkeypatch.setattr(_stored, "ENTRIES", 30)
    monkeypatch.setattr(_spill, "ENTRIES", 13)
    monkeypatch.setattr(_spill, "SHELF", 7)
    monkeypatch.setattr(_spill, "IN_MEMORY", 200)


def assert_read(reader, expected, cells):
    blocks = [*reader.blocks(cells)]
    whole, rest = divmod(CELLS, cells)
    assert [block.shape[0] for block in blocks] == [cells] * whole + [rest] * (rest > 0)
    for block in blocks:
        assert block.dtype == np.int32
        assert block.indices.dtype == block.indptr.dtype == np.int32
        assert (block.data > 0).all()
        again = block.copy()
        again.has_canonical_format = False
        again.sum_duplicates()
        assert again.nnz == block.nnz
        np.testing.assert_array_equal(again.indices, block.indices)
    np.testing.assert_array_equal(sparse.vstack(blocks).toarray(), expected)


STORAGE = {
    "csr": lambda m: m,
    "csc": lambda m: m.tocsc(),
    "dense": lambda m: m.toarray(),
    "half": lambda m: m.toarray().astype(np.float16),
    "int64": lambda m: m.astype(np.int64),
    "csc uint8": lambda m: m.tocsc().astype(np.uint8),
    "bytes": lambda m: m.toarray().astype(np.uint8),
}


@pytest.mark.parametrize("cells", [1, 10, 53, 2048])
@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_h5ad_in_blocks(adata, tmp_path, small_pieces, storage, cells, compression):
    expected = adata.X.toarray()
    adata.X = STORAGE[storage](adata.X)
    adata.write_h5ad(tmp_path / "a.h5ad", compression=compression)
    reader = open_counts(str(tmp_path / "a.h5ad"))
    assert reader.shape == (CELLS, GENES)
    for _ in range(2):  # a second pass gives the same
        assert_read(reader, expected, cells)
    pd.testing.assert_frame_equal(reader.obs.astype(str), adata.obs.astype(str))


@pytest.mark.parametrize("layer", ["", "spliced", "raw.X"])
def test_every_place_of_an_h5ad(adata, tmp_path, layer):
    adata.raw = adata[:, :9].copy()
    adata.layers["spliced"] = adata.X * 2
    adata.X = adata.X.toarray() + 1
    adata.write_h5ad(tmp_path / "a.h5ad")
    reader = open_counts(str(tmp_path / "a.h5ad"), layer=layer)
    assert reader.places() == ["", "spliced", "raw.X"]
    expected = {"": adata.X, "spliced": adata.layers["spliced"].toarray()}
    np.testing.assert_array_equal(
        sparse.vstack([*reader.blocks(20)]).toarray(),
        expected.get(layer, adata.raw.X.toarray()),
    )
    assert reader.at("raw.X").shape == (CELLS, 9)
    assert reader.at("raw.X").var.index.tolist() == [*map(str, range(9))]


def test_a_bad_value_in_a_late_block_is_found_and_named(adata, tmp_path):
    matrix = adata.X.tolil()
    matrix[40, 3] = 0.5
    adata.X = matrix.tocsr()
    adata.layers["counts"] = adata.X.rint()
    adata.write_h5ad(tmp_path / "a.h5ad")
    blocks = open_counts(str(tmp_path / "a.h5ad")).blocks(10)
    for _ in range(4):
        next(blocks)
    words = r"a.h5ad: X must.*at least 1 are not.*so far.*0.5 at cell 'c40', gene '3'.*'counts'"
    with pytest.raises(CountMatrixError, match=words):
        next(blocks)


def test_rounding_in_any_block_is_told(adata, tmp_path):
    matrix = adata.X.astype(np.float64).tolil()
    matrix[50, 2] = 2 + 1e-9
    adata.X = matrix.tocsr()
    adata.write_h5ad(tmp_path / "a.h5ad")
    reader = open_counts(str(tmp_path / "a.h5ad"))
    blocks = reader.blocks(10)
    next(blocks)
    assert not reader.rounded
    assert [*blocks][-1].dtype == np.int32
    assert reader.rounded


@pytest.mark.parametrize("value", [-1, 2**31, 2**40])
@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.uint64])
def test_values_beyond_an_int32_are_refused(adata, tmp_path, value, dtype):
    if value < 0 and dtype is np.uint64:
        value = 2**64 - 1
    matrix = adata.X.toarray().astype(dtype)
    matrix[7, 4] = value
    adata.X = matrix
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(CountMatrixError, match="1 of .*at cell 'c7', gene '4'"):
        [*open_counts(str(tmp_path / "a.h5ad")).blocks()]


def test_the_largest_count_is_read(adata, tmp_path):
    adata.X = np.full((CELLS, GENES), 2**31 - 1)
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert (next(open_counts(str(tmp_path / "a.h5ad")).blocks()).data == 2**31 - 1).all()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("cells", [7, 2048])
def test_every_format_gives_the_same_counts(tmp_path, small_pieces, name, cells):
    content = example()
    path = FORMATS[name](content, tmp_path)
    for _ in range(2):
        reader = open_counts(str(path))
        assert reader.shape == content.counts.shape
        assert reader.obs.index.tolist() == content.cells
        assert reader.var.index.tolist() == content.genes
        found = sparse.vstack([*reader.blocks(cells)]).toarray()
        np.testing.assert_array_equal(found, content.counts)


@pytest.mark.parametrize("name", FORMATS)
def test_one_reader_recognises_a_file(tmp_path, name):
    path = FORMATS[name](example(), tmp_path)
    assert len([n for n in readers.names() if readers.get(n).recognises(path)]) == 1

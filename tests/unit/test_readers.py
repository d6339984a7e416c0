"""Every format gives the same counts, in blocks of any size, and refuses what it must not read."""

from __future__ import annotations

import gzip
import shutil
from contextlib import nullcontext

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from count_files import FORMATS, example
from scipy import sparse

from countae.counts import read_counts, readers
from countae.counts.readers import _spill, _stored, open_counts, table
from countae.counts.readers._memory import MemoryReader
from countae.errors import ConfigError, CountMatrixError

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
    "big-endian": lambda m: m.toarray().astype(">i4"),
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


def test_an_h5ad_without_x_says_where_its_counts_are(adata, tmp_path):
    counts = adata.X
    bare = anndata.AnnData(None, obs=adata.obs, var=adata.var)
    bare.layers["a_half"], bare.layers["counts"] = counts * 0.5, counts
    bare.write_h5ad(tmp_path / "a.h5ad")
    words = "there is no X; there is layer 'a_half', layer 'counts'. Fix: set `layer` to 'counts'"
    for reader in (open_counts, lambda path: MemoryReader(bare, path)):
        with pytest.raises(CountMatrixError, match=words):
            reader(str(tmp_path / "a.h5ad"))
    assert_read(open_counts(str(tmp_path / "a.h5ad"), layer="counts"), counts.toarray(), 20)
    anndata.AnnData(obs=adata.obs, var=adata.var).write_h5ad(tmp_path / "none.h5ad")
    with pytest.raises(CountMatrixError, match="there is no X; there is no layer either"):
        open_counts(str(tmp_path / "none.h5ad"))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_entries_that_stand_twice_are_added(tmp_path, dtype):
    """By hand: 200 + 100 does not fit into a byte."""
    twice = sparse.csr_matrix(
        (np.array([200, 3, 100, 7], dtype), np.array([2, 0, 2, 1]), np.array([0, 3, 4])), (2, 3)
    )
    anndata.AnnData(twice).write_h5ad(tmp_path / "a.h5ad")
    (block,) = open_counts(str(tmp_path / "a.h5ad")).blocks()
    np.testing.assert_array_equal(block.toarray(), [[3, 0, 300], [0, 7, 0]])
    assert block.nnz == 3


def test_a_sum_of_entries_that_no_int32_holds_is_refused(tmp_path):
    """By hand: three times 2^31 − 1 would wrap round to 2^31 − 3."""
    thrice = sparse.csr_matrix((np.full(3, 2**31 - 1, np.int32), np.zeros(3, int), [0, 3]), (1, 2))
    anndata.AnnData(thrice).write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(CountMatrixError, match="Values beyond 2,147,483,647"):
        [*open_counts(str(tmp_path / "a.h5ad")).blocks()]


def test_no_other_orientation_is_known(tmp_path):
    (tmp_path / "a.csv").write_text("x,MT-CO1,MT-CO2\ncell1,1,2\ncell2,0,3\n")
    with pytest.raises(ConfigError, match="'genes' is not one of"):
        open_counts(str(tmp_path / "a.csv"), orientation="genes")


NO_TABLES = {
    "UTF-16": "x,MT-CO1\ncell1,1\n".encode("utf-16"),
    "spreadsheet": b"PK\x03\x04rest",
}


@pytest.mark.parametrize("what", NO_TABLES)
def test_what_is_no_text_is_named(tmp_path, what):
    (tmp_path / "a.csv").write_bytes(NO_TABLES[what])
    with pytest.raises(CountMatrixError, match=f"must be text in UTF-8, found .*{what}"):
        open_counts(str(tmp_path / "a.csv"))


def test_a_table_is_unpacked_whatever_its_name(tmp_path):
    text = b"x,MT-CO1,MT-CO2\ncell1,1,2\ncell2,0,3\n"
    for name, content in {"a.csv": gzip.compress(text), "b.csv.gz": text}.items():
        (tmp_path / name).write_bytes(content)
        (block,) = open_counts(str(tmp_path / name)).blocks()
        np.testing.assert_array_equal(block.toarray(), [[1, 2], [0, 3]])


SEPARATED = {
    "a point of thousands": ("x,MT-CO1,MT-CO2\ncell1,3.000,12\ncell2,0,3\n", r"'3.000'.*'12'"),
    "in another row": ('x,MT-CO1,MT-CO2\ncell1,7,12\ncell2,0,"1.000"\n', r"'1.000'.*'7'"),
    "two points": ("x,MT-CO1,MT-CO2\ncell1,3.000.000,12\n", "thousands points. Fix: write"),
    "a row of sums": (
        "x,MT-CO1,MT-CO2\ncell1,3,1\ncell2,0,3\nTotal,3,4\n",
        "its last row, 'Total', holds the sums .* Fix: remove this row",
    ),
    "a column of sums": (
        "x,MT-CO1,MT-CO2,sum\ncell1,3,1,4\ncell2,0,3,3\n",
        "its last column, 'sum', holds the sums .* Fix: remove this column",
    ),
}


@pytest.mark.parametrize("what", SEPARATED)
def test_numbers_that_only_look_like_counts_are_refused(tmp_path, monkeypatch, what):
    text, told = SEPARATED[what]
    (tmp_path / "a.csv").write_text(text)
    for piece in (1 << 20, 1) if "another" not in what else (1 << 20,):
        monkeypatch.setattr(table, "PIECE", piece)
        with pytest.raises(CountMatrixError, match=told):
            open_counts(str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    "text",
    [
        "x,MT-CO1,MT-CO2\ncell1,3.000,12.000\ncell2,0,3.000\n",  # every number has decimals
        "x,MT-CO1,MT-CO2\ncell1,3.0,12\ncell2,0,3\n",
        "x,MT-CO1,MT-CO2\ncell1,3,12\ncell2,0,3\nTotal,5,15\n",  # called so, but no sums
        "x,MT-CO1,MT-CO2\ncell1,3,12\ncell2,0,3\ncell3,3,15\n",  # sums, but called a cell
        "x,MT-CO1,MT-CO2,MT-CO3\ncell1,3,1,4\ncell2,0,3,3\n",
    ],
)
def test_numbers_that_may_be_counts_are_read(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    rows = [list(map(float, line.split(",")[1:])) for line in text.splitlines()[1:]]
    (block,) = open_counts(str(tmp_path / "a.csv")).blocks()
    np.testing.assert_array_equal(block.toarray(), rows)


@pytest.mark.parametrize("name", ["zarr", "zarr_v2"])
def test_a_zarr_store_may_be_packed_with_its_folder(tmp_path, name):
    content = example()
    (tmp_path / "inside").mkdir()
    FORMATS[name](content, tmp_path / "inside")
    packed = shutil.make_archive(str(tmp_path / "mine.zarr"), "zip", tmp_path / "inside")
    np.testing.assert_array_equal(read_counts(packed).counts.toarray(), content.counts)
    sentence = "not readable as a zarr store"
    (tmp_path / "inside/other").mkdir()
    (tmp_path / "inside/other/a").write_text("two things in one archive")
    with pytest.raises(CountMatrixError, match=sentence):
        open_counts(shutil.make_archive(str(tmp_path / "two.zarr"), "zip", tmp_path / "inside"))


def test_names_must_not_be_empty(tmp_path):
    (tmp_path / "a.csv").write_text("x,MT-CO1,,MT-CO2\ncell1,1,2,3\ncell2,0,3,4\n")
    with pytest.raises(CountMatrixError, match="every gene must have a name, but 1 have none"):
        read_counts(str(tmp_path / "a.csv"), orientation="cells_in_rows")


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


def test_a_dense_matrix_of_genes_is_read_in_slabs(tmp_path, small_pieces, rng):
    """17 genes, three at a time."""
    values = rng.poisson(0.7, size=(GENES, CELLS)).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["m"] = values
        blocks = [*_stored.dense_spill(file["m"], where="m").blocks((CELLS, GENES), 10)]
    np.testing.assert_array_equal(sparse.vstack(blocks).toarray(), values.T)


@pytest.mark.parametrize("name", FORMATS)
def test_one_reader_recognises_a_file(tmp_path, name):
    path = FORMATS[name](example(), tmp_path)
    assert len([n for n in readers.names() if readers.get(n).recognises(path)]) == 1


@pytest.mark.parametrize(("place", "inside"), [(-1, False), (0, True), (3, True), (4, False)])
def test_places_lie_within_the_matrix(place, inside):
    with nullcontext() if inside else pytest.raises(CountMatrixError, match="outside of 0 to 3"):
        _stored.check_range(np.array([1, place]), 4, where="X")


def test_files_with_genes_in_another_order_are_joined_by_name(adata, tmp_path):
    """By hand: the second file is the first, its genes reversed and two of them gone."""
    turned = adata[:, ::-1][:, 2:].copy()
    turned.obs_names = [f"other{i}" for i in range(CELLS)]
    for name, data in {"a": adata, "b": turned}.items():
        data.write_h5ad(tmp_path / f"{name}.h5ad")
    reader = open_counts(f"{tmp_path}/a.h5ad;{tmp_path}/b.h5ad")
    assert reader.var.index.tolist() == adata.var_names[:-2].tolist()
    found = sparse.vstack([*reader.blocks(20)]).toarray()
    np.testing.assert_array_equal(found, np.vstack([adata.X.toarray()[:, :-2]] * 2))

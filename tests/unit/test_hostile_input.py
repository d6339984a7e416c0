"""Input that is damaged, extreme or malicious: read exactly, or refused with a clear error."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import SETTINGS
from count_files import FORMATS, Content, anndata_of, example, table
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from countae.config import Source
from countae.counts import read_counts
from countae.counts.readers import _spill, open_counts
from countae.errors import CountaeError, CountMatrixError
from countae.prepare import prepare

SAID = {"csv_cells": "cells_in_rows", "tsv_genes": "genes_in_rows"}
SAID["matrix_market"] = "cells_in_rows"
LINES = {"tenx_mtx_v2", "tenx_mtx_v3", "matrix_market"}  # names there have no tab or newline
NASTY = [
    "it's", 'a "b"', "<script>alert(1)</script>", "new\nline", "cr\rlf\r\n", "tab\t,;", "näme ☃ 𝄞",
    " blank ", "=1+1", "%s {0}", "x" * 10_000, "\u202eright to left", "-", "0", "nan",
]  # fmt: skip
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\n\r"), min_size=1)


@st.composite
def contents(draw, names):
    """Any small matrix of counts with any names."""
    cells, genes = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    count = st.one_of(st.integers(0, 3), st.integers(0, 2**24), st.just(0))
    counts = draw(st.lists(count, min_size=cells * genes, max_size=cells * genes))
    unique = [draw(st.lists(names, min_size=n, max_size=n, unique=True)) for n in (cells, genes)]
    return Content(np.array(counts).reshape(cells, genes), *unique)


def assert_round_trip(content, name, folder):
    reader = open_counts(
        str(FORMATS[name](content, Path(folder))), orientation=SAID.get(name, "auto")
    )
    assert reader.obs.index.tolist() == content.cells
    assert reader.var.index.tolist() == content.genes
    found = sparse.vstack([*reader.blocks(4)]).toarray()
    np.testing.assert_array_equal(found, content.counts)


@pytest.mark.parametrize("name", FORMATS)
def test_any_counts_with_any_names_come_back(name):
    @settings(max_examples=8, deadline=None, derandomize=True)
    @given(content=contents(LINE if name in LINES else ANY))
    def round_trip(content):
        with tempfile.TemporaryDirectory() as folder:
            assert_round_trip(content, name, folder)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's remarks on what it writes
        round_trip()


@pytest.mark.parametrize("name", FORMATS)
def test_nasty_names_come_back(tmp_path, name):
    names = [n for n in NASTY if name not in LINES or not set(n) & set("\t\n\r")]
    counts = np.arange(len(names) ** 2).reshape(len(names), -1)
    assert_round_trip(Content(counts, names, names[::-1]), name, tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_path_may_have_blanks_and_quotes(tmp_path, name):
    folder = tmp_path / "my data; it's [1] *ü"
    folder.mkdir()
    content = example()
    path = FORMATS[name](content, folder)
    assert read_counts(str(path)).counts.sum() == content.counts.sum()


@pytest.mark.parametrize("name", FORMATS)
def test_large_counts_are_exact(tmp_path, name):
    content = example()
    content.counts[3, 2], content.counts[4, 5] = 70_000, 2**24
    found = read_counts(str(FORMATS[name](content, tmp_path)))
    np.testing.assert_array_equal(found.counts.toarray(), content.counts)


def test_library_sizes_do_not_overflow(tmp_path):
    content = example()
    content.counts[:] = 2**31 - 1
    adata = anndata_of(content)
    adata.X = content.counts
    adata.write_h5ad(tmp_path / "x.h5ad")
    found = read_counts(str(tmp_path / "x.h5ad"))
    assert (found.library_size == 12.0 * (2**31 - 1)).all()
    assert (found.counts.sum(axis=0).A1 == 30 * (2**31 - 1)).all()


@pytest.mark.parametrize("name", ["matrix_market", "csv_cells", "tenx_mtx_v3"])
def test_counts_beyond_the_largest_are_refused(tmp_path, name):
    content = example()
    content.counts[3, 2] = 2**31
    with pytest.raises(CountMatrixError, match="no molecule or read counts"):
        read_counts(str(FORMATS[name](content, tmp_path)))


def prepared_from(path, **row):
    return prepare(
        Source(str(path), genes="all", **row),
        simulate=SETTINGS["simulate"],
        quality=dict.fromkeys(SETTINGS["quality"], 0) | {"max_mitochondrial_fraction": 1.0},
        genes=SETTINGS["genes"],
        held_out=SETTINGS["split"],
    )[0]


def test_one_cell_is_read_and_too_few_to_split(tmp_path):
    path = FORMATS["h5ad"](Content(np.array([[3, 4]]), ["c"], ["g", "h"]), tmp_path)
    assert read_counts(str(path)).counts.toarray().tolist() == [[3, 4]]
    with pytest.raises(CountMatrixError, match=r"at least 5 cells|removes all 1 cells"):
        prepared_from(path)


def test_one_gene_is_prepared(tmp_path):
    counts = np.random.default_rng(0).poisson(9.0, (100, 1)) + 1
    path = FORMATS["csv_cells"](Content(counts, example(100).cells, ["ACTB"]), tmp_path)
    assert prepared_from(path).counts.shape[1] == 1


def test_equal_genes_and_labels_that_all_differ_are_prepared(tmp_path):
    content = example(100)
    content.counts[:] = content.counts.sum(axis=1, keepdims=True)
    adata = anndata_of(content)
    adata.obs["label"] = content.cells
    adata.write_h5ad(tmp_path / "x.h5ad")
    matrix = prepared_from(tmp_path / "x.h5ad", label_key="label")
    assert len(np.unique(matrix.labels)) == len(matrix.obs)


# files that reach for more than their own numbers


def refused(path, words):
    with pytest.raises(CountMatrixError, match=words) as error:
        read_counts(str(path))
    assert "Fix:" in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("name", ["h5ad", "tenx_h5_v3", "loom"])
@pytest.mark.parametrize("how", ["external", "virtual", "raw"])
def test_numbers_in_other_files_are_not_read(tmp_path, name, how):
    path = FORMATS[name](example(), tmp_path)
    part = {"h5ad": "X/data", "tenx_h5_v3": "matrix/data", "loom": "matrix"}[name]
    with h5py.File(path, "r+") as file, h5py.File(tmp_path / "other.h5", "w") as other:
        values = file[part][:]
        del file[part]
        other["x"] = values
        (tmp_path / "raw.bin").write_bytes(values.tobytes())
        if how == "external":
            file[part] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
        elif how == "virtual":
            layout = h5py.VirtualLayout(values.shape, values.dtype)
            layout[:] = h5py.VirtualSource(other["x"])
            file.create_virtual_dataset(part, layout)
        else:
            places = [(str(tmp_path / "raw.bin"), 0, values.nbytes)]
            file.create_dataset(part, values.shape, values.dtype, external=places)
    refused(path, "link to the file|keeps its values in other files")


def test_a_soft_link_that_leads_out_or_nowhere_is_refused(tmp_path):
    path = FORMATS["h5ad"](example(), tmp_path)
    with h5py.File(path, "r+") as file:
        file.move("X", "away")
        file["X"] = h5py.SoftLink("/absent")
    refused(path, "not readable|names for|at least one cell")


def test_objects_in_hdf5_are_refused(tmp_path):
    path = FORMATS["h5ad"](example(), tmp_path)
    with h5py.File(path, "r+") as file:
        del file["X/data"]
        kind = h5py.vlen_dtype(np.dtype("uint8"))
        file["X"].create_dataset("data", (3,), dtype=kind)
    refused(path, "holds objects")


class Trap:
    def __reduce__(self):
        return os.mkdir, ("pickle_was_loaded",)


@pytest.mark.parametrize("where", ["compressor", "filters"])
@pytest.mark.parametrize("part", ["X/data", "obs/_index"])
def test_no_pickle_is_ever_loaded(tmp_path, monkeypatch, where, part):
    monkeypatch.chdir(tmp_path)
    path = FORMATS["zarr_v2"](example(), tmp_path)
    for name in [f"{part}/.zarray", ".zmetadata"]:
        content = json.loads((path / name).read_text())
        array = content["metadata"][f"{part}/.zarray"] if "metadata" in content else content
        array |= {"compressor": None, "filters": None}
        array[where] = {"id": "pickle"} if where == "compressor" else [{"id": "pickle"}]
        (path / name).write_text(json.dumps(content))
    (path / part / "0").write_bytes(pickle.dumps(Trap()))
    refused(path, "packed by 'pickle'|not readable as a zarr store")
    assert not Path("pickle_was_loaded").exists()


def test_a_bomb_of_nothing_is_refused(tmp_path):
    path = FORMATS["h5ad"](example(), tmp_path)
    with h5py.File(path, "r+") as file:
        del file["obs/_index"]
        file["obs"].create_dataset("_index", (2**40,), dtype="S8", chunks=(2**20,))
    refused(path, "has hardly any in the file")


def test_a_heap_that_makes_the_library_loop_is_refused(tmp_path):
    """Without the check this never ends: the object of size 0 is read again and again."""
    path = FORMATS["h5ad"](example(), tmp_path)
    content = bytearray(path.read_bytes())
    place = content.index(b"GCOL") + 16
    content[place : place + 16] = bytes(16)
    path.write_bytes(content)
    refused(path, "heap at byte")


@pytest.mark.parametrize("name", [n for n in FORMATS if "zarr" not in n or "zip" in n])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_is_cut_short_is_refused(tmp_path, name, share):
    path = FORMATS[name](example(), tmp_path)
    victim = next(iter(sorted(path.glob("matrix*")))) if path.is_dir() else path
    data = victim.read_bytes()
    text = "csv" in name or name == "tsv_genes"
    victim.write_bytes(data[: int(share * len(data)) - (3 if text else 0)])
    with pytest.raises(CountMatrixError):
        read_counts(str(path))


# names and numbers that do not fit together


@pytest.mark.parametrize("name", ["tenx_h5_v2", "tenx_h5_v3"])
@pytest.mark.parametrize("number", [29, 31])
def test_barcodes_of_another_matrix_are_told(tmp_path, name, number):
    path = FORMATS[name](example(), tmp_path)
    with h5py.File(path, "r+") as file:
        group = file["matrix" if "matrix" in file else "GRCh38"]
        del group["barcodes"]
        group["barcodes"] = np.array([f"c{k}".encode() for k in range(number)])
    refused(path, f"must name 30 cells.*names {number}")


def test_barcodes_beside_a_folder_are_counted(tmp_path):
    path = FORMATS["tenx_mtx_v3"](example(), tmp_path)
    with gzip.open(path / "barcodes.tsv.gz", "at") as file:
        file.write("one more\n")
    refused(path, r"barcodes.tsv.gz must name 30 cells.*names 31")


HEADER = "%%MatrixMarket matrix coordinate integer general\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER + "2 3 1\n0 1 5\n", "row 0, but rows go from 1 to 2.*counts from 0"),
        (HEADER + "2 3 1\n1 4 5\n", "column 4, but columns go from 1 to 3"),
        (HEADER + "2 3 2\n1 1 5\n", "promises 2 entries, but has 1"),
        (HEADER + "2 3 1\n1 1 5\n2 2 1\n", "promises 1 entries, but has 2"),
        (HEADER + "2 3 1\n1 1\n", "more or less than row, column and value"),
        (HEADER + "2 3 1\n1 1 x\n", "not readable as a Matrix Market file"),
        (HEADER + "2 3 1\n1 1 5 7\n", "more or less than row, column and value"),
        (HEADER + "2 3 1\n1 1 -5\n", "scaled or batch-corrected"),
        (HEADER + "2 3\n", "not readable as a Matrix Market file"),
        (HEADER + "-2 3 1\n", "not readable as a Matrix Market file"),
        (HEADER + f"2 {2**40} 1\n", "not readable as a Matrix Market file"),
        (HEADER.replace("coordinate", "array") + "1 1\n5\n", "found 'array integer general'"),
        (HEADER.replace("general", "symmetric") + "2 2 0\n", "found 'coordinate integer symm"),
        ("1 1 5\n", "must begin with"),
        ("", "must begin with"),
    ],
)
def test_matrix_market_that_breaks_its_rules(tmp_path, text, words):
    (tmp_path / "x.mtx").write_text(text)
    with pytest.raises(CountMatrixError, match=words):
        read_counts(str(tmp_path / "x.mtx"), orientation="genes_in_rows")


def test_matrix_market_without_names_asks_for_the_orientation(tmp_path):
    (tmp_path / "x.mtx").write_text(HEADER + "2 3 1\n1 2 5\n")
    refused(tmp_path / "x.mtx", "no names of cells and genes are beside.*set `orientation`")
    found = read_counts(str(tmp_path / "x.mtx"), orientation="genes_in_rows")
    assert found.counts.toarray().tolist() == [[0, 0], [5, 0], [0, 0]]
    assert found.cell_id.tolist() == ["cell1", "cell2", "cell3"]
    assert any("numbered" in note for note in found.info["notes"])


def test_entries_that_stand_twice_in_a_matrix_market_file_are_added(tmp_path):
    (tmp_path / "x.mtx").write_text(HEADER + "1 1 2\n1 1 5\n1 1 2\n")
    found = read_counts(str(tmp_path / "x.mtx"), orientation="genes_in_rows")
    assert found.counts.toarray().tolist() == [[7]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (",g1,g2\nc1,1,2\nc2,1\n", "every row must have 3 fields.*row 'c2' has 2"),
        (",g1,g2\nc1,1,2\nc2,1,2,3\n", "every row must have 3 fields.*row 'c2' has 4"),
        (",g1,g2\nc1,1,2,3,4\n", "every row must have 3 fields.*row 'c1' has 5"),
        (",g1,g1\nc1,1,2\nc2,1,2\n", "gene names must be unique.*'g1'"),
        (",g1,g2\nc1,1,2\nc1,1,2\n", "cell names must be unique.*'c1'"),
        (",g1,g2\nc1,1,\nc2,1,2\n", "a value is missing in row 'c1', column 'g2'.*write 0"),
        (",g1,g2\nc1,1,NA\n", "found 'NA' in row 'c1', column 'g2'"),
        (",g1,g2\nc1,1,nan\n", "first: nan at cell 'c1', gene 'g2'"),
        (",g1,g2\nc1,1,inf\n", "first: inf at cell 'c1', gene 'g2'"),
        (";g1;g2\nc1;1,0;2\n", "found '1,0' in row 'c1', column 'g1'. That is a decimal comma"),
        (",g1,type\nc1,1,B cell\n", "found 'B cell' in row 'c1'.*Further columns"),
        (",g1,g2\nc1,1,1_000\n", "found '1_000'"),
        ("g1 g2\nc1 1\n", "must be separated by tabs, commas or semicolons"),
        ('"a,b\n1,2\n', "not readable|must be separated|cannot be told"),
        ("", "must be separated"),
        (",g1,g2\n", "at least one cell and one gene, found 0 cells"),
    ],
)
def test_tables_that_do_not_add_up(tmp_path, text, words):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(CountMatrixError, match=words):
        read_counts(str(tmp_path / "x.csv"), orientation="cells_in_rows")


@pytest.mark.parametrize(
    "data",
    [
        "\ufeff,g1,g2\nc1,1,2\nc2,0,3\n".encode(),  # byte order mark
        b",g1,g2\r\nc1,1,2\r\nc2,0,3\r\n",
        b"g1;g2\nc1;1;2\nc2;0;3\n",  # R's header, which is one shorter
        b'"","g1","g2"\n"c1","1","2"\n"c2","0","3"\n\n',
        b"cell\tg1\tg2\nc1\t1.0\t2e0\nc2\t0\t3\n",
    ],
)
def test_tables_of_other_programs(tmp_path, data):
    (tmp_path / "x.csv").write_bytes(data)
    found = read_counts(str(tmp_path / "x.csv"), orientation="cells_in_rows")
    assert found.cell_id.tolist() == ["c1", "c2"]
    assert found.gene_id.tolist() == ["g1", "g2"]
    assert found.counts.toarray().tolist() == [[1, 2], [0, 3]]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("named", ["barcodes", "genes", "corner"])
def test_the_orientation_is_inferred_and_said(tmp_path, transposed, named):
    content = example()
    if named == "barcodes":
        content = Content(content.counts, content.cells, [f"x{k}" for k in range(12)])
    elif named == "genes":
        content = Content(content.counts, [f"x{k}" for k in range(30)], content.genes)
    else:
        names = ([f"{a}{k}" for k in range(n)] for a, n in (("x", 30), ("y", 12)))
        content = Content(content.counts, *names)
    path = table(content, tmp_path / "x.csv", ",", transposed=transposed)
    if named == "corner":
        refused(path, "cannot be told whether its rows are cells or genes.*`orientation`")
        path.write_text(("gene" if transposed else "cell") + path.read_text())
    found = read_counts(str(path))
    np.testing.assert_array_equal(found.counts.toarray(), content.counts)
    assert f"Rows were taken as {'genes' if transposed else 'cells'}" in found.info["notes"][0]


def test_pieces_of_a_long_table_are_put_together(tmp_path, monkeypatch):
    from countae.counts.readers import table as module

    monkeypatch.setattr(module, "PIECE", 40)
    for transposed in (False, True):
        path = table(example(), tmp_path / "x.csv", ",", transposed=transposed)
        found = read_counts(str(path))
        np.testing.assert_array_equal(found.counts.toarray(), example().counts)


# 10x


def with_features(path, kinds, genomes):
    with h5py.File(path, "r+") as file:
        for name, values in {"feature_type": kinds, "genome": genomes}.items():
            del file[f"matrix/features/{name}"]
            file[f"matrix/features/{name}"] = np.array([v.encode() for v in values])


def test_features_that_are_no_genes_are_left_out_and_it_is_said(tmp_path):
    content = example()
    path = FORMATS["tenx_h5_v3"](content, tmp_path)
    with_features(path, ["Gene Expression"] * 9 + ["Antibody Capture"] * 3, ["GRCh38"] * 12)
    found = read_counts(str(path))
    np.testing.assert_array_equal(found.counts.toarray(), content.counts[:, :9])
    assert found.info["notes"] == [
        "Features that are no genes were left out: 3 'Antibody Capture'."
    ]
    with_features(path, ["Antibody Capture"] * 12, ["GRCh38"] * 12)
    refused(path, "features of type 'Gene Expression', found only 'Antibody Capture'")


def test_a_genome_of_several_is_chosen(tmp_path):
    content = example()
    path = FORMATS["tenx_h5_v3"](content, tmp_path)
    with_features(path, ["Gene Expression"] * 12, ["GRCh38"] * 5 + ["mm10"] * 7)
    assert open_counts(str(path)).places() == ["", "GRCh38", "mm10"]
    for layer, part in {"": slice(None), "GRCh38": slice(5), "mm10": slice(5, None)}.items():
        found = read_counts(str(path), layer=layer)
        np.testing.assert_array_equal(found.counts.toarray(), content.counts[:, part])
    with pytest.raises(CountMatrixError, match="is no genome.*Did you mean 'mm10'"):
        read_counts(str(path), layer="mm9")


def test_a_genome_of_several_must_be_named_in_version_2(tmp_path):
    path = FORMATS["tenx_h5_v2"](example(), tmp_path)
    with h5py.File(path, "r+") as file:
        file.copy("GRCh38", "mm10")
    refused(path, "`layer` is empty, but it has several genomes.*GRCh38, mm10")
    assert read_counts(str(path), layer="mm10").counts.sum() == example().counts.sum()


@pytest.mark.parametrize(
    "name", ["tenx_h5_v2", "tenx_h5_v3", "tenx_mtx_v2", "tenx_mtx_v3", "loom"]
)
def test_symbols_that_repeat_get_their_identifier(tmp_path, name):
    content = example()
    content.genes[4] = content.genes[9] = "DUP"
    found = read_counts(str(FORMATS[name](content, tmp_path)))
    assert found.gene_id[4] == f"DUP_{content.ids[4]}"
    assert found.gene_id[9] == f"DUP_{content.ids[9]}"
    assert found.gene_id[0] == "MT-ND1"


# several files


def test_several_files_are_one_data_set(tmp_path):
    paths, made = [], []
    for k, name in enumerate(["tenx_h5_v3", "h5ad_csc", "tenx_mtx_v2"]):
        (tmp_path / f"donor{k}").mkdir()
        content = example(20, 12 - k, seed=k)
        genes = content.genes[::-1]  # another order in each file
        content = Content(
            content.counts, ["same", *content.cells[1:]], genes if k else content.genes
        )
        made.append(content)
        paths.append(str(FORMATS[name](content, tmp_path / f"donor{k}")))
    reader = open_counts(";".join(paths))
    common = [g for g in made[0].genes if all(g in c.genes for c in made)]
    assert reader.var.index.tolist() == common
    expected = np.vstack([c.counts[:, [c.genes.index(g) for g in common]] for c in made])
    for cells in (7, 2048):
        np.testing.assert_array_equal(sparse.vstack([*reader.blocks(cells)]).toarray(), expected)
    assert reader.obs["file"].astype(str).unique().tolist() == ["donor0", "donor1", "donor2"]
    assert reader.obs.index[[0, 20, 40]].tolist() == ["same-donor0", "same-donor1", "same-donor2"]
    assert reader.obs.index[1] == made[0].cells[1]
    assert any("are not and were left out" in note for note in reader.notes)
    assert any("3 cells have names that other files use" in note for note in reader.notes)


def test_files_without_a_common_gene_are_refused(tmp_path):
    for k in range(2):
        content = Content(example().counts, example().cells, [f"{k}g{j}" for j in range(12)])
        (tmp_path / str(k)).mkdir()
        FORMATS["h5ad"](content, tmp_path / str(k))
    with pytest.raises(CountMatrixError, match="no gene in common.*'0g0'.*'1g0'"):
        open_counts(str(tmp_path / "*" / "x.h5ad"))


def test_donors_may_be_the_files(tmp_path):
    for k in range(2):
        (tmp_path / f"d{k}").mkdir()
        FORMATS["h5ad"](example(80, seed=k), tmp_path / f"d{k}")
    matrix = prepared_from(tmp_path / "*" / "x.h5ad", donor_key="file")
    assert set(matrix.donors) == {"d0", "d1"}


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    class Full:
        def seek(self, *_): ...

        def close(self): ...

        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(_spill.tempfile, "SpooledTemporaryFile", lambda **_: Full())
    with pytest.raises(CountMatrixError, match="No space left on device.*TMPDIR"):
        read_counts(str(FORMATS["csv_cells"](example(), tmp_path)))


def test_files_of_former_years_are_read(tmp_path):
    """Before 2019 anndata wrote obs and var as structured arrays."""
    content = example()
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        file["X"] = content.counts.astype(np.float32)
        for name, names in {"obs": content.cells, "var": content.genes}.items():
            file[name] = np.array([(n.encode(),) for n in names], dtype=[("index", "S20")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = read_counts(str(tmp_path / "x.h5ad"))
    np.testing.assert_array_equal(found.counts.toarray(), content.counts)


def test_errors_show_long_names_cut(tmp_path):
    content = example()
    content.cells[2] = "x" * 10_000
    content.counts[2, 1] = -1
    with pytest.raises(CountaeError, match=r"x'… \(10,000 characters\)") as error:
        read_counts(str(FORMATS["csv_cells"](content, tmp_path)))
    assert len(str(error.value)) < 600


def test_damaged_files_of_every_format_are_read_or_refused():
    """A short run; `python tests/fuzz_readers.py --rounds 300` is the long one."""
    script = Path(__file__).parents[1] / "fuzz_readers.py"
    done = subprocess.run(
        [sys.executable, script, "--rounds", "6", "--seed", "5"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n| ") == len(FORMATS)


def test_the_table_of_the_file_is_kept(tmp_path):
    adata = anndata_of(example())
    adata.obs["kind"] = pd.Categorical(["a", "b"] * 15)
    adata.write_h5ad(tmp_path / "x.h5ad")
    kept = read_counts(str(tmp_path / "x.h5ad")).obs["kind"]
    pd.testing.assert_series_equal(kept, anndata.read_h5ad(tmp_path / "x.h5ad").obs["kind"])

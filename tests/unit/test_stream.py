"""Data of any size: the same numbers whatever the size of a block, from a file or in memory."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
from conftest import SETTINGS, prepared
from scipy import sparse

from countae.config import Source
from countae.counts import CountMatrix, _selection, readers
from countae.counts._gene_names import mitochondrial
from countae.counts._selection import BatchSums, batch_codes, seurat_v3
from countae.counts._sums import GeneSums, sums
from countae.counts.readers import open_counts
from countae.errors import ConfigError, CountMatrixError
from countae.prepare import plan, simulated
from countae.simulate import _stream, get


def write(tmp_path, counts, **obs):
    """An .h5ad with those counts and columns."""
    cells, genes = counts.shape
    table = pd.DataFrame(obs, index=[f"cell{i}" for i in range(cells)])
    var = pd.DataFrame(index=[f"gene{j}" for j in range(genes)])
    path = tmp_path / "raw.h5ad"
    anndata.AnnData(sparse.csr_matrix(counts), obs=table, var=var).write_h5ad(path)
    return str(path)


@pytest.fixture
def batched(tmp_path):
    """Counts of 420 cells × 150 genes in three batches, some cells and genes to be removed."""
    rng = np.random.default_rng(2)
    batch = rng.choice(["a", "b", "c"], 420, p=[0.5, 0.3, 0.2])
    mean = (
        rng.gamma(0.5, 3.0, 150)
        * (1 + 2 * rng.random((3, 150)))[np.unique(batch).searchsorted(batch)]
    )
    counts = rng.poisson(rng.gamma(1.5, mean / 1.5))
    counts[::40] = 0
    return write(tmp_path, counts, batch=batch, donor=rng.choice(["x", "y"], 420))


def planned(path, *, method="seurat_v3", **row):
    return plan(
        Source(path, **({"genes": "60"} | row)),
        simulate=SETTINGS["simulate"],
        quality=SETTINGS["quality"],
        genes={"gene_selection": method},
        held_out=SETTINGS["split"],
    )


@pytest.mark.parametrize("method", ["seurat_v3", "pearson_residuals"])
@pytest.mark.parametrize("block", [1, 7, 419])
def test_the_size_of_a_block_changes_nothing(batched, monkeypatch, method, block):
    """Oracle: all cells in one block."""
    given = {"method": method, "batch_key": "batch", "donor_key": "donor"}
    expected = planned(batched, **given)
    whole = expected.in_memory()
    every = readers.Reader.blocks
    monkeypatch.setattr(readers.Reader, "blocks", lambda self, cells=block: every(self, cells))
    found = planned(batched, **given)
    assert found.triage == expected.triage
    other = found.in_memory()
    pd.testing.assert_frame_equal(other.obs, whole.obs, check_exact=True)
    pd.testing.assert_frame_equal(other.adata.var, whole.adata.var, check_exact=True)
    assert (other.counts != whole.counts).nnz == 0


@pytest.mark.parametrize("source", ["file", "simulate:zinb"])
def test_what_is_written_in_blocks_is_what_would_be_in_memory(batched, tmp_path, source):
    path = batched if source == "file" else source
    found = planned(path)
    found.write(tmp_path / "counts.h5ad")
    matrix, back = found.in_memory(), CountMatrix.load(tmp_path / "counts.h5ad")
    np.testing.assert_array_equal(back.counts.toarray(), matrix.counts.toarray())
    assert back.counts.dtype == np.min_scalar_type(matrix.counts.data.max())
    np.testing.assert_array_equal(back.part, matrix.part)
    np.testing.assert_array_equal(back.gene_share, matrix.gene_share)
    np.testing.assert_array_equal(back.size_factor, matrix.size_factor)
    assert set(back.adata.layers) == set(matrix.adata.layers)
    for name, layer in matrix.adata.layers.items():
        other = back.adata.layers[name]
        assert sparse.issparse(other) == sparse.issparse(layer) == (name == "extra_zero")
        assert ((other != layer).nnz if sparse.issparse(layer) else (other != layer).sum()) == 0


def test_a_source_that_changes_between_passes_is_told_and_nothing_is_left(batched, tmp_path):
    found = planned(batched)
    adata = anndata.read_h5ad(batched)
    adata.X = sparse.csr_matrix(adata.X.toarray() + 1)
    adata.write_h5ad(batched)
    with pytest.raises(CountMatrixError, match="changed while they were read"):
        found.write(tmp_path / "counts.h5ad")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw.h5ad"]


def chosen(counts, names, number):
    """Genes of our own choice, and what scanpy chooses of float64 counts."""
    import scanpy

    code = batch_codes(names, counts.shape[0])
    pieces = [slice(start, start + 37) for start in range(0, counts.shape[0], 37)]
    of_batches = BatchSums.none(code, counts.shape[1])
    for piece in pieces:
        of_batches.add(counts[piece], code[piece])
    genes = np.flatnonzero(counts.getnnz(axis=0) >= 3)
    found = seurat_v3(
        lambda: ((counts[piece], code[piece]) for piece in pieces), of_batches, genes, number
    )
    adata = anndata.AnnData(counts[:, genes].astype(np.float64))
    if names is not None:
        adata.obs["batch"] = pd.Categorical(names)
    for span in (0.3, 0.5, 1.0):  # as in the first release
        try:
            scanpy.pp.highly_variable_genes(
                adata, flavor="seurat_v3", n_top_genes=number, span=span,
                batch_key=None if names is None else "batch",
            )  # fmt: skip
            break
        except ValueError:
            continue
    return found, adata.var["highly_variable"].to_numpy()


@pytest.mark.parametrize("batches", [1, 2, 3, 6])
@pytest.mark.parametrize("number", [10, 150, 299])
def test_variable_genes_are_scanpys(batches, number):
    """Oracle: scanpy.pp.highly_variable_genes of the whole matrix, one batch or several."""
    rng = np.random.default_rng(batches)
    mean = rng.gamma(0.6, 2.0, 400)
    batch = rng.integers(batches, size=600)
    shift = np.exp(rng.normal(0, 0.5, (batches, 400)))[batch]
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(0.8, mean / 0.8, (600, 400)) * shift))
    found, expected = chosen(counts, batch if batches > 1 else None, number)
    np.testing.assert_array_equal(found, expected)
    assert found.sum() == number


def test_variable_genes_of_real_counts_are_scanpys(real_data):
    """Oracle: scanpy on float64; batches that are shifts of cell types too."""
    for name, key in (
        ("worm_embryo_10x", "batch"), ("worm_embryo_10x", ""), ("scmark_tcells_umi", "cell_type"),
        ("celltypist_sample_10x", ""), ("neural_c1_smarter_reads", ""),
        ("lung_lines_celseq2", "cell_line"),
    ):  # fmt: skip
        adata = anndata.read_h5ad(real_data / f"{name}.h5ad")
        names = adata.obs[key].to_numpy(str) if key else None
        found, expected = chosen(sparse.csr_matrix(adata.X), names, 1_000)
        np.testing.assert_array_equal(found, expected, err_msg=name)


def test_sums_of_real_counts_are_scanpys_quality_control(real_data):
    """Oracle: scanpy.pp.calculate_qc_metrics; these T cells have 12 mitochondrial genes."""
    path = str(real_data / "scmark_tcells_umi.h5ad")
    reader = open_counts(path)
    of_mitochondria = mitochondrial(reader.var)
    of_cells, of_genes = sums(reader.blocks(), of_mitochondria)
    adata = anndata.read_h5ad(path)
    adata.var["mt"] = of_mitochondria
    scanpy.pp.calculate_qc_metrics(
        adata, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True
    )
    assert of_mitochondria.sum() == 12
    np.testing.assert_array_equal(of_cells.total, adata.obs["total_counts"])
    np.testing.assert_array_equal(of_cells.expressed, adata.obs["n_genes_by_counts"])
    np.testing.assert_array_equal(of_cells.mitochondrial, adata.obs["total_counts_mt"])
    np.testing.assert_array_equal(of_genes.total, adata.var["total_counts"])
    np.testing.assert_array_equal(of_genes.seen, adata.var["n_cells_by_counts"])


@pytest.mark.parametrize(("smallest", "apart"), [(19, False), (20, True)])
def test_a_small_batch_joins_all_batches(smallest, apart):
    """Below 20 training cells a batch has no trend of its own."""
    names = np.repeat(["a", "b"], [30, smallest])
    np.testing.assert_array_equal(batch_codes(names, len(names)), apart * (names == "b"))


def test_too_many_counts_for_residuals_are_told(batched, monkeypatch):
    monkeypatch.setattr(_selection, "MOST_IN_MEMORY", 1_000)
    with pytest.raises(CountMatrixError, match=r"at most 1,000 of them .* to seurat_v3"):
        planned(batched, method="pearson_residuals")


def test_sums_are_those_of_the_whole_matrix(rng):
    """Oracle: NumPy over a dense matrix with counts whose squares no int32 holds."""
    counts = rng.poisson(0.7, (90, 12)) * np.where(rng.random((90, 12)) < 0.1, 70_000, 1)
    of_mitochondria = np.arange(12) < 2
    matrix = sparse.csr_matrix(counts.astype(np.int32))
    blocks = (matrix[start : start + 13] for start in range(0, 90, 13))
    of_cells, of_genes = sums(blocks, of_mitochondria)
    np.testing.assert_array_equal(of_cells.total, counts.sum(axis=1))
    np.testing.assert_array_equal(of_cells.expressed, (counts > 0).sum(axis=1))
    np.testing.assert_array_equal(of_cells.mitochondrial, counts[:, :2].sum(axis=1))
    half = [GeneSums.of([matrix[rows]], 12) for rows in (slice(0, 40), slice(40, 90))]
    for found in (of_genes, half[0] + half[1]):
        assert found.cells == 90
        np.testing.assert_array_equal(found.total, counts.sum(axis=0))
        np.testing.assert_array_equal(found.square, (counts.astype(float) ** 2).sum(axis=0))
        np.testing.assert_array_equal(found.seen, (counts > 0).sum(axis=0))
        np.testing.assert_array_equal(found.ones, (counts == 1).sum(axis=0))
        np.testing.assert_array_equal(found.largest, counts.max(axis=0))
        assert found.stored == (counts > 0).sum()
        assert found.most == counts.max()


SIZE = SETTINGS["simulate"] | {"n_genes": 60, "n_types": 3, "depth": 300.0, "n_batches": 2}


def streamed(path, *, family="zinb", threads=1, **size):
    _stream.write(get(family), SIZE | size, path, threads=threads)
    return anndata.read_h5ad(path)


def test_streamed_counts_do_not_depend_on_threads_or_on_how_many_follow(tmp_path):
    """Oracle: the first cells of a longer file."""
    longer = streamed(tmp_path / "a.h5ad", n_cells=700, threads=2)
    for cells, threads in ((700, 1), (600, 3), (100, 1)):
        other = streamed(tmp_path / "b.h5ad", n_cells=cells, threads=threads)
        assert (other.X != longer.X[:cells]).nnz == 0
        pd.testing.assert_frame_equal(
            other.obs.astype(str), longer.obs[:cells].astype(str), check_exact=True
        )
        pd.testing.assert_frame_equal(other.var, longer.var, check_exact=True)
    assert (streamed(tmp_path / "b.h5ad", n_cells=700, simulation_seed=1).X != longer.X).nnz > 0


@pytest.mark.parametrize("family", ["poisson", "nb", "zinb", "poisson_lognormal", "heavy_tailed"])
def test_streamed_counts_have_the_depth_that_was_asked_for(tmp_path, family):
    """Oracle: totals within four standard errors of their truth, which is around the depth."""
    adata = streamed(tmp_path / "a.h5ad", family=family, n_cells=2_000)
    total, expected = adata.X.sum(axis=1).A1, adata.obs["true_library_size"].to_numpy()
    ratio = total / expected
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(2_000)
    assert expected.mean() == pytest.approx(300, rel=0.15)  # one population of 60 genes
    assert set(adata.obs["cell_type"]) == {"type 1", "type 2", "type 3"}
    assert set(adata.obs["batch"]) == {"batch 1", "batch 2"}


def test_no_two_blocks_of_streamed_counts_are_alike():
    """Each has random numbers of its own."""
    population = _stream.Population.drawn(get("nb"), SIZE | {"simulation_seed": 1})
    first, second = (population.block(number, _stream.BLOCK)[0] for number in (0, 1))
    assert (first != second).sum() > 0.1 * first.nnz


def test_a_streamed_file_is_prepared_like_any_other(tmp_path):
    streamed(tmp_path / "a.h5ad", n_cells=500)
    matrix = planned(str(tmp_path / "a.h5ad"), genes="30", label_key="cell_type").in_memory()
    assert matrix.counts.shape == (500, 30)
    assert "truth" not in matrix.adata.uns


def test_what_cannot_be_streamed_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"gaussian: .* draws all cells together. Fix: ask for"):
        streamed(tmp_path / "a.h5ad", family="gaussian")
    assert not [*tmp_path.iterdir()]
    with pytest.raises(ConfigError, match="are simulated in memory. Fix: write them to a file"):
        simulated("nb", SIZE | {"n_cells": 10**6, "n_genes": 20_000})


def test_prepare_in_memory_is_the_plan(small_nb):
    again = prepared("simulate:nb")[0]
    assert (again.counts != small_nb.counts).nnz == 0

"""Reading and checking: every kind of bad input is told with its place, cause and mend."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from conftest import SETTINGS, prepared
from scipy import sparse

from countae.config import Source
from countae.counts import CountMatrix, read_counts
from countae.counts._quality import cells_to_keep, describe
from countae.counts._sums import CellSums, GeneSums
from countae.counts.readers import open_counts
from countae.errors import ConfigError, CountMatrixError
from countae.prepare import absent_donors, prepare
from countae.triage._run import examine


@pytest.fixture
def adata(rng):
    """60 cells × 12 genes of Poisson counts, every cell and gene expressed."""
    counts = rng.poisson(3.0, size=(60, 12)) + np.eye(60, 12, dtype=int)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(["a", "b"] * 30),
            "batch": ["x"] * 40 + ["y"] * 20,
            "n_counts": counts.sum(axis=1) + 5.0,
        },
        index=[f"cell{i}" for i in range(60)],
    )
    var = pd.DataFrame(index=[f"gene{j}" for j in range(12)])
    return anndata.AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs=obs, var=var)


def written(adata, tmp_path) -> str:
    path = tmp_path / "counts.h5ad"
    adata.write_h5ad(path)
    return str(path)


def test_counts_in_any_storage_are_read_alike(adata, tmp_path):
    expected = adata.X.toarray()
    for matrix in (adata.X.toarray(), adata.X.tocsc(), adata.X.astype(np.int64), adata.X):
        adata.X = matrix
        found = read_counts(written(adata, tmp_path))
        assert found.counts.dtype == np.int32
        np.testing.assert_array_equal(found.counts.toarray(), expected)
    np.testing.assert_array_equal(found.library_size, expected.sum(axis=1))


def test_floats_within_a_millionth_of_integers_are_counts_and_it_is_said(adata, tmp_path):
    adata.X = adata.X.astype(np.float64) * (1 + 1e-8)
    found = read_counts(written(adata, tmp_path))
    assert found.info["rounded"] is True
    assert found.counts.data.dtype == np.int32


def spoil(adata, value):
    matrix = adata.X.astype(np.float64).tolil()
    matrix[41, 7] = value
    adata.X = matrix.tocsr()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1.0, "scaled or batch-corrected"),
        (-1e-9, "scaled or batch-corrected"),
        (np.nan, "division by zero"),
        (np.inf, "division by zero"),
        (0.5, "damaged or hand-edited"),
        (3e9, "no molecule or read counts"),
    ],
)
def test_one_bad_value_anywhere_is_found_and_named(adata, tmp_path, value, words):
    spoil(adata, value)
    with pytest.raises(CountMatrixError, match=words) as error:
        read_counts(written(adata, tmp_path))
    for part in ("counts.h5ad: X", "raw counts", "1 of", "'cell41'", "'gene7'", "Fix:"):
        assert part in str(error.value)


def test_a_normalised_matrix_is_recognised(adata, tmp_path):
    counts = adata.X.copy()
    adata.X = counts.log1p()
    with pytest.raises(CountMatrixError, match="log-normalised"):
        read_counts(written(adata, tmp_path))
    adata.X = counts.multiply(1e4 / counts.sum(axis=1)).tocsr()
    with pytest.raises(CountMatrixError, match="size-normalised values, or estimated"):
        read_counts(written(adata, tmp_path))


def test_the_layer_that_holds_counts_is_proposed(adata, tmp_path):
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.log1p()
    path = written(adata, tmp_path)
    with pytest.raises(CountMatrixError, match="set `layer` to 'counts', which holds raw counts"):
        read_counts(path)
    assert read_counts(path, layer="counts").counts.nnz == adata.layers["counts"].nnz
    with pytest.raises(CountMatrixError, match=r"no layer 'conts'. Did you mean 'counts'\?"):
        read_counts(path, layer="conts")


def test_counts_in_raw_are_read(adata, tmp_path):
    adata.raw = adata.copy()
    adata.X = adata.X.log1p()
    path = written(adata, tmp_path)
    assert read_counts(path, layer="raw.X").counts.sum() == adata.raw.X.sum()
    with pytest.raises(CountMatrixError, match="set `layer` to 'raw.X'"):
        read_counts(path)


@pytest.mark.parametrize("axis", ["obs_names", "var_names"])
def test_duplicate_names_are_told(adata, tmp_path, axis):
    names = getattr(adata, axis).tolist()
    names[3] = names[5]
    setattr(adata, axis, names)
    path = written(adata, tmp_path)
    with pytest.raises(CountMatrixError, match=f"must be unique.*{names[5]}.*{axis}_make"):
        read_counts(path)


@pytest.mark.parametrize("shape", [(0, 12), (60, 0)])
def test_an_empty_matrix_is_told(adata, tmp_path, shape):
    empty = adata[: shape[0], : shape[1]].copy()
    with pytest.raises(CountMatrixError, match="at least one cell and one gene"):
        read_counts(written(empty, tmp_path))


@pytest.mark.parametrize("setting", ["label_key", "batch_key", "library_size_key"])
def test_a_wrong_key_is_answered_with_the_nearest(adata, tmp_path, setting):
    wrong = {"label_key": "cel_type", "batch_key": "btch", "library_size_key": "n_count"}[setting]
    right = {"label_key": "cell_type", "batch_key": "batch", "library_size_key": "n_counts"}
    with pytest.raises(CountMatrixError, match=f"{setting}.*Did you mean '{right[setting]}'"):
        read_counts(written(adata, tmp_path), **{setting: wrong})


def test_a_label_with_missing_values_is_told(adata, tmp_path):
    adata.obs["cell_type"] = adata.obs["cell_type"].where(np.arange(60) != 17)
    with pytest.raises(CountMatrixError, match="1 of 60 are missing; first: cell 'cell17'"):
        read_counts(written(adata, tmp_path), label_key="cell_type")


def test_a_library_size_below_the_counts_is_told(adata, tmp_path):
    adata.obs["n_counts"] = adata.obs["n_counts"] / 1e4
    with pytest.raises(CountMatrixError, match="size factor or a logarithm"):
        read_counts(written(adata, tmp_path), library_size_key="n_counts")


def test_files_that_are_none_are_told(tmp_path):
    with pytest.raises(ConfigError, match="nothing there"):
        read_counts(str(tmp_path / "absent.h5ad"))
    (tmp_path / "counts.rds").write_text("a,b")
    with pytest.raises(CountMatrixError, match=r"known format, found '.rds'. Known: AnnData's"):
        read_counts(str(tmp_path / "counts.rds"))
    (tmp_path / "broken.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n cut")
    with pytest.raises(CountMatrixError, match="not readable as .h5ad"):
        read_counts(str(tmp_path / "broken.h5ad"))
    with pytest.raises(ConfigError, match=r"Did you mean 'pbmc68k_reduced'\?"):
        read_counts("builtin:pbmc68_reduced")


def test_a_simulator_that_does_not_exist_is_told():
    with pytest.raises(ConfigError, match=r"no simulator called 'znb'. Did you mean"):
        prepared("simulate:znb")


def test_a_column_of_the_users_is_kept_beside_ours(adata, tmp_path):
    adata.obs["split"] = "mine"
    found = read_counts(written(adata, tmp_path), label_key="split")
    assert set(found.obs["split_input"]) == {"mine"}
    assert found.labels[0] == "mine"


def test_the_built_in_counts_are_exact():
    """Normalised again, they give back scanpy's own log1p values, which have three decimals."""
    import scanpy

    found = read_counts("builtin:pbmc68k_reduced", library_size_key="n_counts")
    assert found.counts.shape == (700, 765)
    reduced = scanpy.datasets.pbmc68k_reduced()
    back = found.counts.multiply(1e4 / found.library_size[:, None]).tocsr().log1p()
    np.testing.assert_allclose(back.toarray(), reduced.raw.X.toarray(), atol=6e-4)


def run_prepare(path, quality=None, split=None, **row):
    return prepare(
        Source(path, **({"genes": "all"} | row)),
        simulate=SETTINGS["simulate"],
        quality=SETTINGS["quality"] | (quality or {}),
        genes=SETTINGS["genes"],
        held_out=SETTINGS["split"] | (split or {}),
    )


@pytest.mark.parametrize(("rare", "absent"), [("train", 1), ("test", 0)])
def test_donors_without_test_cells_are_named(adata, tmp_path, rare, absent):
    """A donor of one cell: by hand, in the part where the split puts it."""
    part = run_prepare(written(adata, tmp_path))[0].part
    donor = np.full(adata.n_obs, "often", dtype=object)
    donor[np.flatnonzero(part == rare)[0]] = "seldom"
    adata.obs["donor"], adata.obs["split"] = donor.astype(str), part
    matrix = CountMatrix(adata, "donors")
    matrix.info["donor_key"] = "donor"
    notes = absent_donors(matrix)
    assert len(notes) == absent
    assert all("1 of 2 donors" in note and "first: seldom" in note for note in notes)
    assert all("errors are by cell" in note for note in notes)


def test_the_filter_removes_and_reports(adata, tmp_path):
    counts = adata.X.tolil()
    counts[3] = 0
    counts[:, 5] = 0
    adata.X = counts.tocsr()
    matrix, triage = run_prepare(written(adata, tmp_path))
    assert matrix.counts.shape == (59, 11)
    assert triage["removed_cells"]["min_counts_per_cell"] == 1
    assert triage["removed_genes"]["min_cells_per_gene"] == 1
    assert "cell3" not in matrix.cell_id
    assert "gene5" not in matrix.gene_id
    assert triage["raw"]["cells"] == 60


def test_without_a_filter_empty_cells_and_genes_are_errors(adata, tmp_path):
    counts = adata.X.tolil()
    counts[3] = 0
    adata.X = counts.tocsr()
    off = {"min_counts_per_cell": 0, "min_genes_per_cell": 0, "min_cells_per_gene": 0}
    with pytest.raises(CountMatrixError, match="1 cells have no counts at all; first: 'cell3'"):
        run_prepare(written(adata, tmp_path), off)
    counts = adata.X.tolil()
    counts[3] = 1
    counts[:, 5] = 0
    adata.X = counts.tocsr()
    with pytest.raises(CountMatrixError, match="1 genes have no count in any training cell"):
        run_prepare(written(adata, tmp_path), off)


def test_a_filter_that_removes_everything_is_told(adata, tmp_path):
    with pytest.raises(CountMatrixError, match="removes all 60 cells.*median cell has"):
        run_prepare(written(adata, tmp_path), {"min_counts_per_cell": 10**6})
    with pytest.raises(CountMatrixError, match="no gene is seen in at least 1000"):
        run_prepare(written(adata, tmp_path), {"min_cells_per_gene": 1000})


def test_mitochondrial_cells_are_removed(adata, tmp_path):
    adata.var_names = ["mt-nd1", *adata.var_names[1:]]
    counts = adata.X.tolil()
    counts[7, 0] = 500
    adata.X = counts.tocsr()
    matrix, triage = run_prepare(written(adata, tmp_path), {"max_mitochondrial_fraction": 0.5})
    assert triage["removed_cells"]["max_mitochondrial_fraction"] == 1
    assert "cell7" not in matrix.cell_id


def test_mitochondrial_genes_are_the_same_for_the_filter_and_for_the_triage(adata, tmp_path):
    """Named in a column of symbols where the names of the genes are identifiers."""
    adata.var["gene_symbols"] = ["mt-nd1", *adata.var_names[1:]]
    adata.var_names = [f"ENSG{j:011d}" for j in range(adata.n_vars)]
    counts = adata.X.tolil()
    counts[7, 0] = 500
    adata.X = counts.tocsr()
    path = written(adata, tmp_path)
    matrix, triage = run_prepare(path, {"max_mitochondrial_fraction": 0.5})
    assert triage["removed_cells"]["max_mitochondrial_fraction"] == 1
    assert "cell7" not in matrix.cell_id
    (found,) = [each for name, each in examine(open_counts(path)).findings
                if name == "mitochondrial"]  # fmt: skip
    assert found.genes.first == (adata.var_names[0],)
    assert "cell7" in found.cells.first


def test_too_few_cells_for_the_split_are_told(adata, tmp_path):
    with pytest.raises(CountMatrixError, match="at least 5 cells .* 20 cells"):
        run_prepare(written(adata[:20].copy(), tmp_path))


def test_a_gene_list_is_taken_and_checked(adata, tmp_path):
    path = written(adata, tmp_path)
    (tmp_path / "genes.txt").write_text("gene1\n\ngene4\n")
    matrix, _ = run_prepare(path, genes=str(tmp_path / "genes.txt"))
    assert matrix.gene_id.tolist() == ["gene1", "gene4"]
    (tmp_path / "genes.txt").write_text("gene1\ngen4\n")
    with pytest.raises(ConfigError, match=r"1 of 2 genes are not in .*Did you mean 'gene4'\?"):
        run_prepare(path, genes=str(tmp_path / "genes.txt"))
    (tmp_path / "genes.txt").write_text("\n")
    with pytest.raises(ConfigError, match="write one gene name a line"):
        run_prepare(path, genes=str(tmp_path / "genes.txt"))


@pytest.mark.parametrize("method", ["seurat_v3", "pearson_residuals"])
def test_highly_variable_genes_see_training_cells_only(method):
    """Changing the counts of validation and test cells does not change the choice."""
    import scanpy

    matrix, triage = prepared("simulate:nb", cells=300, genes=120)
    train = matrix.part == "train"
    select = {
        "seurat_v3": scanpy.pp.highly_variable_genes,
        "pearson_residuals": scanpy.experimental.pp.highly_variable_genes,
    }[method]
    alone = anndata.AnnData(matrix.counts[train].astype(np.float32))
    select(alone, flavor=method, n_top_genes=50)

    settings = {"n_cells": 300, "n_genes": 120, "n_types": 3, "depth": 480.0}
    chosen, triage = prepare(
        Source("simulate:nb", genes="50"),
        simulate=SETTINGS["simulate"] | settings,
        quality=SETTINGS["quality"],
        genes={"gene_selection": method},
        held_out=SETTINGS["split"],
    )
    expected = matrix.gene_id[alone.var["highly_variable"].to_numpy()]
    assert set(chosen.gene_id) == set(expected)
    assert triage["removed_genes"]["not_highly_variable"] == len(matrix.gene_id) - 50


def test_preparing_twice_gives_the_same_and_survives_the_file(tmp_path):
    first, second = prepared("simulate:nb")[0], prepared("simulate:nb")[0]
    first.save(tmp_path / "counts.h5ad")
    back = CountMatrix.load(tmp_path / "counts.h5ad")
    for other in (second, back):
        np.testing.assert_array_equal(first.counts.toarray(), other.counts.toarray())
        np.testing.assert_array_equal(first.part, other.part)
        cells = np.arange(len(first.obs))
        np.testing.assert_array_equal(first.fold_of(cells), other.fold_of(cells))
        np.testing.assert_allclose(first.size_factor, other.size_factor)
    assert back.n_folds == 5


def test_a_file_that_was_not_prepared_is_told(adata, tmp_path):
    with pytest.raises(CountMatrixError, match="made by `countae prepare`"):
        CountMatrix.load(written(adata, tmp_path))


def test_protocols_are_inferred_from_the_counts(real_data):
    for name, protocol in [
        ("celltypist_sample_10x", "umi"),
        ("lung_lines_celseq2", "umi"),
        ("lung_lines_dropseq", "umi"),
        ("worm_embryo_10x", "umi"),
        ("scmark_tcells_umi", "umi"),
        ("neural_c1_smarter_reads", "reads"),
        ("th2_c1_smarter_reads", "reads"),
    ]:
        raw = read_counts(str(real_data / f"{name}.h5ad"))
        sums = GeneSums.of([raw.counts], raw.counts.shape[1])
        assert describe(sums, raw.library_size, "auto")["protocol"] == protocol, name


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.int8, bool])
def test_small_number_types_are_read(adata, tmp_path, dtype):
    adata.X = (adata.X.toarray() > 2).astype(dtype)
    assert set(np.unique(read_counts(written(adata, tmp_path)).counts.data)) == {1}


def test_truth_is_believed_only_of_our_own_simulators(adata, tmp_path):
    adata.uns["truth"] = "a user's own note"
    adata.layers["true_mean"] = adata.X.copy()
    assert "truth" not in read_counts(written(adata, tmp_path)).adata.uns
    adata.uns["truth"] = {"likelihood": "nb", "layers": ["true_mean", "extra_zero"]}
    assert "truth" not in read_counts(written(adata, tmp_path)).adata.uns


def test_an_output_of_ours_can_be_read_again(adata, tmp_path):
    adata.obs["library_size"] = 1.0
    adata.obs["library_size_input"] = 2.0
    found = read_counts(written(adata, tmp_path))
    assert found.obs.columns.is_unique
    assert (found.obs["library_size_input"] == 1.0).all()


@pytest.mark.parametrize(("field", "value"), [("genes", "0"), ("protocol", "umii")])
def test_a_row_given_as_options_is_checked_like_the_table(adata, tmp_path, field, value):
    with pytest.raises(ConfigError, match=f"data set: {field}: '{value}'"):
        run_prepare(written(adata, tmp_path), **{field: value})


def test_a_tiny_batch_does_not_crash_the_choice_of_genes(rng, tmp_path):
    """The loess of seurat_v3 ends the process on a batch of one or two cells."""
    counts = sparse.csr_matrix(rng.poisson(1.0, size=(200, 150)))
    obs = pd.DataFrame({"b": ["x"] * 199 + ["y"]}, index=[f"c{i}" for i in range(200)])
    var = pd.DataFrame(index=[f"g{j}" for j in range(150)])
    path = written(anndata.AnnData(counts, obs=obs, var=var), tmp_path)
    assert run_prepare(path, genes="50", batch_key="b")[0].counts.shape[1] == 50


def test_thresholds_are_the_last_values_that_pass():
    """By hand: totals, genes and mitochondrial shares at, below and above each threshold."""
    sums = CellSums(np.array([10, 9, 10, 10]), np.array([4, 4, 3, 4]), np.array([2, 0, 0, 3]))
    keep, removed = cells_to_keep(
        sums, source="made", cell_id=np.array(list("abcd")), min_counts_per_cell=10,
        min_genes_per_cell=4, max_mitochondrial_fraction=0.2,
    )  # fmt: skip
    assert keep.tolist() == [True, False, False, False]
    assert removed == dict.fromkeys(removed, 1)


def test_a_gene_is_overdispersed_a_tenth_above_poisson():
    """By hand: variances 1.05 and 1.15 of means of 1, in 40 cells."""
    variance, cells = np.array([1.05, 1.15]), 40
    sums = GeneSums.none(2)
    sums.cells, sums.total, sums.square = cells, np.full(2, 40.0), cells * (variance + 1)
    sums.seen = np.full(2, 20.0)
    assert describe(sums, np.ones(cells), "auto")["overdispersed_gene_share"] == 0.5

"""Each finding on made-up data that has it, and on data that has not."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from countae.counts.readers._memory import MemoryReader
from countae.errors import CountMatrixError
from countae.metrics.dispersion_standard_error import dispersion_standard_error
from countae.triage import _sums
from countae.triage._base import LONGEST_LIST
from countae.triage._run import examine
from countae.triage.testable import dispersion_known

CELLS, GENES = 90, 60


def made(seed=0, *, depth=400, cells=CELLS, genes=GENES):
    """Negative binomial counts of cells of different depth, sparse, with names."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(genes, 0.5))
    size = depth * rng.lognormal(0, 0.4, cells)
    rate = rng.gamma(2.0, 0.5, (cells, genes)) * size[:, None] * share
    counts = rng.poisson(rate).astype(np.float32)
    counts[0], counts[0, :25] = 0, 1 + np.arange(25)
    return counts


def adata_of(values, obs=None, names=None, var=None, layers=None):
    n_cells, n_genes = values.shape
    made = anndata.AnnData(
        sparse.csr_matrix(values),
        obs=pd.DataFrame(obs or {}, index=[f"cell{i}" for i in range(n_cells)]),
        var=pd.DataFrame(var or {}, index=names or [f"gene{i}" for i in range(n_genes)]),
    )
    for name, layer in (layers or {}).items():
        made.layers[name] = sparse.csr_matrix(layer)
    return made


def triage_of(values, *, block=2048, layer="", **parts):
    return examine(MemoryReader(adata_of(values, **parts), "made", layer=layer), block=block)


def found(triage, name, severity=None):
    return [
        each for kind, each in triage.findings
        if kind == name and severity in (None, each.severity)
    ]  # fmt: skip


def one(triage, name, severity):
    (each,) = found(triage, name, severity)
    return each


def log_normalised(counts, target=1e4, base=None):
    scaled = counts / counts.sum(axis=1, keepdims=True) * target
    logs = np.log1p(scaled)
    return logs if base is None else logs / np.log(base)


def test_good_counts_have_no_error_and_no_warning():
    triage = triage_of(made())
    assert triage.usable
    assert triage.kind == "counts"
    assert [each.severity for _, each in triage.findings] == ["note"] * len(triage.findings)
    triage.require_counts()


@pytest.mark.parametrize(
    ("base", "transform"), [(None, "expm1(x)"), (2, "2**x - 1"), (10, "10**x - 1")]
)
def test_log_normalised_counts_are_known_with_target_and_way_back(base, transform):
    """Oracle: the counts from before, which the proposed formula gives back exactly."""
    counts = made()
    values = log_normalised(counts, base=base).astype(np.float32)
    triage = triage_of(values)
    each = one(triage, "kind", "error")
    assert triage.kind == "log-normalised"
    assert f"{transform} of the values are multiples of the smallest" in each.what
    assert "add up to 10,000 in every cell" in each.what
    assert f"round(y / min(y[y > 0])) with y = {transform}" in each.fix
    undo = {"expm1(x)": np.expm1, "2**x - 1": lambda x: 2**x - 1, "10**x - 1": lambda x: 10**x - 1}
    y = undo[transform](values.astype(np.float64))
    back = np.stack([np.rint(row / row[row > 0].min()) for row in y])
    some = (counts == 1).any(axis=1)  # cells whose smallest count is 1
    assert some.mean() > 0.9
    np.testing.assert_array_equal(back[some], counts[some])
    with pytest.raises(CountMatrixError, match="no counts. The matrix looks log-normalised"):
        triage.require_counts()


def test_genes_that_were_left_out_after_the_normalisation_are_known_by_the_sums():
    each = one(triage_of(log_normalised(made())[:, 10:]), "kind", "error")
    assert "their sums differ, so genes were left out afterwards" in each.what


def decimals(counts, rng):
    return counts + np.where((counts > 0) & (rng.random(counts.shape) < 0.4), 0.37, 0)


KINDS = {
    "scaled": lambda c, rng: (c - c.mean(axis=0)) / (c.std(axis=0) + 1),
    "not finite": lambda c, rng: np.where(rng.random(c.shape) < 0.01, np.nan, c),
    "too large": lambda c, rng: c.astype(np.float64) * 2**31,
    "damaged": lambda c, rng: c + np.where(np.arange(c.size).reshape(c.shape) == 77, 0.5, 0),
    "size-normalised": lambda c, rng: c / c.sum(axis=1, keepdims=True) * 1e6,
    "estimated": decimals,
    "fractions": lambda c, rng: c * rng.uniform(0.7, 0.95, c.shape),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_counts_is_known(kind):
    rng = np.random.default_rng(1)
    triage = triage_of(KINDS[kind](made(depth=3000), rng))
    assert triage.kind == kind
    assert not triage.usable
    assert len(triage.errors) == 1
    assert "stored values are no counts; first: " in triage.errors[0].what
    assert not found(triage, "protocol")


def test_an_empty_matrix_is_no_counts():
    for values in (np.zeros((3, 4)), np.zeros((0, 4)), np.zeros((3, 0))):
        assert "holds no count at all" in one(triage_of(values), "kind", "error").what


def test_counts_elsewhere_in_the_file_are_named():
    counts = made()
    triage = triage_of(log_normalised(counts), layers={"spliced": counts * 0.5, "raw": counts})
    assert one(triage, "kind", "error").fix == "set `layer` to 'raw', which holds raw counts"
    assert triage_of(log_normalised(counts), layers={"raw": counts}, layer="raw").usable


def test_rounded_size_normalised_values_are_known_by_totals_that_vary_too_little():
    counts = made(depth=3000)
    rounded = np.rint(counts / counts.sum(axis=1, keepdims=True) * 5000)
    assert "nearly the same total" in one(triage_of(rounded), "kind", "warning").what


def test_counts_drawn_down_to_one_depth_are_counts():
    counts, rng = made(depth=3000), np.random.default_rng(2)
    drawn = np.stack([rng.multinomial(500, row / row.sum()) for row in counts])
    each = one(triage_of(drawn), "kind", "warning")
    assert "exactly 500 counts" in each.what
    assert "normalisation" not in each.fix


@pytest.mark.parametrize("depth", [600, 1500])
def test_rounded_size_normalised_values_are_known_by_cells_without_a_one(depth):
    """By hand: a cell's single molecules become round(10,000 / total), which is above 1."""
    counts = made(depth=depth, genes=900)
    rounded = np.rint(counts / counts.sum(axis=1, keepdims=True) * 1e4)[:, 150:]
    each = one(triage_of(rounded), "kind", "warning")
    assert "no gene has a count of 1" in each.what
    assert "size-normalised and then rounded" in each.what
    assert not found(triage_of(counts), "kind", "warning")


def test_a_binary_matrix_is_known():
    assert "binarised" in one(triage_of(np.minimum(made(), 1)), "kind", "warning").what


def test_logarithms_of_counts_as_they_are_can_be_undone():
    """By hand: expm1 gives the counts, so that every cell has the unit 1."""
    each = one(triage_of(np.log1p(made()).astype(np.float32)), "kind", "error")
    assert "the logarithm of counts was taken, and nothing else done" in each.what
    assert "round(y / min(y[y > 0])) with y = expm1(x)" in each.fix


def test_decimals_are_no_units_of_cells():
    assert triage_of(made() / 10).kind != "size-normalised"


def test_counts_that_were_multiplied_are_known():
    assert "multiple of 3" in one(triage_of(3 * made()), "kind", "warning").what


def test_molecules_and_reads_are_told_apart():
    assert "UMI" in one(triage_of(made(depth=60)), "protocol", "note").what
    rng = np.random.default_rng(3)
    reads = np.rint(made() * rng.lognormal(3, 1, (CELLS, GENES)))
    assert "reads" in one(triage_of(reads), "protocol", "note").what
    paired = np.where(rng.random(reads.shape) < 0.9, 2 * reads, reads)
    assert "are even" in one(triage_of(paired), "protocol", "warning").what


def test_depth_is_told_and_all_droplets_are_known():
    counts = made()
    each = one(triage_of(counts), "depth", "note")
    total = counts.sum(axis=1)
    assert f"median {np.median(total):,.0f}, from {total.min():,.0f} to {total.max():,.0f}" in (
        each.what
    )
    droplets = np.concatenate([made(4, depth=20, cells=900), made(5, depth=4000)])
    assert "all droplets" in one(triage_of(droplets), "depth", "warning").what


def test_copies_of_cells_and_genes_are_named():
    counts = made(depth=2000)
    assert not found(triage_of(counts), "duplicates")
    counts[40], counts[70] = counts[7], counts[7]
    counts[:, 33] = counts[:, np.argmax((counts > 0).sum(axis=0))]
    cells, genes = found(triage_of(counts), "duplicates")
    assert cells.cells.first == ("cell40", "cell70")
    assert len(genes.genes.first) == 1
    swapped = counts.copy()
    swapped[40, [3, 4]] = swapped[40, [4, 3]] + [0, 1]
    assert found(triage_of(swapped), "duplicates")[0].cells.first == ("cell70",)


def test_cells_with_few_genes_may_be_alike_by_chance():
    counts = made()
    counts[5] = counts[6] = 0
    counts[5, 0] = counts[6, 0] = 1
    assert not found(triage_of(counts), "duplicates")


def test_empty_cells_and_genes_are_named():
    counts = made()
    counts[[3, 50]] = 0
    counts[:, 11] = 0
    triage = triage_of(counts)
    assert one(triage, "empty", "warning").cells.first == ("cell3", "cell50")
    silent = tuple(f"gene{i}" for i in np.flatnonzero(~counts.any(axis=0)))
    assert one(triage, "empty", "note").genes.first == silent
    assert "gene11" in silent


NAMES = [f"gene{i}" for i in range(GENES - 4)]


@pytest.mark.parametrize("prefix", ["MT-", "mt-"])
def test_mitochondrial_genes_and_their_share_are_told(prefix):
    counts, names = made(), [*NAMES, *(f"{prefix}X{i}" for i in range(4))]
    counts[8, -1] = counts[8].sum()
    each = one(triage_of(counts, names=names), "mitochondrial", "note")
    share = counts[:, -4:].sum(axis=1) / counts.sum(axis=1)
    assert each.genes.total == 4
    assert each.cells.first == tuple(f"cell{i}" for i in np.flatnonzero(share > 0.2))
    assert "cell8" in each.cells.first
    assert f"{100 * np.median(share):.3g} %" in each.what
    assert not found(triage_of(counts), "mitochondrial")


def test_mitochondrial_genes_are_looked_up_in_a_column_of_symbols():
    names = [f"ENSG{i:011d}" for i in range(GENES)]
    symbols = [*NAMES, "MT-CO1", "MT-ND1", "MTOR", "MT1X"]
    triage = triage_of(made(), names=names, var={"gene_symbols": symbols})
    each = one(triage, "mitochondrial", "note")
    assert each.genes.first == tuple(names[-4:-2])
    assert "'gene_symbols'" in each.what


def test_spike_ins_are_named_and_genes_called_ercc_are_not():
    names = [*NAMES, "ERCC-00002", "ERCC-00171", "ERCC1", "ERCC6L"]
    each = one(triage_of(made(), names=names), "spike_ins", "warning")
    assert each.genes.first == ("ERCC-00002", "ERCC-00171")
    assert not found(triage_of(made()), "spike_ins")


def test_columns_are_proposed_by_name_and_number_of_categories():
    obs = {
        "cell_type": pd.Categorical(["a", "b", "c"] * 30), "batch": ["x", "y"] * 45,
        "donor": np.arange(CELLS) % 5, "phase": ["G1", "S"] * 45,
        "score": np.linspace(0, 1, CELLS),
        "barcode": [f"b{i}" for i in range(CELLS)], "constant": ["same"] * CELLS,
    }  # fmt: skip
    told = " ".join(each.what + each.fix for each in found(triage_of(made(), obs=obs), "columns"))
    for part in ("'cell_type' (3)", "'batch' (2)", "'donor' (5)", "'phase' (2)", "`donor_key`"):
        assert part in told
    for name in ("score", "barcode", "constant"):
        assert name not in told
    assert not found(triage_of(made()), "columns")


def test_genes_that_can_be_told_something_of_are_counted():
    """Oracle: dispersion and mean of each gene computed here from dense counts."""
    counts = made(depth=3000, cells=300).astype(np.float64)
    sums = _sums.sums_of(MemoryReader(adata_of(counts), "made"), 2048)
    size = counts.sum(axis=1) / counts.sum(axis=1).mean()
    mean = counts.mean(axis=0)
    expected = size[:, None] * mean
    extra = ((counts - expected) ** 2 - expected).sum(axis=0)
    theta = mean**2 * (size**2).sum() / np.where(extra > 0, extra, np.nan)
    error = dispersion_standard_error(
        mean=expected, inverse_dispersion=np.where(extra > 0, theta, 1.0), n_fitted=len(counts)
    )
    clear = np.abs(np.log(error / 0.5)) > 0.05  # the mean is taken at quantiles of the sizes
    known = dispersion_known(sums)
    assert 0 < known.sum() < GENES
    np.testing.assert_array_equal(known[clear], ((error <= 0.5) & (extra > 0))[clear])
    each = one(triage_of(counts), "testable", "note")
    assert f"{known.sum():,} of {GENES} genes" in each.what
    enough = (mean >= 0.5) & ((counts > 0).sum(axis=0) >= 10)
    assert f"{enough.sum():,} have the mean" in each.what
    shallow = triage_of((made(depth=8) > 0).astype(np.float32))
    assert found(shallow, "testable", "warning")


def test_names_in_the_report_are_bounded_and_their_number_is_not():
    counts = made(cells=LONGEST_LIST + 50)
    counts[1:] = 0
    content = one(triage_of(counts), "empty", "warning").to_json("empty")
    assert content["cells"]["total"] == LONGEST_LIST + 49
    assert len(content["cells"]["names"]) == LONGEST_LIST


@pytest.mark.parametrize("block", [1, 7, 89, 90, 5000])
@pytest.mark.parametrize("what", ["counts", "logs", "copies"])
def test_blocks_of_any_size_give_the_same(block, what):
    counts = made()
    if what == "copies":
        counts[40], counts[:, 33] = counts[7], counts[:, 34]
    values = log_normalised(counts) if what == "logs" else counts
    assert triage_of(values, block=block).to_json() == triage_of(values).to_json()


class Given(MemoryReader):
    """A reader that gives one block as it is."""

    def __init__(self, block):
        super().__init__(adata_of(block.toarray()), "made")
        self.block = block

    def raw_blocks(self, cells=2048):
        yield self.block


def test_entries_that_stand_twice_and_stored_zeros_do_not_matter():
    counts = made().astype(np.float64)  # SciPy would add them while it changes the type
    cell, gene = np.indices(counts.shape)
    half = np.floor(counts / 2)
    indices = np.concatenate([gene, gene], axis=1).ravel()
    data = np.concatenate([half, counts - half], axis=1).ravel()
    indptr = np.arange(CELLS + 1) * 2 * GENES
    twice = sparse.csr_matrix((data, indices, indptr), shape=counts.shape)
    assert twice.nnz == 2 * cell.size
    assert examine(Given(twice)).to_json() == triage_of(counts).to_json()


def test_a_gene_that_is_another_one_some_cells_later_is_no_copy():
    """Shifted by just as many cells as a block has."""
    counts = made(depth=2000)
    counts[:, [20, 21]] = 0
    counts[:30, 20] = counts[30:60, 21] = 1 + np.arange(30)
    assert not found(triage_of(counts, block=30), "duplicates")

"""Products at chosen entries against dense ones, and lists of entries against dense masks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from countae.kernels import chosen_products as products
from countae.kernels import entry_lists as lists

GENES, CELLS = 23, 37


@pytest.fixture(params=[1, 31, 32, 130])
def width(request):
    return request.param


@pytest.fixture
def made(rng, width):
    """A mask (gene, cell) with an empty and a full gene, its list, and matrices of the width."""
    mask = rng.random((GENES, CELLS)) < 0.3
    mask[3], mask[-1] = False, True
    start, cell = listed(mask)
    weight, rows = (rng.standard_normal((n, width)).astype(np.float32) for n in (GENES, CELLS))
    return mask, start, cell, weight, rows


def listed(mask):
    """The same list by NumPy."""
    start = np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int64)
    return start, np.nonzero(mask)[1].astype(np.int32)


def values(rng, mask):
    """A number per entry of the list, and the same as a dense matrix."""
    value = rng.standard_normal(mask.sum()).astype(np.float32)
    dense = np.zeros(mask.shape)
    dense[mask] = value
    return value, dense


def test_values_at_entries(made, rng):
    """Oracle: the dense product in double precision."""
    mask, start, cell, weight, rows = made
    bias, out = rng.standard_normal(GENES).astype(np.float32), np.empty(len(cell), np.float32)
    products.at_entries(start, cell, rows, weight, bias, out)
    expected = (weight.astype(float) @ rows.T.astype(float) + bias[:, None])[mask]
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=2e-5)


def test_sums_over_cells_and_over_genes(made, rng):
    """Oracle: dense products; what was there before stays."""
    mask, start, cell, weight, rows = made
    value, dense = values(rng, mask)
    of_weight, of_rows, of_gene = np.ones_like(weight), np.ones_like(rows), np.ones(GENES, "f4")
    products.add_to_weights(start, cell, value, rows, of_weight)
    products.add_to_rows(start, cell, value, weight, of_rows)
    products.add_to_genes(start, value, of_gene)
    close = {"rtol": 1e-5, "atol": 2e-5}
    np.testing.assert_allclose(of_weight, 1 + dense @ rows, **close)
    np.testing.assert_allclose(of_rows, 1 + dense.T @ weight, **close)
    np.testing.assert_allclose(of_gene, 1 + dense.sum(axis=1), **close)
    assert products.total(value) == pytest.approx(value.astype(float).sum(), rel=1e-12)


def test_numbers_of_genes_and_of_cells_at_entries(made):
    mask, start, cell, *_ = made
    gene, of_gene, of_cell = np.nonzero(mask)[0], *np.empty((2, len(cell)), np.float32)
    products.spread(start, np.arange(GENES, dtype=np.float32), of_gene)
    products.of_cells(cell, np.arange(CELLS, dtype=np.float32), of_cell)
    np.testing.assert_array_equal(of_gene, gene)
    np.testing.assert_array_equal(of_cell, cell)


@pytest.fixture
def sparse(rng):
    """Counts of 60 cells, the rows that are wanted, in no order, and their dense counts."""
    counts = csr_matrix(rng.poisson(0.4, (60, GENES)).astype(np.int32))
    rows = rng.permutation(60)[:CELLS]
    return counts, rows, counts[rows].toarray().T


@pytest.mark.parametrize("genes", [slice(0, GENES), slice(5, 11)])
@pytest.mark.parametrize("cut", [CELLS, 9])
def test_lists(sparse, rng, genes, cut):
    """Oracle: NumPy on dense matrices; some genes, and a mask that is not contiguous."""
    counts, rows, dense = sparse
    mask = rng.random((GENES, CELLS + 5))[:, :CELLS] < 0.3
    hidden, dense, rows = mask[genes, :cut], dense[genes, :cut], rows[:cut]
    start, cell = listed(hidden)
    found, at = np.empty_like(start), np.empty(len(cell) + 1, np.int32)
    lists.hidden_entries(hidden, found, at)
    np.testing.assert_array_equal(found, start)
    np.testing.assert_array_equal(at[:-1], cell)

    expected_start, expected_cell = listed(dense > 0)
    seen_start, none = np.empty_like(start), np.empty(0, np.int32)
    given = (counts.indptr, counts.indices, counts.data, rows, genes.start, seen_start)
    n = lists.nonzero_entries(*given, none, np.empty(0, np.float32))
    seen_cell, seen = np.empty(n, np.int32), np.empty(n, np.float32)
    assert lists.nonzero_entries(*given, seen_cell, seen) == n == (dense > 0).sum()
    np.testing.assert_array_equal(seen_start, expected_start)
    np.testing.assert_array_equal(seen_cell, expected_cell)
    np.testing.assert_array_equal(seen, dense[dense > 0])

    wanted = np.full(len(cell), np.nan, np.float32)
    lists.hidden_counts(start, cell, seen_start, seen_cell, seen, hidden, wanted)
    np.testing.assert_array_equal(wanted, dense[hidden])
    full = np.empty(dense.shape, np.float32)
    lists.dense_counts(seen_start, seen_cell, seen, full)
    np.testing.assert_array_equal(full, dense)

    size = rng.lognormal(0, 1, cut).astype(np.float32)
    lists.log_counts(seen_cell, size, seen)
    lists.blind(seen_start, seen_cell, hidden, seen)
    expected = np.where(hidden, 0, np.log1p(dense / size))[dense > 0]
    np.testing.assert_allclose(seen, expected, rtol=1e-6)


def test_sums_of_what_is_hidden(sparse, rng):
    """Oracle: NumPy."""
    counts, rows, dense = sparse
    hidden, share = rng.random((GENES, CELLS)) < 0.3, rng.random(GENES)
    total = np.full((2, CELLS), np.nan)
    lists.hidden_total(counts.indptr, counts.indices, counts.data, rows, hidden, total[0])
    lists.hidden_share(hidden, share, total[1])
    np.testing.assert_array_equal(total[0], (dense * hidden).sum(axis=0))
    np.testing.assert_allclose(total[1], share @ hidden, rtol=1e-13)

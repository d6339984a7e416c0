"""The checksum of prepared counts: what changes it, and what does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from countae.counts import CountMatrix, _checksum
from countae.counts._checksum import checksum


def other(matrix, change):
    made = CountMatrix(matrix.adata.copy(), matrix.source)
    change(made)
    return made


def first_count(matrix):
    matrix.adata.X.data[0] += 1


def moved_count(matrix):
    matrix.adata.X = csr_matrix(np.roll(matrix.counts.toarray(), 1, axis=1))


def swapped_cells(matrix):
    matrix.obs["split"] = np.roll(matrix.obs["split"].to_numpy(), 1)


def other_size(matrix):
    matrix.obs["library_size"] = matrix.library_size * (1 + 1e-9)


def other_share(matrix):
    matrix.adata.var["countae_share"] = matrix.gene_share * 1.1


CHANGES = {
    "a count": first_count,
    "places": moved_count,
    "split": swapped_cells,
    "size": other_size,
    "gene": lambda m: setattr(m.adata, "var_names", [*m.gene_id[:-1], "another"]),
    "cell": lambda m: setattr(m.adata, "obs_names", [*m.cell_id[:-1], "another"]),
    "folds": lambda m: m.info.update(split_seed=99),
    "share": other_share,
    "protocol": lambda m: m.info.update(protocol="thinning"),
    "visible": lambda m: m.adata.layers.__setitem__("visible", m.counts),
    "batch": lambda m: m.info.update(batch_key="cell_type"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_whatever_a_fit_depends_on_changes_it(small_nb, change):
    assert checksum(other(small_nb, change)) != checksum(small_nb)


def test_how_counts_are_stored_does_not(small_nb):
    def stored(matrix):
        counts = matrix.counts
        counts.data = counts.data.astype(np.uint16)
        counts.indptr, counts.indices = (
            values.astype(np.int64) for values in (counts.indptr, counts.indices)
        )
        matrix.obs["note"] = 3

    assert checksum(other(small_nb, stored)) == checksum(small_nb)


def test_nor_does_the_size_of_blocks(small_nb, monkeypatch):
    expected = _checksum._of_numbers(small_nb.counts.data, np.int32)
    monkeypatch.setattr(_checksum, "AT_ONCE", 7)
    assert _checksum._of_numbers(small_nb.counts.data, np.int32) == expected


def test_columns_count_where_they_are_asked_for(small_nb):
    def renamed(matrix):
        matrix.obs["cell_type"] = np.roll(matrix.obs["cell_type"].to_numpy(str), 1)

    changed = other(small_nb, renamed)
    assert checksum(changed) == checksum(small_nb)
    assert checksum(changed, ["cell_type"]) != checksum(small_nb, ["cell_type"])

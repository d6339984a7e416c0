"""From sparse cells and a mask of hidden entries to lists of entries, gene by gene.

Counts are rows ``rows`` of a CSR matrix (``indptr``, ``indices``, ``data``). ``hidden`` is (gene,
cell), bool, of some genes from ``first`` on. See :mod:`countae.kernels.chosen_products` for lists.
"""

from __future__ import annotations

from countae.kernels import simd
from countae.kernels.compiled import compiled, elementwise, sums


@compiled
def hidden_entries(hidden, start, cell):  # type: ignore[no-untyped-def]
    """List of the hidden entries; ``cell`` has room for one entry more."""
    e = 0
    start[0] = 0
    for g in range(hidden.shape[0]):
        for i in range(hidden.shape[1]):
            cell[e] = i  # overwritten unless the next line moves on, which saves a branch
            e += hidden[g, i]
        start[g + 1] = e


@compiled
def nonzero_entries(indptr, indices, data, rows, first, start, cell, count):  # type: ignore[no-untyped-def]
    """List of the stored counts of genes ``first`` to ``first + len(start) − 1``; their number.

    With a ``cell`` without room they are counted only.
    """
    genes = len(start) - 1
    start[:] = 0
    for i in range(len(rows)):
        for j in range(indptr[rows[i]], indptr[rows[i] + 1]):
            g = indices[j] - first
            if 0 <= g < genes:
                start[g + 1] += 1
    for g in range(genes):
        start[g + 1] += start[g]
    if start[genes] > len(cell):
        return start[genes]
    for i in range(len(rows)):
        for j in range(indptr[rows[i]], indptr[rows[i] + 1]):
            g = indices[j] - first
            if 0 <= g < genes:
                e = start[g]
                cell[e], count[e] = i, data[j]
                start[g] = e + 1
    for g in range(genes, 0, -1):  # each now stands where the next one began
        start[g] = start[g - 1]
    start[0] = 0
    return start[genes]


@compiled
def hidden_counts(start, cell, nonzero_start, nonzero_cell, nonzero_count, hidden, count):  # type: ignore[no-untyped-def]
    """Counts of the hidden entries into ``count``."""
    for g in range(len(start) - 1):
        e = start[g]
        for k in range(e, start[g + 1]):
            count[k] = 0
        for j in range(nonzero_start[g], nonzero_start[g + 1]):
            i = nonzero_cell[j]
            if hidden[g, i]:
                while cell[e] < i:
                    e += 1
                count[e] = nonzero_count[j]


@compiled
def dense_counts(start, cell, nonzero_count, count):  # type: ignore[no-untyped-def]
    """The same for all entries, ``count`` (gene, cell)."""
    count[:] = 0
    for g in range(len(count)):
        for j in range(start[g], start[g + 1]):
            count[g, cell[j]] = nonzero_count[j]


@elementwise
def log_counts(cell, size, value):  # type: ignore[no-untyped-def]
    """``value`` from a raw count to log1p(count / size factor)."""
    for j in range(len(cell)):
        value[j] = simd.log1p(value[j] / size[cell[j]])


@compiled
def blind(start, cell, hidden, value):  # type: ignore[no-untyped-def]
    """Set ``value`` to 0 where an entry is hidden."""
    for g in range(len(start) - 1):
        for j in range(start[g], start[g + 1]):
            if hidden[g, cell[j]]:
                value[j] = 0


@compiled
def hidden_total(indptr, indices, data, rows, hidden, total):  # type: ignore[no-untyped-def]
    """Sum of each cell's hidden counts; ``hidden`` is of all genes."""
    for i in range(len(rows)):
        total[i] = 0
        for j in range(indptr[rows[i]], indptr[rows[i] + 1]):
            total[i] += data[j] * hidden[indices[j], i]


@sums
def hidden_share(hidden, gene_share, total):  # type: ignore[no-untyped-def]
    """Sum of each cell's hidden genes' shares of the library."""
    total[:] = 0
    for g in range(hidden.shape[0]):
        share = gene_share[g]
        for i in range(hidden.shape[1]):
            total[i] += share * hidden[g, i]


@compiled
def flat_entries(indptr, indices, data, rows, genes, place, count):  # type: ignore[no-untyped-def]
    """Row-major place and value of the stored counts of some rows; what is left is filled up.

    Filling has the place behind the last entry, and the count 0.
    """
    k = 0
    for i in range(len(rows)):
        for j in range(indptr[rows[i]], indptr[rows[i] + 1]):
            place[k] = i * genes + indices[j]
            count[k] = data[j]
            k += 1
    place[k:] = len(rows) * genes
    count[k:] = 0

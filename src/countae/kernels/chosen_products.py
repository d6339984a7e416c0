"""Products of two matrices at chosen entries of (gene, cell) only, and back.

Entries stand gene by gene: those of gene g are ``start[g] … start[g + 1]``, and ``cell`` names
their cells in rising order. ``weight`` is (gene, width) and ``rows`` is (cell, width), float32.
A loss on a fifth of the entries needs a fifth of the products.
"""

from __future__ import annotations

import numpy as np

from countae.kernels.compiled import elementwise, sums

ZERO = np.float32(0)


@sums
def at_entries(start, cell, rows, weight, bias, out):  # type: ignore[no-untyped-def]
    """``weight[g] · rows[i] + bias[g]`` of each entry into ``out``, (entry,)."""
    for g in range(len(weight)):
        w, b, e, end = weight[g], bias[g], start[g], start[g + 1]
        while e + 4 <= end:  # four cells at a time, so that w is read once for them
            r0, r1, r2, r3 = rows[cell[e]], rows[cell[e + 1]], rows[cell[e + 2]], rows[cell[e + 3]]
            s0, s1, s2, s3 = ZERO, ZERO, ZERO, ZERO
            for k in range(weight.shape[1]):
                s0 += w[k] * r0[k]
                s1 += w[k] * r1[k]
                s2 += w[k] * r2[k]
                s3 += w[k] * r3[k]
            out[e], out[e + 1], out[e + 2], out[e + 3] = s0 + b, s1 + b, s2 + b, s3 + b
            e += 4
        while e < end:
            r0, s0 = rows[cell[e]], ZERO
            for k in range(weight.shape[1]):
                s0 += w[k] * r0[k]
            out[e] = s0 + b
            e += 1


@sums
def add_to_weights(start, cell, value, rows, out):  # type: ignore[no-untyped-def]
    """Add the sum of ``value · rows[i]`` over a gene's entries to each row of ``out``."""
    for g in range(len(out)):
        total, e, end = out[g], start[g], start[g + 1]
        while e + 4 <= end:
            r0, r1, r2, r3 = rows[cell[e]], rows[cell[e + 1]], rows[cell[e + 2]], rows[cell[e + 3]]
            v0, v1, v2, v3 = value[e], value[e + 1], value[e + 2], value[e + 3]
            for k in range(out.shape[1]):
                total[k] += v0 * r0[k] + v1 * r1[k] + v2 * r2[k] + v3 * r3[k]
            e += 4
        while e < end:
            r0, v0 = rows[cell[e]], value[e]
            for k in range(out.shape[1]):
                total[k] += v0 * r0[k]
            e += 1


@sums
def add_to_rows(start, cell, value, weight, out):  # type: ignore[no-untyped-def]
    """Add ``value · weight[g]`` of each entry to the row of its cell in ``out``, (cell, width)."""
    for g in range(len(weight)):
        w, e, end = weight[g], start[g], start[g + 1]
        while e + 2 <= end:  # two cells at a time: more would be too many arrays to tell apart
            r0, r1, v0, v1 = out[cell[e]], out[cell[e + 1]], value[e], value[e + 1]
            for k in range(weight.shape[1]):
                r0[k] += v0 * w[k]
                r1[k] += v1 * w[k]
            e += 2
        if e < end:
            r0, v0 = out[cell[e]], value[e]
            for k in range(weight.shape[1]):
                r0[k] += v0 * w[k]


@elementwise
def spread(start, value, out):  # type: ignore[no-untyped-def]
    """A gene's ``value`` into each of its entries of ``out``."""
    for g in range(len(value)):
        for e in range(start[g], start[g + 1]):
            out[e] = value[g]


@elementwise
def of_cells(cell, value, out):  # type: ignore[no-untyped-def]
    """A cell's ``value`` into each of its entries of ``out``."""
    for e in range(len(cell)):
        out[e] = value[cell[e]]


@sums
def add_to_genes(start, value, out):  # type: ignore[no-untyped-def]
    """Add the sum of ``value`` over a gene's entries to ``out``, (gene,)."""
    for g in range(len(out)):
        total = ZERO
        for e in range(start[g], start[g + 1]):
            total += value[e]
        out[g] += total


@sums
def total(value):  # type: ignore[no-untyped-def]
    """Sum of single-precision values in double precision."""
    found = 0.0
    for e in range(len(value)):
        found += np.float64(value[e])
    return found

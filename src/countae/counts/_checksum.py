"""A short name for what a fit can depend on in prepared counts, however the file stores it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from countae.errors import CountMatrixError

if TYPE_CHECKING:
    import h5py

    from countae.counts._matrix import CountMatrix

AT_ONCE = 2**20  # numbers that are turned into bytes together
BYTES = 16


def checksum(matrix: CountMatrix, columns: Iterable[str] = ()) -> str:
    """BLAKE2b over the counts, their names, the split, the folds and the sizes, as hex digits.

    Two files with the same content have one checksum, whatever their compression, number types
    or time of writing; columns of obs that countae does not use leave it as it is.

    Parameters
    ----------
    matrix : CountMatrix
        From ``countae prepare`` or ``countae hide``.
    columns : iterable of str
        Further columns of obs that count, such as conditions of a network.
    """
    info, visible = matrix.info, matrix.adata.layers.get("visible")
    parts = {
        "counts": _of_counts(matrix.counts),
        "visible": "" if visible is None else _of_counts(visible),
        "cells": _of_text(matrix.cell_id),
        "genes": _of_text(matrix.gene_id),
        "split": _of_text(matrix.part),
        "batch": _of_text(np.array(matrix.batches)[matrix.batch]),
        "library_size": _of_numbers(matrix.library_size, np.float64),
        "folds": [int(info["folds"]), int(info["split_seed"]), matrix.protocol],
        "columns": {name: _of_text(matrix.obs[name].to_numpy(str)) for name in columns},
    }
    for name in sorted(matrix.adata.var.columns):
        if str(name).startswith("countae_"):
            parts[name] = _of_numbers(matrix.adata.var[name].to_numpy(), np.float64)
    if "visible_library_size" in matrix.obs:
        parts["visible_size"] = _of_numbers(matrix.obs["visible_library_size"].to_numpy(), float)
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=BYTES).hexdigest()


def seal(matrix: CountMatrix) -> None:
    """Enter the checksum of prepared counts into what is saved with them."""
    if "folds" in matrix.info:
        matrix.info["checksum"] = checksum(matrix)


def seal_file(file: h5py.File) -> None:
    """The same for prepared counts that were written in blocks, in the file that is open."""
    from anndata.io import write_elem

    from countae.counts._matrix import CountMatrix
    from countae.counts._store import contents

    file.flush()
    made = CountMatrix(contents(file), file.filename)
    write_elem(file["uns/countae"], "checksum", checksum(made))


def check_seal(matrix: CountMatrix) -> None:
    """Raise CountMatrixError when counts are no longer those that were saved."""
    then, now = matrix.info.get("checksum"), checksum(matrix)
    if then is not None and then != now:
        raise CountMatrixError(
            f"{matrix.source}: must hold the counts that countae saved (checksum {then}), but "
            f"holds others (checksum {now}). The file was changed by hand after `countae "
            "prepare`, or is damaged. Fix: run `countae prepare` again."
        )


def _of_counts(counts: Any) -> list[str]:
    """Digests of a CSR matrix: shape, lengths of rows, columns and values, in blocks."""
    stored = ((counts.indptr, np.int64), (counts.indices, np.int32), (counts.data, np.int32))
    return [str(list(map(int, counts.shape))), *(_of_numbers(*pair) for pair in stored)]


def _of_numbers(values: np.ndarray, dtype: Any) -> str:
    digest = blake2b(digest_size=BYTES)
    for start in range(0, len(values), AT_ONCE):
        digest.update(np.ascontiguousarray(values[start : start + AT_ONCE], dtype=dtype).data)
    return digest.hexdigest()


def _of_text(values: np.ndarray) -> str:
    digest = blake2b(digest_size=BYTES)
    for start in range(0, len(values), AT_ONCE):
        some = json.dumps([str(value) for value in values[start : start + AT_ONCE]])
        digest.update(some.encode())
    return digest.hexdigest()

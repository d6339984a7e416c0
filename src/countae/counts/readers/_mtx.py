"""Matrix Market files with their names beside them, read piece by piece."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from countae.counts.readers._base import BLOCK, Reader, Request, readable
from countae.counts.readers._names import GENES, check_number, gene_names, left_out, numbered
from countae.counts.readers._spill import ENTRIES, Spill
from countae.errors import CountMatrixError
from countae.registry import shown

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

KIND = "a Matrix Market file"
LINE = 10_000  # characters of a comment
CELL_FILES, GENE_FILES = ("barcodes", "cells"), ("features", "genes")
ENDINGS = (".tsv", ".tsv.gz", ".txt", ".txt.gz", ".csv", ".csv.gz")
LARGEST_AXIS = 2**31 - 1


@dataclass(frozen=True)
class Header:
    """First lines of a Matrix Market file."""

    rows: int
    columns: int
    entries: int


class MtxReader(Reader):
    """A Matrix Market file; entries are sorted by cells out of core, once."""

    kind = KIND

    def __init__(self, request: Request, matrix: Path) -> None:
        super().__init__(request.source)
        request.without_layer()
        self.place = matrix.name
        self._file = matrix
        self._prefix = prefix(matrix)
        with readable(matrix, KIND), unpacked(matrix) as file:
            self._header = read_header(file, matrix)
        cells, genes = (self._beside(kinds) for kinds in (CELL_FILES, GENE_FILES))
        self._by_genes = self._genes_in_rows(request.orientation, cells, genes)
        shape = (self._header.rows, self._header.columns)
        n_genes, n_cells = shape if self._by_genes else shape[::-1]
        self.obs = self._cells(cells, n_cells)
        self.var, self._keep = self._genes(genes, n_genes)
        self._n_genes, self.shape = n_genes, (n_cells, len(self.var))

    def raw_blocks(self, cells: int = BLOCK) -> Iterator[csr_matrix]:
        """Cells, from the sorted entries."""
        if self._spilled is None:
            with readable(self._file, KIND), unpacked(self._file) as file:
                self._spilled = self._sorted(file)
        for block in self._spilled.blocks((self.shape[0], self._n_genes), cells):
            yield block if self._keep.all() else block[:, self._keep]

    def _sorted(self, file: IO[bytes]) -> Spill:
        spill = Spill(np.float64)
        header = read_header(file, self._file)
        number = 0
        for row, column, value in entries(file):
            number += len(row)
            self._check_places("row", row, header.rows)
            self._check_places("column", column, header.columns)
            cell, gene = (column, row) if self._by_genes else (row, column)
            spill.add(cell - 1, gene - 1, value)
        if number != header.entries:
            raise CountMatrixError(
                f"{self._file}: promises {header.entries:,} entries, but has {number:,}. The file "
                "is cut short or damaged. Fix: copy it again."
            )
        return spill

    def _check_places(self, what: str, places: np.ndarray, size: int) -> None:
        outside = (places < 1) | (places > size)
        if outside.any():
            raise CountMatrixError(
                f"{self._file}: an entry stands in {what} {places[outside][0]:,}, but {what}s go "
                f"from 1 to {size:,}. A row or column 0 means that the file counts from 0, which "
                "Matrix Market does not. Fix: write it again, for example with "
                "scipy.io.mmwrite."
            )

    def _beside(self, kinds: tuple[str, ...]) -> Path | None:
        """File with names beside the matrix, or None."""
        tried = [self._file.with_name(f"{self._prefix}{k}{e}") for k in kinds for e in ENDINGS]
        return next((path for path in tried if path.is_file()), None)

    def _genes_in_rows(self, orientation: str, cells: Path | None, genes: Path | None) -> bool:
        """Whether rows are genes: as was said, or as 10x writes where names are beside."""
        if orientation != "auto":
            return orientation == "genes_in_rows"
        if cells is None and genes is None:
            raise CountMatrixError(
                f"{self._file}: no names of cells and genes are beside this file "
                f"({self._prefix}{CELL_FILES[0]}.tsv, {self._prefix}{GENE_FILES[0]}.tsv), so it "
                "cannot be told whether its rows are cells or genes. Fix: set `orientation` to "
                "cells_in_rows or genes_in_rows."
            )
        size = (self._header.rows, self._header.columns)
        names = (_lines(genes), _lines(cells))
        if not _fit(names, size) and _fit(names, size[::-1]):
            self.notes.append("Rows were taken as cells, because their names are as many.")
            return False
        return True

    def _cells(self, path: Path | None, number: int) -> pd.DataFrame:
        import pandas as pd

        if path is None:
            self.notes.append(f"{self._file.name} has no names of cells beside it: numbered.")
            return pd.DataFrame(index=numbered("cell", number))
        columns = table_of_names(path)
        check_number(len(columns[0]), number, where=str(path), what="cells")
        return pd.DataFrame(index=columns[0])

    def _genes(self, path: Path | None, number: int) -> tuple[pd.DataFrame, np.ndarray]:
        """Table of the genes, and which features are genes."""
        import pandas as pd

        keep = np.ones(number, dtype=bool)
        if path is None:
            self.notes.append(f"{self._file.name} has no names of genes beside it: numbered.")
            return pd.DataFrame(index=numbered("gene", number)), keep
        columns = table_of_names(path)
        check_number(len(columns[0]), number, where=str(path), what="genes")
        if len(columns) == 1:
            return pd.DataFrame(index=columns[0]), keep
        table = pd.DataFrame({"gene_ids": columns[0]}, index=gene_names(columns[1], columns[0]))
        if len(columns) > 2 and (columns[2] == GENES).any():
            table["feature_types"] = columns[2]
            keep = columns[2] == GENES
            self.notes += left_out(columns[2], keep)
            symbols, ids = columns[1][keep], columns[0][keep]
            table = table[keep].set_axis(gene_names(symbols, ids))
        return table, keep


def prefix(matrix: Path) -> str:
    """What the names of the files beside start with: ``x_`` for x_matrix.mtx and for x.mtx."""
    stem = matrix.name.removesuffix(".gz").removesuffix(".mtx")
    return stem.removesuffix("matrix") if stem.endswith("matrix") else f"{stem}_"


def unpacked(path: Path) -> IO[bytes]:
    """The file's bytes, out of gzip where it is packed."""
    return cast(IO[bytes], gzip.open(path) if path.name.endswith(".gz") else path.open("rb"))


def read_header(file: IO[bytes], path: Path) -> Header:
    """Kind and size of the matrix; the file then stands at its first entry."""
    first = file.readline(LINE).decode("utf-8-sig", "replace").lower().split()
    if first[:2] != ["%%matrixmarket", "matrix"] or len(first) != 5:
        raise CountMatrixError(
            f"{path}: must begin with '%%MatrixMarket matrix', found {shown(' '.join(first))}. "
            "Fix: name the Matrix Market file."
        )
    if first[2] != "coordinate" or first[3] not in {"integer", "real"} or first[4] != "general":
        raise CountMatrixError(
            f"{path}: must be of the kind `coordinate integer general` or `coordinate real "
            f"general`, found {shown(' '.join(first[2:]))}. Fix: write it with "
            "scipy.io.mmwrite(path, scipy.sparse.coo_matrix(counts))."
        )
    line = file.readline(LINE)
    while line.startswith(b"%") or (line and not line.strip()):
        line = file.readline(LINE)
    rows, columns, number = map(int, line.split())
    if min(rows, columns, number) < 0 or max(rows, columns) > LARGEST_AXIS:
        raise ValueError(f"a matrix of {rows:,} × {columns:,} with {number:,} entries")
    return Header(rows, columns, number)


def entries(file: IO[bytes]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Row, column (both counted from 1) and value of the entries, many at a time."""
    import pandas as pd

    columns: dict[Any, Any] = {"row": np.int64, "column": np.int64, "value": np.float64}
    try:
        pieces = pd.read_csv(
            file, sep=r"\s+", header=None, names=[*columns, "further"], index_col=False,
            dtype=columns | {"further": np.float32}, chunksize=ENTRIES, engine="c",
            comment="%",
        )  # fmt: skip
    except pd.errors.EmptyDataError:
        return
    with pieces:
        for piece in pieces:
            if piece["further"].notna().any() or piece["value"].isna().any():
                raise ValueError("a line has more or less than row, column and value")
            yield (*(piece[name].to_numpy() for name in columns),)  # type: ignore[misc]


def table_of_names(path: Path) -> list[np.ndarray]:
    """Columns of a file with names, one cell or gene a line, separated by tabs."""
    with readable(path, "a list of names"), unpacked(path) as file:
        text = file.read().decode("utf-8-sig", "backslashreplace")
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
    rows = [line.split("\t") for line in lines]
    width = min(map(len, rows), default=1)
    return [np.array([row[k] for row in rows], dtype=object) for k in range(width)]


def _lines(path: Path | None) -> int | None:
    return None if path is None else len(table_of_names(path)[0])


def _fit(names: tuple[int | None, int | None], size: tuple[int, int]) -> bool:
    """Whether there is a name for every row and column, where there are names."""
    return all(n in {None, expected} for n, expected in zip(names, size, strict=True))

"""Tables as text (.csv, .tsv, .txt, also .gz): names in the first line and the first column."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import numpy as np

from countae.counts.readers import register
from countae.counts.readers._base import BLOCK, Reader, Request, readable
from countae.counts.readers._margins import Margins
from countae.counts.readers._spill import Spill
from countae.errors import CountMatrixError
from countae.registry import shown

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

KIND = "a table"
ENDINGS = (".csv", ".tsv", ".txt", ".tab")
SEPARATORS = "\t,;"
NO_TEXT = {  # first bytes, what they are of, and what to do
    b"\xff\xfe": ("UTF-16 (a spreadsheet's Unicode text)", "save it as CSV in UTF-8"),
    b"\xfe\xff": ("UTF-16 (a spreadsheet's Unicode text)", "save it as CSV in UTF-8"),
    b"PK": ("a spreadsheet or a zip archive", "save the sheet as CSV, or unpack the archive"),
}
PIECE = 16 << 20  # characters that are turned into numbers at a time
LONGEST_NAME = 1 << 20
LOOKED_AT = 2000  # rows by whose names the orientation is inferred
EVIDENCE = 0.002  # of names; mitochondrial and ribosomal genes alone are more
GENE = re.compile(
    r"^(ens[a-z]{0,4}g\d{6,}|mt-|rp[ls]\d|ercc-\d|actb$|gapdh$|malat1$|b2m$|tmsb\d|eef1a1$)", re.I
)
CELL = re.compile(r"(^|[^acgt])[acgt]{10,}([^a-z]|$)|^cell[-_. ]?\d", re.I)
GENE_WORDS = {"gene", "genes", "gene_id", "gene_name", "symbol"}
CELL_WORDS = {"cell", "cells", "cell_id", "barcode", "barcodes"}
QUOTED = re.compile(r'"((?:[^"]|"")*)"')


@register("table")
class TableReader(Reader):
    """Text table, separated by tabs, commas or semicolons; either way round (`orientation`)."""

    kind = KIND

    @staticmethod
    def recognises(path: Path) -> bool:
        """By its ending."""
        return path.is_file() and path.name.lower().removesuffix(".gz").endswith(ENDINGS)

    @classmethod
    def open(cls, request: Request) -> TableReader:
        """A reader that goes through the text once."""
        return cls(request)

    def __init__(self, request: Request) -> None:
        import pandas as pd

        super().__init__(request.source)
        request.without_layer()
        self.place = "table"
        self._file = request.path
        with readable(self._file, KIND):
            self._check_first_bytes()
            separator, corner, columns = self._header()
            by_genes = self._genes_in_rows(request.orientation, separator, corner, columns)
            self._spill, self._margins = Spill(np.float64), Margins(self._file, columns)
            rows = self._take(separator, columns, by_genes)
            self._margins.check(rows)
        cells, genes = (columns, rows) if by_genes else (rows, columns)
        self.obs = pd.DataFrame(index=pd.Index(cells, dtype=object))
        self.var = pd.DataFrame(index=pd.Index(genes, dtype=object))
        self.shape = (len(cells), len(genes))

    def raw_blocks(self, cells: int = BLOCK) -> Iterator[csr_matrix]:
        """Cells, from the entries that are not 0."""
        return self._spill.blocks(self.shape, cells)

    def _check_first_bytes(self) -> None:
        """Raise CountMatrixError for what is not text, or not in UTF-8."""
        with _bytes_of(self._file) as file:
            begin = file.read(4)
        for mark, (found, fix) in NO_TEXT.items():
            if begin.startswith(mark):
                raise CountMatrixError(
                    f"{self._file}: must be text in UTF-8, found {found}. Fix: {fix}."
                )

    def _header(self) -> tuple[str, str, list[str]]:
        """What separates columns, the word in the corner (or none), and the columns' names."""
        separator, names, first = max(
            (self._first_rows(mark) for mark in SEPARATORS),
            key=lambda found: (_agree(*found[1:]), len(found[1]) + len(found[2])),
        )
        if max(len(names), len(first)) < 2:
            raise CountMatrixError(
                f"{self._file}: its columns must be separated by tabs, commas or semicolons; the "
                f"first line is {shown(''.join(names))}. Fix: save the table as .tsv or .csv."
            )
        if first and len(first) == len(names) + 1:  # as R's write.table does
            return separator, "", names
        if first and len(first) != len(names):
            raise self._ragged(first[0], len(first), len(names))
        return separator, names[0], names[1:]

    def _first_rows(self, separator: str) -> tuple[str, list[str], list[str]]:
        """The separator, and the first two rows if it is that."""
        with unpacked(self._file) as file:
            records = csv.reader(file, delimiter=separator)
            return separator, next(records, []), next((row for row in records if row), [])

    def _take(self, separator: str, columns: list[str], by_genes: bool) -> list[str]:
        """Names of the rows; their values that are not 0 go to the spill."""
        rows: list[str] = []
        lines: list[str] = []
        size = 0
        with unpacked(self._file) as file:
            next(csv.reader(file, delimiter=separator))
            for name, rest in named_lines(file, separator):
                rows.append(name)
                lines.append(rest)
                size += len(rest)
                if size > PIECE:
                    self._add(lines, separator, rows, columns, by_genes)
                    lines, size = [], 0
            if lines:
                self._add(lines, separator, rows, columns, by_genes)
        return rows

    def _add(
        self, lines: list[str], separator: str, rows: list[str], columns: list[str], by_genes: bool
    ) -> None:
        """Enter the last ``len(lines)`` rows."""
        start = len(rows) - len(lines)
        width = len(columns)
        values = None
        if all(lines):
            with suppress(ValueError):
                values = np.loadtxt(
                    lines, np.float64, delimiter=separator, comments=None, quotechar='"', ndmin=2
                )
        if values is None or values.shape != (len(lines), width):
            raise self._not_numbers(lines, separator, rows[start:], columns)
        self._margins.add(lines, values)
        row, column = np.nonzero(values)
        value = values[row, column]
        cell, gene = (column, row + start) if by_genes else (row + start, column)
        self._spill.add(cell, gene, value)

    def _not_numbers(
        self, lines: list[str], separator: str, rows: list[str], columns: list[str]
    ) -> CountMatrixError:
        """The error of the first row that is too short or long, or has no number somewhere."""
        for name, line in zip(rows, lines, strict=True):
            fields = next(csv.reader([line], delimiter=separator), [])
            if len(fields) != len(columns):
                return self._ragged(name, len(fields) + 1, len(columns) + 1)
            for column, field in zip(columns, fields, strict=True):
                if not _is_number(field):
                    found = f"found {shown(field)}" if field.strip() else "a value is missing"
                    return CountMatrixError(
                        f"{self._file}: must hold a number in every field, but {found} in row "
                        f"{shown(name)}, column {shown(column)}. {_cause(field)}"
                    )
        return CountMatrixError(f"{self._file}: its rows are not all equally long.")

    def _ragged(self, row: object, found: int, expected: int) -> CountMatrixError:
        return CountMatrixError(
            f"{self._file}: every row must have {expected:,} fields, as the first line says, but "
            f"row {shown(row)} has {found:,}. The file may be cut short, or a name holds the "
            "separator. Fix: save the table again, with names in quotes."
        )

    def _genes_in_rows(
        self, orientation: str, separator: str, corner: str, columns: list[str]
    ) -> bool:
        """Whether rows are genes: as was said, or inferred from the names, with a note."""
        if orientation != "auto":
            return orientation == "genes_in_rows"
        with unpacked(self._file) as file:
            next(csv.reader(file, delimiter=separator))
            some = zip(range(LOOKED_AT), named_lines(file, separator), strict=False)
            rows = [name for _, (name, _) in some]
        evidence = _share(GENE, rows) - _share(CELL, rows)
        evidence -= _share(GENE, columns) - _share(CELL, columns)
        word = corner.strip().lower()
        if abs(evidence) > EVIDENCE:
            by_genes, why = evidence > 0, "their names look so"
        elif word in GENE_WORDS | CELL_WORDS:
            by_genes, why = word in GENE_WORDS, f"the first line begins with {shown(corner)}"
        else:
            raise CountMatrixError(
                f"{self._file}: cannot be told whether its rows are cells or genes (first row "
                f"{shown(rows[0] if rows else '')}, first column "
                f"{shown(columns[0] if columns else '')}). Fix: set `orientation` to "
                "cells_in_rows or genes_in_rows."
            )
        self.notes.append(
            f"Rows were taken as {'genes' if by_genes else 'cells'}, because {why}; `orientation` "
            "says it for sure."
        )
        return by_genes


def unpacked(path: Path) -> IO[str]:
    """The file's text, out of gzip where it is packed; a byte order mark is skipped."""
    stream = _bytes_of(path)
    return io.TextIOWrapper(stream, "utf-8-sig", errors="backslashreplace", newline="")


def _bytes_of(path: Path) -> IO[bytes]:
    """The file's bytes, out of gzip where its first ones say so, whatever its name does."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path) if packed else path.open("rb"))


def named_lines(file: IO[str], separator: str) -> Iterator[tuple[str, str]]:
    """First field of each row, which may span lines in quotes, and the rest as it is."""
    for start in file:
        line = start
        if not line.strip("\r\n"):
            continue
        if not line.startswith('"'):
            name, _, rest = line.rstrip("\r\n").partition(separator)
            yield name, rest
            continue
        while (match := QUOTED.match(line)) is None:
            more = file.readline()
            if not more or len(line) > LONGEST_NAME:
                raise ValueError(f"a quote is not closed: {shown(line)}")
            line += more
        rest = line[match.end() :].rstrip("\r\n")
        yield match.group(1).replace('""', '"'), rest.removeprefix(separator)


def _agree(names: list[str], first: list[str]) -> bool:
    """Whether the first two rows are those of a table."""
    if not first:
        return len(names) > 1
    return len(first) > 1 and len(first) - len(names) in {0, 1}


def _share(pattern: re.Pattern[str], names: list[str]) -> float:
    return sum(bool(pattern.search(name[:200])) for name in names) / max(len(names), 1)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def _cause(field: str) -> str:
    if not field.strip() or field.strip().upper() in {"NA", "N/A", "NULL"}:
        return "Fix: write 0 where nothing was counted; where nothing was measured, leave it out."
    if re.fullmatch(r"\d{1,3}(\.\d{3}){2,}", field.strip()):
        return "Those are thousands points. Fix: write numbers without them."
    if re.fullmatch(r"\d{1,3}(,\d{3})+", field.strip()):
        return "Those are thousands commas, or a decimal comma. Fix: write numbers without them."
    if re.fullmatch(r"\d+,\d+", field.strip()):
        return "That is a decimal comma. Fix: save the table with decimal points."
    return (
        "Further columns with names or labels are not read. Fix: keep one line and one column of "
        "names."
    )

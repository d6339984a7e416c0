"""Numbers in a text table that read as counts but are none: sums of others, thousands points."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from countae.errors import CountMatrixError
from countae.registry import shown

TOTALS = {"total", "totals", "sum", "sums", "grand total", "column total", "row total"}
EDGE = r"[\t,; \"]"
THOUSANDS = re.compile(rf"(?:^|{EDGE})([1-9]\d{{0,2}}\.000)(?=$|{EDGE})")
WHOLE = re.compile(rf"(?:^|{EDGE})([1-9]\d*)(?=$|{EDGE})")


class Margins:
    """Looks at every row of a table, a piece at a time, and at the end for a last row of sums.

    Parameters
    ----------
    path : Path
        For messages.
    columns : list of str
        Names of the columns with numbers.
    """

    def __init__(self, path: Path, columns: list[str]) -> None:
        self._path, self._columns = path, columns
        self._sums, self._last = np.zeros(len(columns)), np.zeros(len(columns))
        self._last_column_adds_up = len(columns) > 2

    def add(self, lines: list[str], values: np.ndarray) -> None:
        """Look at some rows: their text, and their numbers, (row, column), float64.

        Raises
        ------
        CountMatrixError
            When ``3.000`` stands beside ``12``: three thousand to some, three to Python.
        """
        likely = (line for line in lines if ".000" in line)  # far faster than the pattern
        found = next(filter(None, map(THOUSANDS.search, likely)), None)
        whole = next(filter(None, map(WHOLE.search, lines)), None) if found else None
        if found and whole:
            raise CountMatrixError(
                f"{self._path}: {shown(found[1])} stands in it beside {shown(whole[1])}: with a "
                "thousands point it is a thousand times what it is without. Fix: save the "
                "table without separators of thousands, or every number with its decimals."
            )
        with np.errstate(invalid="ignore", over="ignore"):
            self._sums += values.sum(axis=0)
            self._last = values[-1]
            if self._last_column_adds_up:
                rest = values[:, :-1].sum(axis=1)
                self._last_column_adds_up = bool((rest == values[:, -1]).all())

    def check(self, rows: list[str]) -> None:
        """Raise CountMatrixError when the last row, or column, is called so and holds sums."""
        adds_up = len(rows) > 2 and bool((self._sums == 2 * self._last).all())
        for names, true, what in (
            (rows, adds_up, "row"),
            (self._columns, self._last_column_adds_up, "column"),
        ):
            if true and names[-1].strip().lower() in TOTALS:
                raise CountMatrixError(
                    f"{self._path}: its last {what}, {shown(names[-1])}, holds the sums of the "
                    f"others, which are neither a cell nor a gene. Fix: remove this {what}."
                )

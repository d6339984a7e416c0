"""What values are when they are no counts, from sums over the whole matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from countae.triage._sums import Sums

FEW = 0.1  # share of values that are no counts, below which a file is damaged, not transformed
LARGEST_LOG = 25.0  # the logarithm of 7e10; size-normalised values go far beyond
LEAST_VALUES = 10  # of a cell from which its unit can be told
NEAR = 0.02  # of a multiple of the smallest value, for values up to LARGEST_MULTIPLE
LARGEST_MULTIPLE = 1000.0  # single precision loses the fraction beyond
MOST = 0.9  # share of cells, and of values within a cell, that must agree
SAME_TOTAL = 1e-3  # spread of totals over their median that single precision leaves
ESTIMATED = 0.3  # share of whole numbers among the values of estimated counts

TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "expm1(x)": np.expm1,
    "2**x - 1": lambda x: np.expm1(x * np.log(2)),
    "10**x - 1": lambda x: np.expm1(x * np.log(10)),
    "x": lambda x: x,
}


@dataclass
class CellUnits:
    """In how many cells a transform makes all values multiples of the smallest; totals of these.

    A cell's smallest count is nearly always 1, so that the unit is what one molecule became.
    """

    cells: int = 0
    whole: int = 0
    units: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)

    def add(self, rows: csr_matrix, transform: Callable[[np.ndarray], np.ndarray]) -> None:
        """Look at a block of cells."""
        enough = np.flatnonzero(np.diff(rows.indptr) >= LEAST_VALUES)
        for cell in enough:
            with np.errstate(over="ignore", invalid="ignore"):
                values = transform(rows.data[rows.indptr[cell] : rows.indptr[cell + 1]])
                unit = values.min()
                multiple = values / unit
            small = multiple[multiple <= LARGEST_MULTIPLE]
            if small.max(initial=0) < 1.5:  # all the same: of any transform
                continue
            self.cells += 1
            near = np.abs(small - np.rint(small)) <= NEAR
            if near.mean() > MOST and small.size > MOST * multiple.size:
                self.whole += 1
                self.units.append(unit)
                self.totals.append(values.sum())

    @property
    def share(self) -> float:
        """Share of the cells in which it does."""
        return self.whole / max(self.cells, 1)

    @property
    def unit(self) -> float:
        """The unit that several cells have alike; NaN where they differ."""
        units = np.array(self.units)
        return float(np.median(units)) if self.cells > 1 and _alike(units) else np.nan

    @property
    def target(self) -> float:
        """What the transformed values of every cell add up to; NaN when that differs."""
        totals = np.array(self.totals)
        return float(np.median(totals)) if _alike(totals) else np.nan


def kind_of(sums: Sums) -> str:
    """What the values are.

    ``counts``, ``not finite``, ``scaled`` (negative), ``damaged``, ``log-normalised``,
    ``size-normalised``, ``estimated``, ``too large``, or ``fractions`` of no known origin.
    """
    if not sums.bad:
        return "counts"
    if sums.not_finite:
        return "not finite"
    if sums.negative:
        return "scaled"
    if not sums.fractions:
        return "too large"
    name = recovering(sums)
    if name and name != "x":
        return "log-normalised"
    if name == "x" or (sums.shape[0] > 1 and _alike(sums.total[sums.total > 0])):
        return "size-normalised"
    if sums.fractions < FEW * sums.values:
        return "damaged"
    if sums.largest < LARGEST_LOG:
        return "log-normalised"
    whole = 1 - sums.fractions / sums.values
    return "estimated" if whole >= ESTIMATED else "fractions"


def recovering(sums: Sums) -> str:
    """The transform after which the values are counts times one number per cell; or nothing."""
    units = {name: unit for name, unit in sums.units.items() if not _are_decimals(name, unit)}
    best = max(units, key=lambda name: units[name].share, default="")
    return best if best and units[best].share > MOST else ""


def _are_decimals(name: str, cells: CellUnits) -> bool:
    """Whether cells have one unit that is not 1 of logarithms: 0.1, of values like 0.3."""
    alike = bool(np.isfinite(cells.unit))
    return alike and (name == "x" or abs(cells.unit - 1) > SAME_TOTAL)


def _alike(values: np.ndarray) -> bool:
    """Whether there are values, all the same but for what single precision leaves."""
    return values.size > 0 and bool(np.ptp(values) <= SAME_TOTAL * np.median(values))

"""Whether the values are counts, and what they are if not."""

from __future__ import annotations

import numpy as np

from countae.registry import shown
from countae.triage import Finding, Look, look_for
from countae.triage._base import percent
from countae.triage._kinds import recovering
from countae.triage._sums import Sums

LEAST_CELLS = 10  # whose totals can be compared
MOST_ALIKE = 0.05  # spread of totals over their mean; cells differ by a third and more
LEAST_EXPRESSED = 100  # genes of a cell among whose counts a 1 is to be expected
MOST = 0.9  # share of such cells without a 1

WHAT = {
    "not finite": "Missing or infinite values, which usually come from a division by zero in a "
    "normalisation.",
    "scaled": "Negative values: the matrix was scaled, centred or batch-corrected.",
    "too large": "Values beyond 2,147,483,647 are no molecule or read counts.",
    "damaged": "So few values are no counts that the file is probably damaged or hand-edited.",
    "log-normalised": "The matrix looks log-normalised: its values are small and have fractions.",
    "size-normalised": "The matrix is size-normalised: every cell was divided by its depth.",
    "estimated": "Whole numbers and fractions: estimated counts (salmon, RSEM, kallisto), which "
    "share reads among genes.",
    "fractions": "Large values with fractions: counts from which an ambient profile was taken "
    "(SoupX, DecontX, CellBender), or that were corrected in another way.",
}
FIX = {
    "damaged": "copy or save the file again",
    "estimated": "name the matrix of unique counts if the pipeline wrote one; rounding is a "
    "choice of yours and gives the losses something that no counting made",
    "fractions": "name the uncorrected counts, or correct again with whole numbers (SoupX: "
    "roundToInt = TRUE)",
}


@look_for
def kind(look: Look) -> list[Finding]:
    """Whether the values are counts, and what they are if not."""
    if 0 in look.sums.shape or not look.sums.values:
        return [_empty(look)]
    if look.counts:
        return [_counts(look), *_rounded(look), *_divisor(look.sums), *_binary(look.sums)]
    told, found = _values(look), WHAT[look.kind]
    recoverable, elsewhere = _recoverable(look.sums), look.reader.where_counts_are()
    if recoverable:
        found = f"{found.split(':')[0]}: {recoverable}"
    fix = elsewhere or FIX.get(look.kind, "name the layer, or the file, that holds the raw counts")
    if recoverable and not elsewhere:
        fix = (
            "name the raw counts; where they are lost, they can be recovered, cell by cell, as "
            f"round(y / min(y[y > 0])) with y = {recovering(look.sums)}"
        )
    return [
        Finding(
            "error",
            f"{look.reader.place}: no counts. {found} {told}",
            "Losses for counts have no meaning for such values, and squared error on them answers "
            "another question. Nothing can be fitted.",
            fix.rstrip("."),
        )
    ]


def _empty(look: Look) -> Finding:
    n_cells, n_genes = look.sums.shape
    return Finding(
        "error",
        f"{look.reader.place}: holds no count at all ({n_cells:,} cells × {n_genes:,} genes).",
        "There is nothing to fit.",
        look.reader.where_counts_are().rstrip(".") or "check how the file was filtered or written",
    )


def _values(look: Look) -> str:
    """How many values are no counts, and the first of them."""
    sums, reader = look.sums, look.reader
    if sums.first_bad is None:
        return ""
    cell, gene, value = sums.first_bad
    return (
        f"{sums.bad:,} of {sums.values:,} stored values are no counts; first: {value:.4g} at cell "
        f"{shown(reader.obs.index[cell])}, gene {shown(reader.var.index[gene])}."
    )


def _recoverable(sums: Sums) -> str:
    """What shows that counts were transformed, and to which total; nothing if nothing does."""
    name = recovering(sums)
    if not name:
        return ""
    unit = sums.units[name]
    told = "" if name == "x" else f"{name} of "
    what = f"in {percent(unit.share)} of the cells {told}the values are multiples of the smallest"
    if np.isfinite(unit.target):
        return f"{what}, and add up to {unit.target:,.6g} in every cell."
    if np.isfinite(unit.unit):
        return f"{what}, which is 1: the logarithm of counts was taken, and nothing else done."
    return f"{what}; their sums differ, so genes were left out afterwards."


def _counts(look: Look) -> Finding:
    rounded = look.reader.rounded or look.sums.bad
    stored = " Floats within 1e-6 of whole numbers are taken as these." if rounded else ""
    return Finding(
        "note",
        f"{look.reader.place}: raw counts, {look.sums.shape[0]:,} cells × "
        f"{look.sums.shape[1]:,} genes, of 0 to {look.sums.largest:,.0f}.{stored}",
    )


def _rounded(look: Look) -> list[Finding]:
    """Whole numbers that are no counts any more, or are as many in every cell."""
    total = look.sums.total[look.sums.total > 0]
    if total.size < LEAST_CELLS:
        return []
    if np.ptp(total) == 0:
        return [
            Finding(
                "warning",
                f"Every cell has exactly {np.median(total):,.0f} counts: drawn down to one depth.",
                "These are counts; the verdict is on what is left of them.",
                "name the counts from before, if they are at hand",
            )
        ]
    what = _of_smallest(look.sums) or _of_totals(total)
    if not what:
        return []
    return [
        Finding(
            "warning",
            f"{what} The values were probably size-normalised and then rounded.",
            "Such numbers vary as no counts do, and the verdict would be on that.",
            "name the counts from before the normalisation",
        )
    ]


def _of_totals(total: np.ndarray) -> str:
    """What totals that hardly differ look like; nothing where they differ."""
    if np.std(total) >= MOST_ALIKE * np.mean(total):
        return ""
    return (
        f"All cells have nearly the same total, {total.min():,.0f} to {total.max():,.0f}: less "
        "varied than cells are, unless they were simulated at one depth."
    )


def _of_smallest(sums: Sums) -> str:
    """What cells without a 1 look like, where nothing divides all counts."""
    rich = sums.expressed >= LEAST_EXPRESSED
    if rich.sum() < LEAST_CELLS or sums.divisor > 1:
        return ""
    share = float((sums.smallest[rich] > 1).mean())
    if share <= MOST:
        return ""
    return (
        f"In {percent(share)} of the cells with {LEAST_EXPRESSED} genes and more, no gene has a "
        "count of 1, the most frequent one of molecules and reads."
    )


def _binary(sums: Sums) -> list[Finding]:
    """Nothing but 1: whether a gene was seen, not how often."""
    if sums.largest != 1 or sums.values < LEAST_CELLS:
        return []
    return [
        Finding(
            "warning",
            "Every value that is not 0 is 1: the matrix was probably binarised.",
            "It says whether a gene was seen. No noise family can be told from another by that.",
            "name the counts from before, if there are any",
        )
    ]


def _divisor(sums: Sums) -> list[Finding]:
    """A number that divides every count."""
    if sums.divisor < 2 or sums.values < LEAST_CELLS:
        return []
    return [
        Finding(
            "warning",
            f"Every count is a multiple of {sums.divisor:,}.",
            "Counts that were multiplied (both reads of a pair counted, for example) vary more "
            "than molecules, which looks like overdispersion.",
            f"divide all by {sums.divisor:,}, or count again",
        )
    ]

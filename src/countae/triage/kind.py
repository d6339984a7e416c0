"""Whether the values are counts, and what they are if not."""

from __future__ import annotations

import numpy as np

from countae.registry import shown
from countae.triage import Finding, Look, look_for
from countae.triage._base import percent
from countae.triage._kinds import recovering
from countae.triage._sums import Sums

LEAST_CELLS = 10  # whose totals can be compared
LEAST_VARIANCE = 0.1  # of totals over their mean; molecules that are counted have at least 1

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
        return [_counts(look), *_same_totals(look), *_divisor(look.sums)]
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
    return f"{what}; their sums differ, so genes were left out afterwards."


def _counts(look: Look) -> Finding:
    rounded = look.reader.rounded or look.sums.bad
    stored = " Floats within 1e-6 of whole numbers are taken as these." if rounded else ""
    return Finding(
        "note",
        f"{look.reader.place}: raw counts, {look.sums.shape[0]:,} cells × "
        f"{look.sums.shape[1]:,} genes, of 0 to {look.sums.largest:,.0f}.{stored}",
    )


def _same_totals(look: Look) -> list[Finding]:
    """Whole numbers of which every cell has about as many: rounded after a normalisation."""
    total = look.sums.total[look.sums.total > 0]
    if total.size < LEAST_CELLS or np.var(total) >= LEAST_VARIANCE * np.mean(total):
        return []
    middle = np.median(total)
    if np.ptp(total) == 0:
        what = f"Every cell has exactly {middle:,.0f} counts: drawn down to one depth."
        consequence = "These are counts; the verdict is on what is left of them."
    else:
        what = (
            f"All cells have nearly the same total, {total.min():,.0f} to {total.max():,.0f}: "
            "less varied than counting makes it. The values were probably size-normalised and "
            "then rounded."
        )
        consequence = "Such numbers vary as no counts do, and the verdict would be on that."
    return [Finding("warning", what, consequence, "name the counts from before the normalisation")]


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

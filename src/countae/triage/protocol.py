"""Molecules or reads, from the counts themselves."""

from __future__ import annotations

from countae.counts._quality import UMI_SHARE_OF_ONES
from countae.triage import Finding, Look, look_for
from countae.triage._base import percent

MOSTLY_EVEN = 0.75  # share of even counts; about half of large counts are


@look_for
def protocol(look: Look) -> list[Finding]:
    """Molecules (UMI) or reads, from the share of ones among the counts above zero."""
    if not look.counts or not look.sums.values:
        return []
    ones, even = (n / look.sums.values for n in (look.sums.ones, look.sums.even))
    if ones >= UMI_SHARE_OF_ONES:
        return [
            Finding(
                "note",
                f"Likely UMI counts: {percent(ones)} of the counts above zero are 1.",
                "Each is one molecule, which is what the count losses describe.",
            )
        ]
    found = [
        Finding(
            "note",
            f"Likely counts of reads, not of molecules: {percent(ones)} of the counts above zero "
            "are 1.",
            "One molecule gives many reads, so counts vary more than any count loss says, and "
            "extra zeros are frequent. The verdict holds for reads.",
            "set `protocol` if this is wrong",
        )
    ]
    if even >= MOSTLY_EVEN and look.sums.divisor == 1:
        found.append(
            Finding(
                "warning",
                f"{percent(even)} of the counts above zero are even.",
                "Probably both reads of a pair were counted, which doubles the variance over the "
                "mean.",
                "count fragments (featureCounts -p --countReadPairs), then try again",
            )
        )
    return found

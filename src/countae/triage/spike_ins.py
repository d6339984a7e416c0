"""Spike-in controls among the genes."""

from __future__ import annotations

import numpy as np

from countae.counts._gene_names import spike_ins as named
from countae.triage import Finding, Look, look_for
from countae.triage._base import percent


@look_for
def spike_ins(look: Look) -> list[Finding]:
    """Spike-in controls (ERCC) among the genes."""
    genes = named(look.reader.var)
    if not look.counts or not genes.any():
        return []
    full = look.sums.total > 0
    share = look.sums.marked[1, full] / look.sums.total[full]
    return [
        Finding(
            "warning",
            f"Spike-ins (ERCC) among the genes: {genes.sum():,}, with "
            f"{percent(np.median(share)) if full.any() else 0} of the median cell's counts.",
            "They count as expression: in the library size, among the genes that vary, and in "
            "the verdict, though they vary with the amount added.",
            "remove them, or name the genes to model in `genes`",
            genes=look.genes(genes),
        )
    ]

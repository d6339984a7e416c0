"""Cells and genes without any count."""

from __future__ import annotations

from countae.triage import Finding, Look, look_for


@look_for
def empty(look: Look) -> list[Finding]:
    """Cells and genes without any count."""
    if not look.counts:
        return []
    found = []
    cells, genes = look.sums.expressed == 0, look.sums.gene_expressed == 0
    if cells.any():
        names = look.cells(cells)
        found.append(
            Finding(
                "warning",
                f"Cells without any count: {cells.sum():,} ({names.told}).",
                "They have no library size; quality.min_counts_per_cell removes them.",
                "leave them out",
                cells=names,
            )
        )
    if genes.any():
        names = look.genes(genes)
        found.append(
            Finding(
                "note",
                f"Genes without a count in any cell: {genes.sum():,} of {genes.size:,} "
                f"({names.told}).",
                "Nothing can be learnt of them; quality.min_cells_per_gene removes them.",
                genes=names,
            )
        )
    return found

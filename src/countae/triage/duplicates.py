"""Cells, and genes, with the same counts throughout."""

from __future__ import annotations

import numpy as np

from countae.triage import Finding, Look, look_for

LEAST_GENES = 20  # expressed; cells with fewer can be alike by chance
LEAST_CELLS = 10  # that show a gene


@look_for
def duplicates(look: Look) -> list[Finding]:
    """Cells, and genes, with the same counts throughout.

    By two hashes of 64 bits each: different rows of a million cells agree by chance with a
    probability of 1e-27.
    """
    if not look.counts:
        return []
    sums, found = look.sums, []
    cells = _repeated(sums.cell_hash, sums.expressed >= LEAST_GENES)
    if cells.size:
        names = look.cells(cells)
        found.append(
            Finding(
                "warning",
                f"Cells that repeat the counts of an earlier cell in every gene: {cells.size:,} "
                f"({names.told}).",
                "A cell in the training part and its copy in the test part make held-out scores "
                "too good, most of all for networks that remember.",
                "remove the copies: often one sample was read in twice",
                cells=names,
            )
        )
    genes = _repeated(sums.gene_hash, sums.gene_expressed >= LEAST_CELLS)
    if genes.size:
        names = look.genes(genes)
        found.append(
            Finding(
                "warning",
                f"Genes that repeat the counts of an earlier gene in every cell: {genes.size:,} "
                f"({names.told}).",
                "A hidden count can be read off the other gene, so that held-out scores of these "
                "genes say nothing.",
                "keep one of each: often an annotation lists a gene twice",
                genes=names,
            )
        )
    return found


def _repeated(hashes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places, ascending, of columns of (2, n) hashes that have stood before, among some."""
    places = np.flatnonzero(wanted)
    _, first = np.unique(hashes[:, places], axis=1, return_index=True)
    return np.setdiff1d(places, places[first])

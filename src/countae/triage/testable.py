"""How many genes can be told something of at this depth."""

from __future__ import annotations

import numpy as np

from countae.metrics._zero_inflation import FEWEST_NON_ZEROS, LOWEST_AVERAGE
from countae.metrics.dispersion_standard_error import IDENTIFIABLE, dispersion_standard_error
from countae.triage import Finding, Look, look_for
from countae.triage._sums import Sums

LEAST_CELLS = 10
SIZES = np.arange(64)  # quantiles of the size factors at which a gene's mean is taken


@look_for
def testable(look: Look) -> list[Finding]:
    """How many genes are seen often enough for their dispersion, and for a test of extra zeros.

    By thresholds that the report uses too: a standard error of log θ of at most one half, and a
    mean of at least half a count.
    """
    sums = look.sums
    if not look.counts or sums.shape[0] < LEAST_CELLS or not sums.values:
        return []
    dispersion = dispersion_known(sums)
    zeros = sums.gene_sum / sums.shape[0] >= LOWEST_AVERAGE
    zeros &= sums.gene_expressed >= FEWEST_NON_ZEROS
    n_genes = len(zeros)
    few = not zeros.any() or not dispersion.any()
    return [
        Finding(
            "warning" if few else "note",
            f"At this depth the overdispersion of {dispersion.sum():,} of {n_genes:,} genes can "
            f"be told (standard error of log θ at most {IDENTIFIABLE}), and {zeros.sum():,} have "
            f"the mean of {LOWEST_AVERAGE} that a test of extra zeros needs.",
            "Of the other genes the verdict says that nothing can be told, whichever loss wins.",
            "bring more cells, or deeper ones" if few else "",
            genes=look.genes(dispersion & zeros),
        )
    ]


def dispersion_known(sums: Sums) -> np.ndarray:
    r"""Whether the inverse dispersion of a gene could be told from all cells, (gene,) bool.

    Its value is that of moments around :math:`s_i m_j` with size factors :math:`s_i`:
    :math:`1/θ_j = (\sum_i (x_{ij} - s_i m_j)^2 - m_j \sum_i s_i) / (m_j^2 \sum_i s_i^2)`.
    Genes that vary no more than a Poisson variable have none.
    """
    size = sums.total / sums.total.mean()
    cells, square = len(size), float((size**2).sum())
    mean = sums.gene_sum / cells
    crossed = sums.gene_by_size / sums.total.mean()
    spread = sums.gene_square - 2 * mean * crossed + mean**2 * square
    extra = spread - sums.gene_sum
    known = np.zeros(len(mean), bool)
    some = np.flatnonzero((extra > 0) & (mean > 0))
    if some.size:
        theta = mean[some] ** 2 * square / extra[some]
        sizes = np.quantile(size, (SIZES + 0.5) / len(SIZES))[:, None]
        error = dispersion_standard_error(
            mean=sizes * mean[some], inverse_dispersion=theta, n_fitted=cells
        )
        known[some] = error <= IDENTIFIABLE
    return known

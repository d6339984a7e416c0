"""Whether simulated counts resemble observed ones, margin by margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.sparse import csr_matrix

from countae.errors import CountMatrixError

CELLS_AT_A_TIME = 4096
ROUNDING = 1e-9  # by which a correlation may exceed one
LOWEST_MEAN = 0.05  # counts per cell from which a gene's variance can be compared


@dataclass(frozen=True)
class Margins:
    """Zero fraction, mean and variance per gene, (gene,); total count per cell, (cell,)."""

    zero_fraction: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    library_size: np.ndarray


def margins(counts: csr_matrix) -> Margins:
    """Margins of sparse raw counts, (cell, gene), from blocks of cells that stay sparse."""
    cells, genes = counts.shape
    nonzero, total, squares = np.zeros((3, genes))
    library = np.zeros(cells)
    for start in range(0, cells, CELLS_AT_A_TIME):
        block = csr_matrix(counts[start : start + CELLS_AT_A_TIME], dtype=np.float64)
        gene, value = block.indices, block.data
        nonzero += np.bincount(gene, weights=value != 0, minlength=genes)
        total += np.bincount(gene, weights=value, minlength=genes)
        squares += np.bincount(gene, weights=value**2, minlength=genes)
        library[start : start + CELLS_AT_A_TIME] = np.asarray(block.sum(axis=1)).ravel()
    mean = total / cells
    return Margins(1 - nonzero / cells, mean, squares / cells - mean**2, library)


def marginals(observed: csr_matrix, simulated: csr_matrix) -> dict[str, Any]:
    r"""Distances between the margins of observed and simulated counts, and whether they match.

    Differences are simulated minus observed. A *shift* is one number of a common direction over
    genes, in which sampling error averages out; a *difference* is the median of absolute values,
    which also sees errors that cancel. Variances are compared at genes whose mean exceeds 0.05 in
    both.

    Parameters
    ----------
    observed, simulated : csr_matrix, (cell, gene), int
        Raw counts of the same genes; the numbers of cells may differ.

    Returns
    -------
    dict
        ``zero_fraction_difference``, ``zero_fraction_shift`` (mean over the compared genes),
        ``zero_fraction_correlation`` (Pearson), ``log_mean_difference``, ``log_mean_shift``,
        ``log_variance_difference``, ``log_variance_shift`` (medians), ``log_variance_correlation``
        (Spearman), ``library_size_distance`` (Kolmogorov–Smirnov), ``genes_compared``; ``match``
        (bool); ``reason``, what does not match in plain words, empty otherwise.

    Raises
    ------
    CountMatrixError
        When the genes are not as many, or fewer than three can be compared.
    """
    if observed.shape[1] != simulated.shape[1]:
        raise CountMatrixError(
            f"marginals: the same genes are needed in both matrices, but there are "
            f"{observed.shape[1]:,} observed and {simulated.shape[1]:,} simulated ones."
        )
    a, b = margins(observed), margins(simulated)
    value = _distances(a, b)
    cells = 2 / (1 / len(a.library_size) + 1 / len(b.library_size))
    broken = [rule.says(value) for rule in _rules(cells) if not rule.holds(value)]
    return value | {"match": not broken, "reason": " ".join(broken)}


def _distances(a: Margins, b: Margins) -> dict[str, float]:
    """Every distance between two matrices' margins, by name."""
    compared = (np.minimum(a.mean, b.mean) > LOWEST_MEAN) & (
        np.minimum(a.variance, b.variance) > 0
    )
    if (number := int(compared.sum())) < 3:
        raise CountMatrixError(
            f"marginals: {number} genes have a mean above {LOWEST_MEAN} in both matrices, but at "
            "least 3 are needed. Such sparse counts cannot be compared by variance."
        )
    zero = (b.zero_fraction - a.zero_fraction)[compared]
    log_mean = np.log(b.mean[compared] / a.mean[compared])
    log_variance = np.log(b.variance[compared] / a.variance[compared])
    of_zeros = _correlation(a.zero_fraction, b.zero_fraction)
    of_variances = _correlation(*map(stats.rankdata, (a.variance[compared], b.variance[compared])))
    return {
        "zero_fraction_difference": float(np.median(np.abs(zero))),
        "zero_fraction_shift": float(zero.mean()),
        "zero_fraction_correlation": of_zeros,
        "log_mean_difference": float(np.median(np.abs(log_mean))),
        "log_mean_shift": float(np.median(log_mean)),
        "log_variance_difference": float(np.median(np.abs(log_variance))),
        "log_variance_shift": float(np.median(log_variance)),
        "log_variance_correlation": of_variances,
        "library_size_distance": float(stats.ks_2samp(a.library_size, b.library_size).statistic),
        "genes_compared": number,
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; 1 where neither varies, 0 where only one does."""
    if (spread := float(a.std() * b.std())) == 0:
        return float(a.std() == b.std())
    return float(((a - a.mean()) * (b - b.mean())).mean()) / spread


@dataclass(frozen=True)
class _Rule:
    """The range in which one distance counts as a match, and what to say outside."""

    name: str
    low: float
    high: float
    words: str

    def holds(self, value: dict[str, float]) -> bool:
        return self.low <= value[self.name] <= self.high + ROUNDING

    def says(self, value: dict[str, float]) -> str:
        limit = f"{self.low:.3g} to {self.high:.3g}"
        return f"{self.words} ({self.name} {value[self.name]:.3g}, allowed {limit})."


def _rules(cells: float) -> list[_Rule]:
    """Limits for a number of cells (the harmonic mean of both matrices').

    Measured on ``random_design`` at 300 to 3,000 cells and 100 to 600 counts per cell, counts
    against a second draw from the same truth (Poisson, NB, ZINB; 162 pairs): zero shift at most
    0.006, correlation of zeros at least 0.972, mean shift 0.039, variance shift 0.061, variance
    difference 4.8/√cells, correlation of variances 0.933, distance of library sizes 0.100. Against
    a wrong family: Poisson for NB moves log variances by −0.15 to −0.49 and zeros by −0.02 to
    −0.08, ZINB for NB by +0.19 to +0.70 and +0.036 to +0.20. The limits stand between the two.
    Below 300 cells they widen with the sampling error.
    """
    error = 1 / np.sqrt(cells)
    zero, variance = max(0.015, 0.2 * error), max(0.12, 2 * error)
    mean, library = max(0.1, error), max(0.1, 1.95 * np.sqrt(2) * error)
    return [
        _Rule("zero_fraction_shift", -zero, zero, "The share of zeros is off on average"),
        _Rule("zero_fraction_correlation", min(0.95, 1 - 10 / cells), 1, "Other genes have zeros"),
        _Rule("log_mean_shift", -mean, mean, "Means are off on average"),
        _Rule("log_variance_shift", -variance, variance, "Variances are off on average"),
        _Rule("log_variance_difference", 0, 0.05 + 7 * error, "Variances differ gene by gene"),
        _Rule("log_variance_correlation", 0.9, 1, "Variances rank the genes otherwise"),
        _Rule("library_size_distance", 0, library, "Cells have other library sizes"),
    ]

"""Maximum likelihood of NB and ZINB per gene around given means, and the test between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from countae.kernels.gene_table import GeneTable

LOWEST_AVERAGE = 0.5  # counts per cell
FEWEST_NON_ZEROS = 10
LOWEST_MEAN = 1e-3  # of the gene's average mean, for cells where a squared error predicts 0
GENE_BLOCK = 256  # keeps the sorted copies small
SMALLEST_STATISTIC = 1e-6  # rounding of a sum over cells
TOLERANCE, ITERATIONS = 1e-4, 100  # Newton's steps square the gap, so the last one is far below
# (logit π, rise of log θ over the NB's): extra zeros are few or many, beside a narrower NB or not
STARTS = [(z, rise) for z in (-3.0, -1.0, 1.0) for rise in (0.0, 1.5)]
LOW, HIGH = np.array([-20.0, -10.0, -12.0]), np.array([20.0, 16.0, 12.0])


@dataclass(frozen=True)
class ZeroInflation:
    r"""NB and ZINB fitted to each gene; all (gene,), NaN where a gene is not testable.

    ``statistic`` is :math:`2(l_1 - l_0) \ge 0` and ``p_value`` its probability under the NB.
    ``scale`` multiplies the gene's means, ``inverse_dispersion`` is θ, ``log_likelihood`` is in
    nats over all cells; with ``_nb`` those of the NB, with ``_zinb`` those of the ZINB, of whose
    NB part ``scale_zinb`` is. ``zero_probability`` is π, 0 where the ZINB gains nothing.
    """

    statistic: np.ndarray
    p_value: np.ndarray
    zero_probability: np.ndarray
    scale_nb: np.ndarray
    scale_zinb: np.ndarray
    inverse_dispersion_nb: np.ndarray
    inverse_dispersion_zinb: np.ndarray
    log_likelihood_nb: np.ndarray
    log_likelihood_zinb: np.ndarray


def zero_inflation(*, observed: np.ndarray, mean: np.ndarray) -> ZeroInflation:
    r"""Likelihood-ratio test of extra zeros in each gene, its means known up to a factor.

    Both models have :math:`\log μ_{ij} = c_j + \log m_{ij}` with the given means m as offsets, so
    that differences between cells which m knows of do not pass for extra zeros. The NB has the
    parameters c and θ, the ZINB also π; each takes its maximum likelihood. π = 0 lies on the edge
    of its range, so the statistic is 0 or χ² with one degree of freedom, half of the time each.

    A gene is not testable with an average count below 0.5, without any zero, or with fewer than
    ten other counts (see docs/method.md for the power).

    Parameters
    ----------
    observed : ndarray, (cell, gene), raw counts
    mean : ndarray, (cell, gene), ≥ 0
        Expected counts of entries that were hidden from the model; their scale is free. Below
        1/1,000 of the gene's average mean they are lifted to it.

    Returns
    -------
    ZeroInflation. Reference: Self & Liang 1987, doi:10.1080/01621459.1987.10478472
    """
    testable = np.flatnonzero(
        (observed.mean(axis=0) >= LOWEST_AVERAGE)
        & ((observed > 0).sum(axis=0) >= FEWEST_NON_ZEROS)
        & (observed == 0).any(axis=0)
    )
    found = np.full((len(ZeroInflation.__dataclass_fields__), observed.shape[1]), np.nan)
    for first in range(0, len(testable), GENE_BLOCK):
        genes = testable[first : first + GENE_BLOCK]
        found[:, genes] = _tested(observed[:, genes], mean[:, genes])
    return ZeroInflation(*found)


def _tested(observed: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The fields of ``ZeroInflation`` in their order, (field, gene), of testable genes."""
    from countae.kernels.gene_table import GeneTable  # imports numba

    average = mean.mean(axis=0)
    offset = np.maximum(mean, np.where(average > 0, LOWEST_MEAN * average, 1.0))
    table = GeneTable.of(observed, offset)
    null, log_null = _fit_nb(table, _start(observed, offset))
    full, log_full = _fit_zinb(table, null)
    statistic = 2 * (log_full - log_null)
    gained = statistic > SMALLEST_STATISTIC
    statistic, log_full = np.where(gained, statistic, 0.0), np.where(gained, log_full, log_null)
    # at 0 lies half of the probability, so that p is 1 there
    p_value = np.where(gained, 0.5 * stats.chi2.sf(statistic, 1), 1.0)
    c, t, z = np.where(gained, full, np.stack([*null, np.full(len(gained), -np.inf)]))
    pi = 1 / (1 + np.exp(-z))
    scales, thetas = np.exp([null[0], c]), np.exp([null[1], t])
    return np.stack([statistic, p_value, pi, *scales, *thetas, log_null, log_full])


def _start(observed: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Raw parameters of the NB from moments, (2, gene)."""
    scale = observed.sum(axis=0) / offset.sum(axis=0)
    mean = scale * offset
    excess = ((observed - mean) ** 2 - mean).sum(axis=0)
    theta = (mean**2).sum(axis=0) / np.maximum(excess, 1e-3 * mean.sum(axis=0))
    return np.log([scale, np.clip(theta, 0.01, 100.0)])


def _fit_nb(table: GeneTable, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Raw parameters (c, log θ) of the NB's maximum, (2, gene), and its log-likelihood."""
    from countae.kernels import gene_table as at
    from countae.kernels.newton import maximise_per_gene

    def derivatives(
        raw: np.ndarray, genes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        f = table.sums(genes, raw[0], raw[1], np.full(len(genes), -np.inf))
        hessian = f[[[at.H_SS, at.H_ST], [at.H_ST, at.H_TT]]]
        return f[at.VALUE], f[[at.G_S, at.G_T]], hessian

    best, _ = maximise_per_gene(
        derivatives, start, tolerance=TOLERANCE, iterations=ITERATIONS, bounds=(LOW[:2], HIGH[:2])
    )
    return best, derivatives(best, np.arange(best.shape[1]))[0]


def _fit_zinb(table: GeneTable, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Raw parameters (c, log θ, logit π) of the ZINB's maximum, (3, gene), and its value.

    Climbs from the best of several starts around the NB's maximum that keep the gene's mean.
    """
    from countae.kernels import gene_table as at
    from countae.kernels.newton import maximise_per_gene

    def derivatives(
        raw: np.ndarray, genes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        f = table.sums(genes, raw[0], raw[1], raw[2])
        rows = [
            [at.H_SS, at.H_ST, at.H_SZ],
            [at.H_ST, at.H_TT, at.H_TZ],
            [at.H_SZ, at.H_TZ, at.H_ZZ],
        ]
        return f[at.VALUE], f[[at.G_S, at.G_T, at.G_Z]], f[rows]

    every = np.arange(null.shape[1])
    starts = np.stack(
        [np.stack([null[0] + np.logaddexp(0, z), null[1] + rise, np.full(len(every), z)])
         for z, rise in STARTS]
    )  # fmt: skip
    values = [derivatives(start, every)[0] for start in starts]
    start = starts[np.argmax(values, axis=0), :, every].T
    best, _ = maximise_per_gene(
        derivatives, start, tolerance=TOLERANCE, iterations=ITERATIONS, bounds=(LOW, HIGH)
    )
    return best, derivatives(best, every)[0]

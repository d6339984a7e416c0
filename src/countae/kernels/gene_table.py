r"""NB and ZINB log-likelihoods of many genes, with gradient and Hessian, from counts and means.

A gene's raw parameters are s, t and z: the mean of cell i is :math:`μ_i = m_i e^s` around given
:math:`m_i`, the inverse dispersion is :math:`θ = e^t`, and z is the logit of an extra zero, −∞
for the NB. This module imports numba: import it where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from countae.kernels.zinb_loops import DIRECT, all_sums, constants, sort_cells

# rows of the sums of GeneTable.sums
VALUE, G_S, G_T, G_Z, H_SS, H_ST, H_TT, H_SZ, H_TZ, H_ZZ = range(10)


@dataclass(frozen=True)
class GeneTable:
    """Counts and means sorted for the loops: gene by gene, cells without a count first.

    ``mean`` and ``count`` are (gene, cell); ``zeros`` (gene,) is the number of cells without a
    count, ``beyond`` (gene, 32) that of cells with a count above 0, 1, 2, …; ``total`` (gene,) is
    Σ x, ``constant`` (gene,) the part of the log-likelihood without parameters.
    """

    mean: np.ndarray
    count: np.ndarray
    zeros: np.ndarray
    beyond: np.ndarray
    total: np.ndarray
    constant: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray, mean: np.ndarray) -> GeneTable:
        """Sorted from raw counts and means > 0, (cell, gene) each."""
        x, m = (np.asarray(array, dtype=np.float64) for array in (counts, mean))
        zeros = (x == 0).sum(axis=0)
        sorted_mean, count = np.empty(x.shape[::-1]), np.empty(x.shape[::-1])
        beyond = np.zeros((x.shape[1], DIRECT))
        sort_cells(x, m, zeros, sorted_mean, count, beyond)
        constant = np.empty(len(count))
        constants(sorted_mean, count, zeros, constant)
        return cls(sorted_mean, count, zeros, beyond, x.sum(axis=0), constant)

    def sums(self, genes: np.ndarray, s: np.ndarray, t: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Value, gradient and Hessian in (s, t, z) of some genes, (10, some genes)."""
        out = np.empty((len(genes), 10))
        all_sums(self.mean, self.count, self.zeros, self.beyond, genes, s, t, z, out)
        out[:, VALUE] += self.constant[genes] + self.total[genes] * s
        return out.T

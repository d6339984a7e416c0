"""Parameters per gene, each drawn towards what genes of its level have in common.

The prior of a gene's first parameter is normal around its trend against the mean; its width is
what the genes' spread around the trend exceeds their standard errors by.
"""

from __future__ import annotations

import numpy as np

from countae.kernels.newton import Derivatives, maximise_per_gene

WIDE = 3.0  # standard deviation of the prior before the trend is known
NARROWEST_TREND = 0.1
ROUGH, FINE = 0.1, 3e-3  # on log and logit scales, where a gene's own error is .05 and more
TREND_WINDOW = 0.15  # share of genes in the running median


def most_probable(
    log_likelihood: Derivatives, centre: np.ndarray, width: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum a posteriori of every gene's parameters.

    Parameters
    ----------
    log_likelihood : callable
        See :data:`countae.kernels.newton.Derivatives`.
    centre, width : ndarray, (head, gene)
        Normal priors, where the search begins too; those of the first parameter are replaced by
        its trend once that is known.
    mean : ndarray, (gene,), > 0
        Level of each gene, against which the trend is taken.

    Returns
    -------
    best : ndarray, (head, gene)
    curvature : ndarray, (gene,), > 0
        Of the first parameter; 1/√curvature is its standard error.
    """
    rough = _posterior(log_likelihood, centre, width)
    free, curvature = maximise_per_gene(rough, centre, tolerance=ROUGH)
    centre, width = centre.copy(), width.copy()
    centre[0], width[0] = _trend(free[0], curvature, mean)
    fine = _posterior(log_likelihood, centre, width)
    return maximise_per_gene(fine, free, tolerance=FINE)


def _posterior(log_likelihood: Derivatives, centre: np.ndarray, width: np.ndarray) -> Derivatives:
    """The log-likelihood plus the logarithm of normal priors, (head, gene) each."""

    def derivatives(
        raw: np.ndarray, genes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        value, gradient, hessian = log_likelihood(raw, genes)
        precision = width[:, genes] ** -2
        pull = precision * (raw - centre[:, genes])
        value = value - 0.5 * (pull * (raw - centre[:, genes])).sum(axis=0)
        return value, gradient - pull, hessian - np.eye(len(raw))[..., None] * precision

    return derivatives


def _trend(found: np.ndarray, curvature: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, float]:
    """Running median of a gene parameter against the mean, and the spread of genes around it.

    Genes whose own standard error exceeds 1 say little of either and are left out, unless that
    leaves fewer than twenty.
    """
    square_error, level = 1 / curvature, np.log(mean)
    usable = square_error < 1.0
    if usable.sum() < 20:
        usable[:] = True
    order = np.flatnonzero(usable)[np.argsort(level[usable])]
    half = max(10, round(TREND_WINDOW * len(order) / 2))
    smooth = np.array(
        [np.median(found[order[max(0, i - half) : i + half + 1]]) for i in range(len(order))]
    )
    spread = 1.4826 * np.median(np.abs(found[order] - smooth))  # from the median deviation
    width = max(spread**2 - np.median(square_error[order]), NARROWEST_TREND**2) ** 0.5
    return np.interp(level, level[order], smooth), width

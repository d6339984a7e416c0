"""Maximising many small functions at once: one per gene, a few parameters each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LARGEST_STEP = 2.0
MOST_ENTRIES = 2**20  # (cell, gene) that a function by differences sees at once

# From parameters (head, some genes) and the index of these genes to value (some genes,),
# gradient (head, some genes) and Hessian (head, head, some genes).
Derivatives = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def maximise_per_gene(
    derivatives: Derivatives,
    start: np.ndarray,
    *,
    tolerance: float,
    iterations: int = 40,
    bounds: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum of a concave-enough function for every gene, by damped Newton steps.

    A step that does not improve a gene's value is refused for that gene and its damping grows;
    genes that have arrived are left out of further evaluations.

    Parameters
    ----------
    derivatives : callable
        Value, gradient and Hessian of some genes (see ``Derivatives``); a function that is known
        by its Torch value alone is made one by :func:`countae.kernels.autograd.by_autograd`.
    start : ndarray, (head, gene), float64
    tolerance : float
        A gene has arrived when no parameter moves by more.
    iterations : int
    bounds : (ndarray, ndarray), (head,) each, optional
        Lowest and highest value of each parameter, for functions that have no maximum but rise
        ever more slowly.

    Returns
    -------
    best : ndarray, (head, gene)
    curvature : ndarray, (gene,), > 0
        Of the first head, the others profiled out; 1/√curvature is its standard error.
    """
    low, high = bounds or (np.full(len(start), -np.inf), np.full(len(start), np.inf))
    best, damping = start.copy(), np.full(start.shape[1], 1e-3)
    active = np.arange(start.shape[1])
    value, gradient, hessian = (array.copy() for array in derivatives(best, active))
    for _ in range(iterations):
        at = best[:, active]
        step = _newton_step(hessian[..., active], gradient[:, active], damping[active])
        trial = np.clip(at + step, low[:, None], high[:, None])
        at_trial = derivatives(trial, active)
        better = at_trial[0] >= value[active]
        moved = active[better]
        best[:, moved] = trial[:, better]
        value[moved], gradient[:, moved] = at_trial[0][better], at_trial[1][:, better]
        hessian[..., moved] = at_trial[2][..., better]
        damping[active] *= np.where(better, 0.25, 8.0)
        active = active[np.abs(trial - at).max(axis=0) > tolerance]
        if not active.size:
            break
    return best, _profiled_curvature(hessian)


def by_differences(
    value: Callable[[np.ndarray, np.ndarray], np.ndarray], step: float, *, cells: int = 1
) -> Derivatives:
    """Derivatives of a function of one parameter by central differences.

    Parameters
    ----------
    value : callable
        From the parameter, (some genes,), and the index of these genes to (some genes,).
    step : float
        Large enough that differences of the values are no rounding.
    cells : int
        Behind each gene's value, so that no more genes are looked at together than fit.
    """
    width = max(1, MOST_ENTRIES // cells)

    def of_all(raw: np.ndarray, genes: np.ndarray) -> np.ndarray:
        parts = (slice(start, start + width) for start in range(0, len(genes), width))
        return np.concatenate([value(raw[part], genes[part]) for part in parts])

    def derivatives(
        raw: np.ndarray, genes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        below, at, above = (of_all(raw[0] + shift, genes) for shift in (-step, 0.0, step))
        slope, bend = (above - below) / (2 * step), (above - 2 * at + below) / step**2
        return at, slope[None], bend[None, None]

    return derivatives


def _newton_step(hessian: np.ndarray, gradient: np.ndarray, damping: np.ndarray) -> np.ndarray:
    """Step up the damped quadratic; where the curvature has the wrong sign its size is used."""
    values, vectors = np.linalg.eigh(np.moveaxis(hessian, -1, 0))
    size = np.abs(values) + damping[:, None] * (1 + np.abs(values))
    along = np.einsum("gij,ig->gj", vectors, gradient) / size
    return np.clip(np.einsum("gij,gj->ig", vectors, along), -LARGEST_STEP, LARGEST_STEP)


def _profiled_curvature(hessian: np.ndarray) -> np.ndarray:
    """Negative second derivative of the first head with the others at their best, ≥ 1e-12."""
    curvature = -hessian[0, 0]
    if len(hessian) > 1:
        values, vectors = np.linalg.eigh(np.moveaxis(hessian[1:, 1:], -1, 0))
        along = np.einsum("gij,ig->gj", vectors, hessian[0, 1:])
        curvature = curvature + (along**2 / np.minimum(values, -1e-12)).sum(axis=1)
    return np.maximum(curvature, 1e-12)

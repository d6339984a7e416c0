"""Maximising many small functions at once: one per gene, one or two parameters each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LARGEST_STEP = 2.0
DIFFERENCE = 1e-4

Objective = Callable[[Tensor, Tensor], Tensor]


def maximise_per_gene(
    objective: Objective, start: Tensor, *, tolerance: float, iterations: int = 40
) -> tuple[Tensor, Tensor]:
    """Maximum of a concave-enough function for every gene, by damped Newton steps.

    The gradient comes from autograd (genes do not share parameters, so one backward pass serves
    all), the Hessian from differences of gradients. A step that does not improve a gene's
    objective is refused for that gene and its damping grows; genes that have arrived are left
    out of further evaluations.

    Parameters
    ----------
    objective : callable
        From parameters (head, some genes) and the index of these genes to values (some genes,).
    start : Tensor, (head, gene), float64
    tolerance : float
        A gene has arrived when no parameter moves by more.
    iterations : int

    Returns
    -------
    best : Tensor, (head, gene)
    curvature : Tensor, (gene,), > 0
        Of the first head, the others profiled out; 1/√curvature is its standard error.
    """
    best, damping = start.clone(), torch.full_like(start[0], 1e-3)
    everything = active = torch.arange(start.shape[1])
    for _ in range(iterations):
        at = best[:, active]
        value, gradient = _value_and_gradient(objective, at, active)
        hessian = _hessian(objective, at, active, gradient)
        step = _newton_step(hessian, gradient, damping[active])
        better = objective(at + step, active) >= value
        best[:, active] = torch.where(better, at + step, at)
        damping[active] *= torch.where(better, 0.25, 8.0)
        active = active[step.abs().amax(dim=0) > tolerance]
        if not len(active):
            break
    gradient = _value_and_gradient(objective, best, everything)[1]
    return best, _profiled_curvature(_hessian(objective, best, everything, gradient))


def _value_and_gradient(objective: Objective, at: Tensor, genes: Tensor) -> tuple[Tensor, Tensor]:
    at = at.detach().requires_grad_()
    value = objective(at, genes)
    (gradient,) = torch.autograd.grad(value.sum(), at)
    return value.detach(), gradient


def _hessian(objective: Objective, at: Tensor, genes: Tensor, gradient: Tensor) -> Tensor:
    """Symmetric second derivatives, (head, head, gene)."""
    rows = []
    for head in range(len(at)):
        moved = at.clone()
        moved[head] += DIFFERENCE
        rows.append((_value_and_gradient(objective, moved, genes)[1] - gradient) / DIFFERENCE)
    hessian = torch.stack(rows)
    return 0.5 * (hessian + hessian.transpose(0, 1))


def _newton_step(hessian: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    """Step up the damped quadratic; where the curvature has the wrong sign its size is used."""
    values, vectors = torch.linalg.eigh(hessian.permute(2, 0, 1))
    size = values.abs() + damping[:, None] * (1 + values.abs())
    along = torch.einsum("gij,ig->gj", vectors, gradient) / size
    return torch.einsum("gij,gj->ig", vectors, along).clamp(-LARGEST_STEP, LARGEST_STEP)


def _profiled_curvature(hessian: Tensor) -> Tensor:
    """Negative second derivative of the first head with the others at their best, ≥ 1e-12."""
    curvature = -hessian[0, 0]
    if len(hessian) > 1:
        curvature = curvature + hessian[0, 1] ** 2 / hessian[1, 1].clamp(max=-1e-12)
    return curvature.clamp(min=1e-12)

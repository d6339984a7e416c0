"""Derivatives of functions of which only the value is written down, in Torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from countae.kernels.newton import Derivatives

DIFFERENCE = 1e-4

Objective = Callable[[Tensor, Tensor], Tensor]


def by_autograd(objective: Objective) -> Derivatives:
    """Derivatives for :func:`~countae.kernels.newton.maximise_per_gene`, in float64.

    The gradient comes from autograd (genes do not share parameters, so one backward pass serves
    all), the Hessian from differences of gradients.

    Parameters
    ----------
    objective : callable
        From parameters (head, some genes) and the index of these genes to values (some genes,).
    """

    def derivatives(
        at: np.ndarray, genes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        where, index = torch.as_tensor(at, dtype=torch.float64), torch.as_tensor(genes)
        value, gradient = _value_and_gradient(objective, where, index)
        hessian = _hessian(objective, where, index, gradient)
        return value.numpy(), gradient.numpy(), hessian.numpy()

    return derivatives


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

"""The encoder's input as lists of entries: a product of two matrices that skips what is zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from countae.fused.shares import Buffers, Share, Threads
from countae.protocols._base import Task


class SparseFeatures:
    """Input of a network that is mostly minus a gene's mean, and 0 where an entry is hidden.

    A linear layer takes it in place of a tensor, through Torch's protocol for such things; every
    other function is given ``dense`` instead. The layer's gradient is left in its ``grad``.

    Parameters
    ----------
    task : Task
    mean : ndarray, (gene,), float32
        What the input is measured from.
    dense : callable
        Makes the same as a tensor, (cell, gene).
    shares : sequence of Share
        Which have gathered the task.
    threads : Threads
    buffers : Buffers
    """

    def __init__(
        self,
        task: Task,
        mean: np.ndarray,
        dense: Callable[[], Tensor],
        shares: Sequence[Share],
        threads: Threads,
        buffers: Buffers,
    ) -> None:
        self.task, self.mean, self.dense = task, mean, dense
        self.shares, self.threads, self.buffers = shares, threads, buffers

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if function is linear and isinstance(args[0], cls) and _plain(args[1], args[0].mean):
            weight, bias = args[1], args[2] if len(args) > 2 else (kwargs or {}).get("bias")
            return _SparseLinear.apply(args[0], weight, bias)
        tensors = [_densified(value) for value in args]
        return function(*tensors, **{k: _densified(v) for k, v in (kwargs or {}).items()})

    def times(self, weight: Tensor) -> Tensor:
        """The features times the transpose of ``weight``, (width, gene)."""
        by_gene, cells = _by_gene(weight), len(self.task.exposure)
        parts = self.threads.each(
            lambda share: share.enter(by_gene, self.mean, cells), self.shares
        )
        out = self.buffers.get("product", cells, by_gene.shape[1])
        np.sum(parts, axis=0, out=out)
        out -= self.mean @ by_gene
        return torch.from_numpy(out.copy())

    def gradient(self, weight: Tensor, grad: Tensor) -> Tensor:
        """Gradient of ``weight`` from that of the product."""
        out = self.buffers.get("gradient", weight.shape[1], weight.shape[0])
        if holds(weight, out):
            out = np.empty_like(out)
        rows = grad.contiguous().numpy()
        self.threads.each(lambda share: share.leave(rows, self.mean, out), self.shares)
        return torch.from_numpy(out).t()


class _SparseLinear(torch.autograd.Function):
    """A linear layer of sparse features."""

    @staticmethod
    def forward(ctx: Any, features: SparseFeatures, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.features, ctx.weight, ctx.has_bias = features, weight, bias is not None
        product = features.times(weight)
        return product if bias is None else product.add_(bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor | None]:
        keep_gradient(ctx.weight, ctx.features.gradient(ctx.weight, grad))
        return None, None, grad.sum(dim=0) if ctx.has_bias else None


def keep_gradient(parameter: Tensor, gradient: Tensor) -> None:
    """Add to a parameter's ``grad`` without a copy where it has none yet."""
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def holds(parameter: Tensor, buffer: np.ndarray) -> bool:
    """Whether a buffer still is a parameter's gradient, because nobody has cleared it."""
    return parameter.grad is not None and parameter.grad.data_ptr() == buffer.ctypes.data


def _plain(weight: Tensor, mean: np.ndarray) -> bool:
    """Whether a layer's weights are a parameter that the fused product knows."""
    return weight.is_leaf and weight.dtype == torch.float32 and weight.shape[1] == len(mean)


def _by_gene(weight: Tensor) -> np.ndarray:
    """Weights as an array (gene, width); laid out in memory like that from the first time on."""
    if not weight.t().is_contiguous():
        with torch.no_grad():
            weight.data = weight.t().contiguous().t()
    return weight.detach().t().numpy()


def _densified(value: Any) -> Any:
    if isinstance(value, SparseFeatures):
        return value.dense()
    return type(value)(map(_densified, value)) if isinstance(value, list | tuple) else value

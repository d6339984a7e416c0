"""Loss and gradients of a step without any array of batch × genes × heads."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from countae.fused.features import SparseFeatures, keep_gradient
from countae.fused.heads import Cells, Head, head_of
from countae.fused.shares import MOST_ENTRIES, Buffers, Share, Threads
from countae.kernels import chosen_products as products
from countae.likelihoods._base import CompiledLoss, Likelihood
from countae.protocols._base import Task


def compiled_loss_of(likelihood: Likelihood) -> CompiledLoss | None:
    """A class's own compiled loss: one that inherits it may have changed what the loss is."""
    own = type(likelihood).__dict__.get("compiled_loss")
    return None if own is None else own(likelihood)


class FusedStep:
    """Value and gradient of a network's mean loss on a CPU, one task at a time; see :meth:`of`.

    The encoder's first product skips unseen counts. Hidden entries alone are multiplied out of
    the decoder's last layer; loss and slopes follow in one pass, and the gradients from these.
    Where all entries are wanted the products are dense, some genes at a time. Genes are shared
    among threads, so that one number of threads gives one result to the last bit.

    Parameters
    ----------
    model : CountAutoencoder
    loss : CompiledLoss
    heads : list of Head
        Those of the network that the loss asks for.
    """

    def __init__(self, model: Any, loss: CompiledLoss, heads: list[Head]) -> None:
        self.model, self.loss, self.heads = model, loss, heads
        genes = len(model.input_mean)
        self.threads, self.buffers = Threads(torch.get_num_threads()), Buffers()
        edges = np.linspace(0, genes, min(self.threads.number, genes) + 1).astype(int).tolist()
        self.shares = [Share(a, b) for a, b in pairwise(edges)]
        self.task: Task | None = None

    @classmethod
    def of(cls, model: Any) -> FusedStep | None:
        """The fused step of a network, or None where only the reference can train it.

        That is so on other devices, for a loss without a compiled one, for heads that are not
        one linear layer per entry head and one number per gene, or batch and gene, of the
        others, and for a network that is told conditions, draws its bottleneck or predicts the
        size of cells.
        """
        loss = compiled_loss_of(model.likelihood)
        if loss is None:
            return None
        if model.sampled is not None or model.log_size is not None or model.levels:
            return None
        found = [head_of(model, name, len(model.input_mean)) for name in loss.heads]
        heads = [head for head in found if head is not None]
        return cls(model, loss, heads) if len(heads) == len(found) else None

    def mean_loss(self, task: Task) -> Tensor:
        """Mean loss of the entries that a task wants; ``backward`` fills every ``grad``."""
        value: Tensor = _MeanLoss.apply(self._decoded(task), self, task)
        return value

    @torch.no_grad()
    def total_loss(self, task: Task) -> tuple[float, int]:
        """Sum of the losses of a task and their number, without gradients."""
        decoded = self._decoded(task)
        return self.score(task, decoded, None)[0], self.number(task)

    def number(self, task: Task) -> int:
        """Entries that a task, of which the lists are gathered, wants."""
        if task.mask is None:
            return len(task.exposure) * len(self.model.input_mean)
        return sum(len(tile.cell) for share in self.shares for tile in share.tiles)

    def score(self, task: Task, decoded: Tensor, scale: float | None) -> tuple[float, np.ndarray]:
        """Sum of the losses, and ``scale`` times its gradient in ``decoded``.

        The heads then hold ``scale`` times their part of the gradient. Without a scale all
        gradients are left out.
        """
        cells = Cells(decoded.detach().contiguous().numpy(), task.batch_code)
        if scale is not None:
            for head in self.heads:
                head.forget()
        if task.mask is None:
            return self._all_entries(task, cells, scale)
        found = self.threads.each(
            lambda share: self._hidden_entries(share, task, cells, scale), self.shares
        )
        return sum(total for total, _ in found), np.sum([part for _, part in found], axis=0)

    def _decoded(self, task: Task) -> Tensor:
        """The decoder's last layer for a task, of which the lists are then gathered."""
        self.task = task
        self.threads.each(lambda share: share.gather(task), self.shares)
        features = SparseFeatures(
            task, self.model.input_mean.numpy(),
            lambda: self.model.features(task.counts, task.size_factor, task.hidden),
            self.shares, self.threads, self.buffers,
        )  # fmt: skip
        return self.model.decode(features)

    def _hidden_entries(
        self, share: Share, task: Task, cells: Cells, scale: float | None
    ) -> tuple[float, np.ndarray]:
        """Losses of a share's hidden entries, tile by tile, some genes at a time."""
        of_rows, total = share.buffers.get("of_rows", *cells.rows.shape), 0.0
        of_rows[:] = 0
        for part in (part for tile in share.tiles for part in tile.parts()):
            exposure, of_own = task.exposure[part.cells], of_rows[part.cells]
            own = cells.some(part.cells)
            genes = slice(share.genes.start + part.first, share.genes.start + part.last)
            lanes = share.buffers.get("lanes", 1 + len(self.heads), len(part.cell))
            products.of_cells(part.cell, exposure, lanes[0])
            for head, lane in zip(self.heads, lanes[1:], strict=True):
                head.fill(lane, part.start, part.cell, own, genes)
            self.loss.run(part.count, lanes)
            total += products.total(lanes[0])
            if scale is not None:
                lanes[1:] *= np.float32(scale)
                for head, lane in zip(self.heads, lanes[1:], strict=True):
                    head.learn(lane, part.start, part.cell, own, of_own, genes)
        return total, of_rows

    def _all_entries(
        self, task: Task, cells: Cells, scale: float | None
    ) -> tuple[float, np.ndarray]:
        """Losses of all entries: some genes of every share at a time, in turn with the products.

        Torch multiplies with all threads, so its products are not left to them.
        """
        of_rows, total, number = np.zeros_like(cells.rows), 0.0, len(cells.rows)
        width = max(1, MOST_ENTRIES // number)
        longest = max(share.genes.stop - share.genes.start for share in self.shares)
        for begin in range(0, longest, width):
            blocks = (
                share.block(begin, width, number, 1 + len(self.heads)) for share in self.shares
            )
            parts = [block for block in blocks if block is not None]
            for genes, _, lanes, _ in parts:
                for head, lane in zip(self.heads, lanes[1:], strict=True):
                    head.fill_all(lane, cells, genes)
            total += sum(self.threads.each(lambda part: self._run(task, part, scale), parts))
            if scale is not None:
                for genes, _, lanes, _ in parts:
                    for head, lane in zip(self.heads, lanes[1:], strict=True):
                        head.learn_all(lane, cells, of_rows, genes)
        return total, of_rows

    def _run(
        self, task: Task, part: tuple[slice, np.ndarray, np.ndarray, Share], scale: float | None
    ) -> float:
        """Losses and slopes of all entries of some genes, in place; the sum of the losses."""
        genes, count, lanes, share = part
        share.dense_counts(genes, count)
        lanes[0] = task.exposure
        flat = lanes.reshape(len(lanes), -1)
        self.loss.run(count.reshape(-1), flat)
        if scale is not None:
            flat[1:] *= np.float32(scale)
        total: float = products.total(flat[0])
        return total


class _MeanLoss(torch.autograd.Function):
    """Mean loss as a function of the decoder's last layer; the heads learn on the way back."""

    @staticmethod
    def forward(ctx: Any, decoded: Tensor, step: FusedStep, task: Task) -> Tensor:
        ctx.step, ctx.task, number = step, task, step.number(task)
        total, of_rows = step.score(task, decoded, 1 / max(number, 1))
        ctx.save_for_backward(torch.from_numpy(of_rows))
        return decoded.new_tensor(total / max(number, 1))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        if ctx.step.task is not ctx.task:
            raise RuntimeError("call `backward` before the fused step is given another task")
        (of_rows,) = ctx.saved_tensors
        for head in ctx.step.heads:
            for parameter, gradient in zip(head.parameters, head.gradients, strict=True):
                keep_gradient(parameter, _times(torch.from_numpy(gradient), grad))
        return _times(of_rows, grad), None, None


def _times(gradient: Tensor, factor: Tensor) -> Tensor:
    """A gradient times a factor; itself where that is 1, as it is behind a loss."""
    return gradient if factor == 1 else gradient * factor

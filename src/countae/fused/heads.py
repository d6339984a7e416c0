"""Heads of a network at chosen entries: their values, and what slopes of these add up to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from countae.fused.features import holds
from countae.kernels import chosen_products as products


class Cells(NamedTuple):
    """What heads know of cells: the decoder's last layer, (cell, width), and batches, (cell,)."""

    rows: np.ndarray
    batch: np.ndarray

    def some(self, chosen: slice) -> Cells:
        """Some of the cells."""
        return Cells(self.rows[chosen], self.batch[chosen])


class Head(ABC):
    """One head; genes are given as a slice, lists of entries as in ``kernels.chosen_products``.

    ``of_rows`` is the gradient of the decoder's last layer, (cell, width). An optimiser moves
    ``parameters``; ``learn`` and ``learn_all`` add to the ``gradients`` of these.
    """

    def __init__(self, *parameters: Tensor) -> None:
        self.parameters = parameters
        self.gradients = [np.zeros(tuple(p.shape), np.float32) for p in parameters]

    @abstractmethod
    def fill(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, cells: Cells, genes: slice
    ) -> None:
        """The head's value of each entry into ``lane``."""

    @abstractmethod
    def learn(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, cells: Cells,
        of_rows: np.ndarray, genes: slice,
    ) -> None:  # fmt: skip
        """Add what ``lane``, the loss's slope in each value, means for the gradients."""

    @abstractmethod
    def fill_all(self, lane: np.ndarray, cells: Cells, genes: slice) -> None:
        """The same for all entries, ``lane`` (gene, cell)."""

    @abstractmethod
    def learn_all(self, lane: np.ndarray, cells: Cells, of_rows: np.ndarray, genes: slice) -> None:
        """The same for all entries."""

    def forget(self) -> None:
        """Begin new gradients; those that a parameter still holds are left to it."""
        for k, (parameter, kept) in enumerate(zip(self.parameters, self.gradients, strict=True)):
            if holds(parameter, kept):
                self.gradients[k] = np.zeros_like(kept)
            else:
                kept[:] = 0


class EntryHead(Head):
    """A linear layer, one value per entry."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.weight, layer.bias)

    def fill(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, cells: Cells, genes: slice
    ) -> None:
        weight, bias = (p.detach().numpy()[genes] for p in self.parameters)
        products.at_entries(start, cell, cells.rows, weight, bias, lane)

    def learn(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, cells: Cells,
        of_rows: np.ndarray, genes: slice,
    ) -> None:  # fmt: skip
        of_weight, of_bias = (gradient[genes] for gradient in self.gradients)
        products.add_to_weights(start, cell, lane, cells.rows, of_weight)
        products.add_to_rows(
            start, cell, lane, self.parameters[0].detach().numpy()[genes], of_rows
        )
        products.add_to_genes(start, lane, of_bias)

    def fill_all(self, lane: np.ndarray, cells: Cells, genes: slice) -> None:
        weight, bias = (p.detach()[genes] for p in self.parameters)
        torch.addmm(
            bias[:, None], weight, torch.from_numpy(cells.rows).t(), out=torch.from_numpy(lane)
        )

    def learn_all(self, lane: np.ndarray, cells: Cells, of_rows: np.ndarray, genes: slice) -> None:
        of_weight, of_bias = (gradient[genes] for gradient in self.gradients)
        slopes = torch.from_numpy(lane)
        torch.mm(slopes, torch.from_numpy(cells.rows), out=torch.from_numpy(of_weight))
        torch.from_numpy(of_rows).addmm_(slopes.t(), self.parameters[0].detach()[genes])
        np.sum(lane, axis=1, out=of_bias)


class GeneHead(Head):
    """A free parameter, one value per gene."""

    def __init__(self, value: nn.Parameter) -> None:
        super().__init__(value)
        self.value = value

    def fill(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, cells: Cells, genes: slice
    ) -> None:
        products.spread(start, self.value.detach().numpy()[genes], lane)

    def learn(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, cells: Cells,
        of_rows: np.ndarray, genes: slice,
    ) -> None:  # fmt: skip
        products.add_to_genes(start, lane, self.gradients[0][genes])

    def fill_all(self, lane: np.ndarray, cells: Cells, genes: slice) -> None:
        lane[:] = self.value.detach().numpy()[genes, None]

    def learn_all(self, lane: np.ndarray, cells: Cells, of_rows: np.ndarray, genes: slice) -> None:
        np.sum(lane, axis=1, out=self.gradients[0][genes])


class BatchHead(GeneHead):
    """A free parameter, (batch, gene)."""

    def fill(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, cells: Cells, genes: slice
    ) -> None:
        products.spread_by_group(
            start, cell, cells.batch, self.value.detach().numpy()[:, genes], lane
        )

    def learn(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, cells: Cells,
        of_rows: np.ndarray, genes: slice,
    ) -> None:  # fmt: skip
        products.add_to_groups(start, cell, cells.batch, lane, self.gradients[0][:, genes])

    def fill_all(self, lane: np.ndarray, cells: Cells, genes: slice) -> None:
        lane[:] = self.value.detach().numpy()[cells.batch, genes].T

    def learn_all(self, lane: np.ndarray, cells: Cells, of_rows: np.ndarray, genes: slice) -> None:
        np.add.at(self.gradients[0][:, genes], cells.batch, lane.T)


def head_of(model: Any, name: str, genes: int) -> Head | None:
    """A network's head, or None where it is not of the three kinds that are known."""
    layer = model.entry_heads[name] if name in model.entry_heads else None
    if type(layer) is nn.Linear and layer.bias is not None:
        known = layer.weight.is_leaf and layer.out_features == genes and _single(layer.weight)
        return EntryHead(layer) if known else None
    value = model.gene_heads[name] if name in model.gene_heads else None
    if value is None or value.shape[-1] != genes or not _single(value):
        return None
    kind, dimensions = (BatchHead, 2) if model.likelihood.heads[name] == "batch" else (GeneHead, 1)
    return kind(value) if value.dim() == dimensions else None


def _single(value: Tensor) -> bool:
    """Whether a tensor is in single precision, row by row, on the CPU."""
    return value.dtype == torch.float32 and value.device.type == "cpu" and value.is_contiguous()

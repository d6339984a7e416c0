"""Heads of a network at chosen entries: their values, and what slopes of these add up to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from countae.fused.features import holds
from countae.kernels import chosen_products as products


class Head(ABC):
    """One head; genes are given as a slice, lists of entries as in ``kernels.chosen_products``.

    ``rows`` is the decoder's last layer and ``of_rows`` its gradient, (cell, width).
    """

    @property
    @abstractmethod
    def parameters(self) -> list[Tensor]:
        """What the optimiser moves."""

    @property
    @abstractmethod
    def gradients(self) -> list[np.ndarray]:
        """Gradient of each, to which ``learn`` and ``learn_all`` add."""

    @abstractmethod
    def fill(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, rows: np.ndarray, genes: slice
    ) -> None:
        """The head's value of each entry into ``lane``."""

    @abstractmethod
    def learn(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, rows: np.ndarray,
        of_rows: np.ndarray, genes: slice,
    ) -> None:  # fmt: skip
        """Add what ``lane``, the loss's slope in each value, means for the gradients."""

    @abstractmethod
    def fill_all(self, lane: np.ndarray, rows: np.ndarray, genes: slice) -> None:
        """The same for all entries, ``lane`` (gene, cell)."""

    @abstractmethod
    def learn_all(
        self, lane: np.ndarray, rows: np.ndarray, of_rows: np.ndarray, genes: slice
    ) -> None:
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
        self.layer = layer
        self._gradients = [np.zeros(tuple(p.shape), np.float32) for p in self.parameters]

    @property
    def parameters(self) -> list[Tensor]:
        return [self.layer.weight, self.layer.bias]

    @property
    def gradients(self) -> list[np.ndarray]:
        return self._gradients

    def fill(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, rows: np.ndarray, genes: slice
    ) -> None:
        weight, bias = (p.detach().numpy()[genes] for p in self.parameters)
        products.at_entries(start, cell, rows, weight, bias, lane)

    def learn(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, rows: np.ndarray,
        of_rows: np.ndarray, genes: slice,
    ) -> None:  # fmt: skip
        of_weight, of_bias = (gradient[genes] for gradient in self.gradients)
        products.add_to_weights(start, cell, lane, rows, of_weight)
        products.add_to_rows(start, cell, lane, self.layer.weight.detach().numpy()[genes], of_rows)
        products.add_to_genes(start, lane, of_bias)

    def fill_all(self, lane: np.ndarray, rows: np.ndarray, genes: slice) -> None:
        weight, bias = (p.detach()[genes] for p in self.parameters)
        torch.addmm(bias[:, None], weight, torch.from_numpy(rows).t(), out=torch.from_numpy(lane))

    def learn_all(
        self, lane: np.ndarray, rows: np.ndarray, of_rows: np.ndarray, genes: slice
    ) -> None:
        of_weight, of_bias = (gradient[genes] for gradient in self.gradients)
        slopes = torch.from_numpy(lane)
        torch.mm(slopes, torch.from_numpy(rows), out=torch.from_numpy(of_weight))
        torch.from_numpy(of_rows).addmm_(slopes.t(), self.layer.weight.detach()[genes])
        np.sum(lane, axis=1, out=of_bias)


class GeneHead(Head):
    """A free parameter, one value per gene."""

    def __init__(self, value: nn.Parameter) -> None:
        self.value = value
        self._gradients = [np.zeros(tuple(value.shape), np.float32)]

    @property
    def parameters(self) -> list[Tensor]:
        return [self.value]

    @property
    def gradients(self) -> list[np.ndarray]:
        return self._gradients

    def fill(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, rows: np.ndarray, genes: slice
    ) -> None:
        products.spread(start, self.value.detach().numpy()[genes], lane)

    def learn(
        self, lane: np.ndarray, start: np.ndarray, cell: np.ndarray, rows: np.ndarray,
        of_rows: np.ndarray, genes: slice,
    ) -> None:  # fmt: skip
        products.add_to_genes(start, lane, self.gradients[0][genes])

    def fill_all(self, lane: np.ndarray, rows: np.ndarray, genes: slice) -> None:
        lane[:] = self.value.detach().numpy()[genes, None]

    def learn_all(
        self, lane: np.ndarray, rows: np.ndarray, of_rows: np.ndarray, genes: slice
    ) -> None:
        np.sum(lane, axis=1, out=self.gradients[0][genes])


def head_of(model: Any, name: str, genes: int) -> Head | None:
    """A network's head, or None where it is not of the two kinds that are known."""
    layer = model.entry_heads[name] if name in model.entry_heads else None
    if type(layer) is nn.Linear and layer.bias is not None:
        known = layer.weight.is_leaf and layer.out_features == genes and _single(layer.weight)
        return EntryHead(layer) if known else None
    value = model.gene_heads[name] if name in model.gene_heads else None
    if value is None or value.shape != (genes,) or not _single(value):
        return None
    return GeneHead(value)


def _single(value: Tensor) -> bool:
    """Whether a tensor is in single precision, row by row, on the CPU."""
    return value.dtype == torch.float32 and value.device.type == "cpu" and value.is_contiguous()

"""Training steps that never wait for their device; on several of them at once where wanted.

What a step needs is sent ahead and read by nobody: losses stay on the device until an epoch ends.
Nothing in the loop may ask for a number (``item``, ``float``, ``if tensor``); tests look.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from countae.devices import Place, seeded
from countae.errors import ConfigError
from countae.model import CountAutoencoder
from countae.protocols._base import Protocol
from countae.protocols._steps import Share, Step


class StepLoss(nn.Module):
    """A process's part of a step's loss, so that the mean over processes is the whole.

    Parameters
    ----------
    model : CountAutoencoder
    place : Place

    Attributes
    ----------
    penalty_weight : Tensor, ()
        What the KL divergence is multiplied by in this epoch.
    """

    penalty_weight: Tensor

    def __init__(self, model: CountAutoencoder, place: Place) -> None:
        super().__init__()
        self.model, self.processes = model, place.processes
        self.penalty_weight = torch.ones((), dtype=place.dtype, device=place.device)

    def forward(self, step: Step) -> Tensor:
        """Sum of the wanted losses over their number in the whole step, times the processes."""
        raw, size = self.model.head_values(
            step.counts, step.size_factor, step.hidden, step.condition, step.batch
        )
        with torch.autocast(step.counts.device.type, enabled=False):
            family, wanted = self.model.likelihood, step.wanted
            if family.by_cell:
                losses = family.loss_of_cells(step.target, wanted.to(size.dtype), raw, size)
            else:
                losses = family.loss(step.target, **family.constrain(raw, size))
            total = torch.where(wanted, losses, 0).sum()
            if self.model.sampled is not None:
                divergence = (self.model.sampled.divergence * step.real).sum()
                total = total + self.penalty_weight * divergence
            return total * (self.processes / step.number)


class Stepper:
    """Moves a network's weights by steps on a device.

    Parameters
    ----------
    model : CountAutoencoder
    data : Protocol
    place : Place
    compiled : bool
        Whether ``torch.compile`` makes the step.
    """

    def __init__(
        self, model: CountAutoencoder, data: Protocol, place: Place, *, compiled: bool
    ) -> None:
        self.model, self.data, self.place, self.compiled = model, data, place, compiled
        self.loss = StepLoss(model.to(place.device, place.dtype), place)
        if place.processes > 1:
            for parameter in unlearnt(self.loss):
                parameter.requires_grad_(False)  # else processes wait for its gradient
        made: Any = torch.compile(self.loss, dynamic=False) if compiled else self.loss
        self.module = place.wrapped(made)

    def epoch(
        self,
        batches: Sequence[np.ndarray],
        generator: torch.Generator,
        optimiser: torch.optim.Optimizer,
        warm_up: torch.optim.lr_scheduler.LRScheduler,
        penalty_weight: float,
    ) -> tuple[float, Step | None]:
        """A step for each batch of cells; weights stay as they are once a loss is not finite.

        Returns
        -------
        float, mean loss of the steps, over all processes
        Step, the whole one whose loss was the first that was not finite; or None
        """
        began, most = generator.get_state(), max(map(len, batches))
        losses = torch.zeros(len(batches), dtype=self.place.dtype, device=self.place.device)
        broken = torch.zeros((), device=self.place.device)
        optimiser.found_inf = broken  # type: ignore[attr-defined]  # fused ones then do nothing
        self.loss.penalty_weight.fill_(penalty_weight)
        for number, cells in enumerate(batches):
            step = self.step(cells, most, generator)
            optimiser.zero_grad()
            with compiling(self.compiled):
                loss = self.module(step)
            self.place.backward(loss)
            losses[number] = loss.detach()
            torch.maximum(broken, loss.detach().isfinite().logical_not().float(), out=broken)
            self.place.worst(broken)  # gradients are averaged: one process's spoil those of all
            optimiser.step()
            warm_up.step()
        values = [value / self.place.processes for value in self.place.total(losses)]
        if all(map(math.isfinite, values)):
            return math.fsum(values) / len(values), None
        first = next(i for i, value in enumerate(values) if not math.isfinite(value))
        generator.set_state(began)
        for cells in batches[: first + 1]:
            step = self.step(cells, most, generator, whole=True)
        return values[first], step

    def step(
        self,
        cells: np.ndarray,
        most: int,
        generator: torch.Generator,
        *,
        whole: bool = False,
    ) -> Step:
        """Step with some cells: the share of this process, or the whole."""
        place = (0, 1) if whole else (self.place.rank, self.place.processes)
        share = self.data.share(len(cells), most, *place)
        self._draw_for(share)
        filled = np.resize(cells, share.cells)  # repeats them
        return self.data.training_step(filled, generator, share)

    def _draw_for(self, share: Share) -> None:
        draws = self.model.draws
        draws.rows, draws.cells = share.rows, share.cells


@contextmanager
def compiling(wanted: bool) -> Iterator[None]:
    """Turn a failure of ``torch.compile``, where that is ``wanted``, into advice."""
    if not wanted:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        raise ConfigError(
            "training.implementation is compile, but torch.compile could not make a step here: "
            f"{str(error).strip().splitlines()[0][:200]}. Usually a compiler is missing, or does "
            "not know this device. Fix: set training.implementation to auto."
        ) from error


def unlearnt(loss: StepLoss) -> list[nn.Parameter]:
    """Parameters without a gradient: heads that the loss leaves open. No random state changes."""
    model = loss.model
    counts = model.input_mean.new_ones(2, len(model.input_mean), dtype=loss.penalty_weight.dtype)
    told = sum(map(len, model.levels.values()))
    step = Step(
        counts=counts, target=counts, size_factor=counts[:, :1], hidden=None, wanted=counts > 0,
        number=counts.sum(), real=counts[:, 0],
        condition=counts.new_zeros(2, told) if told else None,
        batch=torch.zeros(2, dtype=torch.long, device=counts.device),
    )  # fmt: skip
    parameters = list(model.parameters())
    with seeded(counts.device, 0):
        found = torch.autograd.grad(loss(step), parameters, allow_unused=True)
    return [p for p, gradient in zip(parameters, found, strict=True) if gradient is None]

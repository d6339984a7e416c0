"""Steps of training: what is minimised, how it is moved, and which implementation computes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from countae.devices import Place, random_states, set_random_states
from countae.kernels.precision import widened
from countae.model import CountAutoencoder, at
from countae.protocols._base import Protocol, Task
from countae.protocols._steps import Step
from countae.stepping import Stepper

if TYPE_CHECKING:
    from countae.fused import FusedStep

WARM_UP = 50  # steps over which the step size rises; with few cells an epoch is one step
GENE_HEAD_SPEED = 5.0  # step size of per-gene parameters, which get one gradient, not a layer's
ON_CPU = Place(torch.device("cpu"))
Found = tuple[Tensor, dict[str, Tensor]]


class Trainer:
    """A network's optimiser and steps, fused where that is possible and wanted.

    Parameters
    ----------
    model : CountAutoencoder
    data : Protocol
    settings : dict
        The configuration's section ``training``.
    place : Place, optional
        Where, in what precision and with how many processes; steps on a CPU, by one process and in
        single precision, are the ones that stop at once where a loss is not finite.
    """

    def __init__(
        self,
        model: CountAutoencoder,
        data: Protocol,
        settings: dict[str, Any],
        place: Place = ON_CPU,
    ) -> None:
        self.model, self.data, self.batch_size = model, data, settings["batch_size"]
        self.place = place
        implementation = settings.get("implementation", "auto")
        self.stepper: Stepper | None = None
        if place.fabric is not None or implementation == "compile":
            self.stepper = Stepper(model, data, place, compiled=implementation == "compile")
        self.epoch_steps = settings["epoch_steps"]
        step, per_gene = settings["learning_rate"], list(model.gene_heads.parameters())
        layers = [p for name, p in model.named_parameters() if not name.startswith("gene_heads.")]
        groups = [
            {"params": layers},
            {"params": per_gene, "lr": GENE_HEAD_SPEED * step, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(
            groups, lr=step, weight_decay=settings["weight_decay"], fused=True
        )
        self.warm_up = torch.optim.lr_scheduler.LinearLR(
            self.optimiser, 1 / WARM_UP, total_iters=WARM_UP
        )
        self.halve_after, self.idle = settings.get("halve_after", 0), 0
        self.fused: FusedStep | None = None
        if self.stepper is None and implementation != "reference":
            from countae.fused import FusedStep  # numba takes a third of a second to import

            self.fused = FusedStep.of(model)

    def epoch(
        self, number: int, cells: np.ndarray, generator: torch.Generator
    ) -> tuple[float, Task | Step | None]:
        """Train once on every cell, or on as many as ``epoch_steps`` steps take.

        The network is left in evaluation mode. ``number`` counts the epochs from 0.

        Returns
        -------
        float, mean training loss of the steps
        Task or Step, the one whose loss was not finite, with which training ended; or None
        """
        self.model.train()
        order = torch.randperm(len(cells), generator=generator).numpy()
        order = cells[order[: self.epoch_steps * self.batch_size]]
        batches = np.array_split(order, -(-len(order) // self.batch_size))
        failed: Task | Step | None
        if self.stepper is not None:
            loss, failed = self.stepper.epoch(
                batches, generator, self.optimiser, self.warm_up, self.model.penalty_weight(number)
            )
        else:
            with one_torch_thread(self.fused is not None):
                loss, failed = self._epoch(number, batches, generator)
        if failed is None:
            self.model.eval()
        return loss, failed

    def _epoch(
        self, number: int, batches: list[np.ndarray], generator: torch.Generator
    ) -> tuple[float, Task | None]:
        losses = []
        for batch in batches:
            task = self.data.training_task(batch, generator)
            self.optimiser.zero_grad()
            loss = self._loss(task, number)
            if not torch.isfinite(loss):
                return loss.item(), task
            loss.backward()
            self.optimiser.step()
            self.warm_up.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean()), None

    def epoch_ended(self, better: bool) -> None:
        """Halve the step size after so many epochs in a row that were not ``better``."""
        self.idle = 0 if better else self.idle + 1
        if self.halve_after and self.idle == self.halve_after:
            self.idle = 0
            for group in self.optimiser.param_groups:
                group["lr"] /= 2

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the next epoch depends on but the caller's generator: tensors, and the rest.

        The fused step has no state of its own: what it keeps between steps is only memory.
        """
        moments, groups = self.optimiser.state_dict().values()
        tensors = {f"weights/{name}": value for name, value in self.model.state_dict().items()}
        for number, kept in moments.items():
            tensors |= {f"optimiser/{number}/{name}": value for name, value in kept.items()}
        tensors |= random_states(self.data.device)
        rest = {"groups": groups, "warm_up": self.warm_up.state_dict(), "idle": self.idle}
        return tensors, rest

    def restore(self, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave, in the same layout in memory.

        Fused AdamW reads weights and moments side by side as they lie in memory, and the fused
        step turns the encoder's first weights round.
        """
        weights = members(tensors, "weights/")
        for name, held in self.model.state_dict(keep_vars=True).items():
            # a copy: the bits of a product depend on where in memory its factors begin
            held.data = weights[name].to(held.device, copy=True)
        moments: dict[int, dict[str, Tensor]] = {}
        for place, value in members(tensors, "optimiser/").items():
            number, name = place.split("/")
            moments.setdefault(int(number), {})[name] = value
        self.optimiser.load_state_dict({"state": moments, "param_groups": rest["groups"]})
        self.warm_up.load_state_dict(rest["warm_up"])
        self.idle = rest["idle"]
        set_random_states(self.data.device, tensors)

    def _loss(self, task: Task, epoch: int) -> Tensor:
        """What a step minimises."""
        if self.fused is not None:
            return self.fused.mean_loss(task)
        losses, _ = losses_of(self.model, task)
        return losses.mean() + self.model.penalty(epoch, losses.numel())


@contextmanager
def one_torch_thread(wanted: bool) -> Iterator[None]:
    """One thread for Torch's own operations, where ``wanted``.

    Its others would wait for the next small product by spinning, on the cores that the threads
    of a fused step need.
    """
    number = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(number)


def members(tensors: dict[str, Tensor], begin: str) -> dict[str, Tensor]:
    """Those whose names begin in one way, by the rest of their names."""
    return {
        name.removeprefix(begin): value
        for name, value in tensors.items()
        if name.startswith(begin)
    }


def losses_of(model: CountAutoencoder, task: Task | Step) -> Found:
    """Training loss of each entry that the task asks for, and the parameters behind it."""
    if model.likelihood.by_cell:
        return _losses_by_cell(model, task)
    groups = {"condition": task.condition, "batch": task.batch}
    parameters = model(task.counts, task.size_factor, task.hidden, task.entries, **groups)
    wanted = task.target if task.entries is None else task.target.reshape(-1)[task.entries]
    return model.likelihood.loss(wanted, **parameters), parameters


def _losses_by_cell(model: CountAutoencoder, task: Task | Step) -> Found:
    """The same for a loss of a cell's wanted counts together."""
    raw, size = model.head_values(
        task.counts, task.size_factor, task.hidden, task.condition, task.batch
    )
    wanted = torch.ones_like(task.target) if task.hidden is None else task.hidden
    losses = model.likelihood.loss_of_cells(task.target, wanted, raw, size)
    parameters = model.likelihood.constrain(raw, size)
    if task.entries is None:
        return losses, parameters
    chosen = {name: at(value, task.entries, losses.shape[1]) for name, value in parameters.items()}
    return at(losses, task.entries, losses.shape[1]), chosen


@torch.no_grad()
def validation_loss(
    model: CountAutoencoder,
    data: Protocol,
    cells: np.ndarray,
    fused: FusedStep | None = None,
    place: Place = ON_CPU,
) -> float:
    """Mean of the likelihood's own loss over hidden counts of ``cells``, of all processes.

    Each process has some of the cells; the number is read from the device once.
    """
    own = np.array_split(cells, place.processes)[place.rank]
    total: Tensor | float = 0.0
    number = 0
    with one_torch_thread(fused is not None):
        for block in data.blocks(own) if len(own) else ():
            for task in data.held_out_tasks(block):
                of_task = fused.total_loss(task) if fused else total_loss_of(model, task)
                total, number = total + of_task[0], number + of_task[1]
    if place.processes == 1:
        return float(total) / number
    both = torch.tensor([float(total), number], dtype=torch.float64, device=place.device)
    of_all = place.total(both)
    return of_all[0] / of_all[1]


def total_loss_of(model: CountAutoencoder, task: Task) -> tuple[Tensor, int]:
    """Sum of the losses of a task, (), and their number."""
    losses, _ = losses_of(model, task)
    (wide,) = widened(losses)
    return wide.sum(), losses.numel()

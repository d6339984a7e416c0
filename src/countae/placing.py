"""Where a cell that is predicted lies: where the encoder puts it, or where its counts want it.

An encoder guesses the latent coordinates of a cell in one pass. Those that fit the cell's visible
counts best, under the decoder as it is, are found by descending the loss of these counts from
that guess: the gap is known as the amortisation gap (Cremer et al. 2018,
doi:10.48550/arXiv.1801.03558), its narrowing as semi-amortised inference (Kim et al. 2018,
doi:10.48550/arXiv.1802.02550). Hidden counts have no part in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from countae.model import CountAutoencoder
from countae.protocols._base import Protocol, Task

STEP = 0.1  # of a coordinate, at first; encoders spread cells over a few units
ENTRIES = 2**20  # of a block whose cells are moved together


def located(network: CountAutoencoder, task: Task) -> tuple[Tensor, Tensor]:
    """Latent coordinates of a task's cells after ``latent_steps`` steps, and their sizes.

    Returns
    -------
    Tensor, (cell, latent)
    Tensor, (cell, 1), what multiplies the mean
    """
    if not network.latent_steps:
        return network.encoded(task.counts, task.size_factor, task.hidden, task.condition)
    moved = [[*path(network, part, network.latent_steps)][-1] for part in parts(network, task)]
    latent, size = zip(*moved, strict=True)
    return torch.cat(latent), torch.cat(size)


def path(network: CountAutoencoder, task: Task, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Coordinates and sizes of a task's cells at the start and after each of some steps.

    Each step is one of Adam on the loss of the visible counts; the network stays as it is.
    """
    with torch.no_grad():
        latent, size = network.encoded(task.counts, task.size_factor, task.hidden, task.condition)
    yield latent.clone(), size
    latent = latent.to(network.input_mean.dtype, copy=True).requires_grad_()
    optimiser = torch.optim.Adam([latent], lr=STEP)
    for _ in range(steps):
        with torch.enable_grad():
            (latent.grad,) = torch.autograd.grad(visible_loss(network, task, latent, size), latent)
        optimiser.step()
        yield latent.detach().clone(), size


@torch.no_grad()
def best_steps(network: CountAutoencoder, data: Protocol, cells: np.ndarray) -> int:
    """After how many steps hidden counts of ``cells`` are predicted best by the network's loss.

    Of at most ``latent_steps``; 0 where the encoder's own coordinates do best.
    """
    most = network.latent_steps
    total = np.zeros(most + 1)
    for block in data.blocks(cells) if most else ():
        for task in data.held_out_tasks(block):
            for part in parts(network, task):
                wanted = torch.ones_like(part.target) if part.hidden is None else part.hidden
                total += [
                    float(loss_at(network, part, part.target, wanted, *place))
                    for place in path(network, part, most)
                ]
    return int(np.argmin(np.where(np.isfinite(total), total, np.inf)))


def parts(network: CountAutoencoder, task: Task) -> Iterator[Task]:
    """A task in pieces whose cells are moved together."""
    width = max(1, ENTRIES // len(network.input_mean))
    return (task.some(slice(at, at + width)) for at in range(0, len(task.exposure), width))


def visible_loss(network: CountAutoencoder, task: Task, latent: Tensor, size: Tensor) -> Tensor:
    """Sum of the losses of what is visible of a task's cells at given coordinates, ()."""
    shown = torch.ones_like(task.counts) if task.hidden is None else 1 - task.hidden
    return loss_at(network, task, task.counts * shown, shown, latent, size)


def loss_at(
    network: CountAutoencoder,
    task: Task,
    counts: Tensor,
    wanted: Tensor,
    latent: Tensor,
    size: Tensor,
) -> Tensor:
    """Sum of the losses of the wanted ones of some counts at given coordinates, ()."""
    family, raw = network.likelihood, network.values_at(latent, task.condition, task.batch)
    if family.by_cell:
        losses = family.loss_of_cells(counts, wanted, raw, size)
    else:
        losses = family.loss(counts, **family.constrain(raw, size))
    return (losses * wanted).sum()


def held_out_parameters(network: CountAutoencoder, tasks: Iterable[Task]) -> dict[str, Tensor]:
    """Parameters for every entry of some cells, each predicted while it was hidden.

    Parameters
    ----------
    network : CountAutoencoder
        In evaluation mode.
    tasks : iterable of Task
        ``Protocol.held_out_tasks`` of the cells.

    Returns
    -------
    dict of Tensor, (cell, gene), or (gene,) where the parameter is one per gene
    """
    kept: dict[str, Tensor] = {}
    for task in tasks:
        for name, value in parameters_at(network, task, *located(network, task)).items():
            if value.dim() == 1 or task.entries is None:
                kept[name] = value
                continue
            wide = value.expand_as(task.counts)
            if name not in kept:
                kept[name] = torch.empty_like(task.counts)
            chosen = wide.reshape(-1).index_select(0, task.entries)
            kept[name].view(-1).index_copy_(0, task.entries, chosen)
    return kept


def parameters_at(
    network: CountAutoencoder, task: Task, latent: Tensor, size: Tensor
) -> dict[str, Tensor]:
    """The likelihood's parameters of a task's cells at given coordinates."""
    raw = network.values_at(latent, task.condition, task.batch)
    return network.likelihood.constrain(raw, size)

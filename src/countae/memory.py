"""What training takes of a device's memory, and what to do where that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from countae.devices import Place
from countae.errors import ConfigError
from countae.model import CountAutoencoder
from countae.protocols._base import BLOCK

PER_WEIGHT = 6  # numbers: weight, gradient, two moments, weight of the best epoch, exchanged
PER_ENTRY = 16  # numbers of a cell and gene that are held at once, without those of the heads
PER_HEAD = 20  # the same for each head of an entry: most are kept for the way back
PER_UNIT = 10  # the same for each hidden unit: layer, norm, activation, dropout
USABLE = 0.9  # of the memory; the rest is lost between blocks


def bytes_per_cell(model: CountAutoencoder) -> int:
    """Memory of a training step, per cell.

    The numbers of the formula bound what steps of all losses keep for the way back (a test), with
    room for what is computed from them.
    """
    genes, size = len(model.input_mean), model.input_mean.element_size()
    units = sum(len(p) for name, p in model.named_parameters() if name.endswith("bias")) - (
        genes * len(model.entry_heads)
    )
    return size * (genes * (PER_ENTRY + PER_HEAD * len(model.entry_heads)) + PER_UNIT * units)


def bytes_of_weights(model: CountAutoencoder) -> int:
    """Memory that does not depend on the number of cells."""
    return PER_WEIGHT * sum(p.numel() * p.element_size() for p in model.parameters())


def cells_that_fit(model: CountAutoencoder, free: int) -> int:
    """Cells of a step that ``free`` bytes have room for; none below 0."""
    return max(0, int((USABLE * free - bytes_of_weights(model)) // bytes_per_cell(model)))


def free_bytes(device: torch.device) -> int:
    """Memory of a GPU that other programs leave to this one."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)


@contextmanager
def enough_memory(model: CountAutoencoder, place: Place, batch_size: int) -> Iterator[None]:
    """Turn a device's lack of memory in training into advice.

    Raises
    ------
    ConfigError
        With the number of cells per step that would fit.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        each = -(-batch_size // place.processes)
        fit = cells_that_fit(model, free_bytes(place.device))
        raise ConfigError(
            f"{_lack(place.device, error)} A step of {batch_size} cells × "
            f"{len(model.input_mean):,} genes is {each} cells for each of {place.processes} "
            f"processes, about {_gigabytes(each * bytes_per_cell(model))} and "
            f"{_gigabytes(bytes_of_weights(model))} for weights. Fix: {_mend(fit, each, place)}"
        ) from error


@contextmanager
def enough_to_predict(model: CountAutoencoder, device: torch.device) -> Iterator[None]:
    """The same for predictions, which take ``BLOCK`` cells at once."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"{_lack(device, error)} Predictions take {BLOCK:,} cells × "
            f"{len(model.input_mean):,} genes at once. Fix: set `device` to cpu for this step, or "
            "take a device with more memory."
        ) from error


def _lack(device: torch.device, error: Exception) -> str:
    return f"{device} has not enough memory ({str(error).splitlines()[0][:200]})."


def _mend(fit: int, each: int, place: Place) -> str:
    """What helps where ``fit`` cells per process would have room, and ``each`` has not."""
    if fit < 1:
        return (
            "not even one cell fits beside the weights; prepare fewer genes, make "
            "`network.hidden` narrower, or set `device` to cpu."
        )
    fit = min(fit, each // 2) or 1  # what did not fit cannot have room
    return (
        f"set training.batch_size to {fit * place.processes} or less (all losses alike, since it "
        "changes results), share the cells of a step by more --devices, which does not, or set "
        "`device` to cpu."
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2g} GB"

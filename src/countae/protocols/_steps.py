"""What a process trains on in one step: its share of the step's cells, in tensors of one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from countae.protocols._base import Task


@dataclass(frozen=True)
class Share:
    """Which cells of a step are a process's own.

    Attributes
    ----------
    rows : slice
        Of the step's cells; beyond the last of these they begin anew, and do not count.
    cells : int
        Of the step, for all processes together: what is random is drawn for so many, whatever
        the number of processes.
    real : int
        How many of them count; those behind fill the step up to ``cells``.
    room : int
        Stored counts that so many rows have at most, if all steps are to have one shape.
    """

    rows: slice
    cells: int
    real: int
    room: int = 0

    @classmethod
    def exact(cls, real: int, rank: int, processes: int) -> Share:
        """The share of process ``rank`` where shapes may differ from step to step."""
        edges = np.linspace(0, real, processes + 1).astype(int).tolist()
        return cls(slice(edges[rank], edges[rank + 1]), real, real)

    @classmethod
    def filled(cls, real: int, most: int, rank: int, processes: int, room: int) -> Share:
        """The same where each process has as many cells as it needs if there are ``most``."""
        rows = -(-most // processes)
        return cls(slice(rank * rows, (rank + 1) * rows), most, real, room)

    @property
    def own(self) -> slice | np.ndarray:
        """The process's rows as an index of the step's cells."""
        if self.rows.stop <= self.cells:
            return self.rows
        return np.arange(self.rows.start, self.rows.stop) % self.cells


class Step:
    """Tensors of a share of a training step.

    It answers like a :class:`Task`, but loss and network are evaluated at every entry and
    ``wanted`` says which ones count, so that no shape depends on what is hidden. (It is no
    dataclass, since Fabric looks into these, and would round counts to bfloat16.)

    Parameters
    ----------
    counts, target : Tensor, (cell, gene)
    size_factor : Tensor, (cell, 1)
    hidden : Tensor, (cell, gene), or None
        1 where a count must not be looked at.
    wanted : Tensor, (cell, gene), bool
        Which losses count.
    number : Tensor, ()
        How many do in the whole step, over all processes.
    real : Tensor, (cell,)
        0 for cells that only fill the step up, else 1.
    condition : Tensor, (cell, category), or None
    batch : Tensor, (cell,), int64
    """

    entries = None  # all of them

    def __init__(
        self,
        *,
        counts: Tensor,
        target: Tensor,
        size_factor: Tensor,
        hidden: Tensor | None,
        wanted: Tensor,
        number: Tensor,
        real: Tensor,
        condition: Tensor | None,
        batch: Tensor,
    ) -> None:
        self.counts, self.target, self.size_factor = counts, target, size_factor
        self.hidden, self.wanted, self.number, self.real = hidden, wanted, number, real
        self.condition, self.batch = condition, batch

    @classmethod
    def of(cls, task: Task, share: Share) -> Step:
        """A share of a task of all the step's cells."""
        own = task.some(share.own)
        counts = own.seen.in_room(share.room, own.device, own.dtype)
        target = counts
        if own.wanted is not own.seen:
            target = own.wanted.in_room(share.room, own.device, own.dtype)
        real = is_real(share, counts)
        number = share.real * counts.shape[1]
        wanted = (real > 0)[:, None].expand_as(counts)
        if own.hidden is not None and task.mask is not None:
            number = int(np.count_nonzero(task.mask[:, : share.real]))
            wanted = wanted & (own.hidden > 0)
        return cls(
            counts=counts, target=target, size_factor=own.size_factor, hidden=own.hidden,
            wanted=wanted, number=counts.new_full((), number), real=real,
            condition=own.condition, batch=own.batch,
        )  # fmt: skip


def is_real(share: Share, like: Tensor) -> Tensor:
    """1 for each of a share's cells that counts, else 0, (cell,)."""
    place = torch.arange(share.rows.start, share.rows.stop, device=like.device)
    return (place < share.real).to(like.dtype)

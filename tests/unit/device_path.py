"""`countae` with a GPU's way to share and draw steps, on a CPU; also the processes that it starts.

Not a test itself: Fabric starts this file again for each further process.
"""

from __future__ import annotations

import torch

from countae.cli import main
from countae.protocols._base import Protocol
from countae.protocols._steps import Share
from countae.protocols.masked import Masked


def share(self: Protocol, real: int, most: int, rank: int = 0, processes: int = 1) -> Share:
    """As where the device is not a CPU."""
    room = int(self._most_stored[-(-most // processes) - 1])
    return Share.filled(real, most, rank, processes, room)


def training_step(self: Masked, cells, generator: torch.Generator, share: Share):
    """As where the device is not a CPU."""
    seed = int(torch.randint(2**62, (1,), generator=generator).item())
    return self.step_there(cells, seed, share)


if __name__ == "__main__":
    Protocol.share, Masked.training_step = share, training_step
    main()

"""Run `countae fit` again and again, killing it at a random place each time, until it ends.

Not a test itself: a process of its own, so that it may fork and be killed. Arguments: counts,
folder, seed of the kills, number of kills, then options of `countae fit`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import torch

import countae.checkpoint
import countae.fit
import countae.fused  # noqa: F401  loaded once, before all forks
from countae import files
from countae.cli import app


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def doom(rng: np.random.Generator, longest: float) -> None:
    """Arrange for this process to be killed: at any time, or in the middle of a write."""
    kind, number = rng.integers(4), int(rng.integers(1, 12))
    if kind == 0:
        original, written = Path.write_bytes, []

        def half(self: Path, content: bytes) -> int:
            written.append(original(self, content[: len(content) // 2]))
            return original(self, content) if len(written) < number else die()  # type: ignore[return-value]

        Path.write_bytes = half  # type: ignore[method-assign]
    elif kind == 1:
        replace, replaced = os.replace, []

        def late(old: object, new: object) -> None:
            replaced.append(new)
            die() if len(replaced) >= number else replace(old, new)  # type: ignore[call-overload]

        files.os.replace = late  # type: ignore[attr-defined]
    else:
        threading.Timer(rng.uniform(0, longest), die).start()


def run(words: list[str]) -> None:
    torch.set_num_threads(1)
    app(words, standalone_mode=False)


def main() -> None:
    counts, folder, seed, kills, *options = sys.argv[1:]
    rng = np.random.default_rng(int(seed))
    words = ["fit", counts, f"{folder}/model.safetensors", "--record", f"{folder}/fit.json"]
    died = 0
    for attempt in range(int(kills) + 1):
        child = os.fork()
        if not child:
            if attempt < int(kills):
                doom(rng, 0.6)
            run([*words, *options, "--checkpoint-seconds", "0"])
            os._exit(0)
        rng.integers(100, size=8)  # the child's stream is not the next child's
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            died += 1
        elif os.WEXITSTATUS(status):
            sys.exit(1)
        else:
            break
    print(died)


main()

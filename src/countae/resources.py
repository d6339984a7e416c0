"""Memory and time to ask a scheduler for: a line per step over the size of prepared counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from countae.files import read_json

WORKFLOW_MB = 350  # of a job is the workflow engine itself
MARGIN = 1.3  # of what is asked over the line through the measured peaks
SLOWEST = 4.0  # times slower than where it was measured may a processor be
MOVING = 1 / 60  # minutes per step of a million entries whose cells are moved (latent_steps)


@dataclass(frozen=True)
class Need:
    """What a step used, as a line over millions of entries (cell, gene) of the prepared counts.

    Measured from ``benchmark:`` files; docs/clusters.md compares it with what is asked.
    """

    megabytes: float  # without data: libraries
    megabytes_per_million: float
    minutes: float
    minutes_per_million: float
    most_cells: float = math.inf  # more cells need no more memory: they are read in blocks
    most_in_time: float = math.inf  # nor time: an epoch and what is scored are bounded
    predicted: float = 0.0  # how often entries are predicted


NEEDS = {
    "hide": Need(700, 10, 2, 0.1, 25_000),
    # pages of mapped counts among it: a scheduler may count them
    "fit": Need(680, 40, 5, 1.0, 15_000, 128_000, predicted=1),
    "tune_trial": Need(680, 40, 5, 1.0, 15_000, 128_000, predicted=1),
    "score": Need(680, 50, 5, 0.5, 25_000, 25_000, predicted=1),
    "bootstrap": Need(750, 60, 10, 3.0, most_in_time=128_000, predicted=6),
    "rehearse": Need(750, 80, 10, 3.0, most_in_time=128_000, predicted=6),
    "verdict": Need(300, 20, 5, 0.1, 25_000, 25_000),
    "export": Need(
        500, 20, 5, 0.1, 125_000, predicted=1
    ),  # of 2,000 genes; above, nothing dense is made
    "stress": Need(650, 95, 25, 5.0, most_in_time=128_000, predicted=6),  # up to five fits
    "stress_table": Need(250, 5, 2, 0.1),
    # scvi-tools trains for fewer epochs, the more cells there are, above 20,000
    "fit_peer": Need(700, 40, 5, 2.5, most_in_time=20_000),
    "downstream": Need(550, 90, 10, 3.0, predicted=2),
}


def entries(triage: str | Path, *, most_cells: float = math.inf) -> float:
    """Millions of entries (cell, gene) of prepared counts, from their ``triage.json``."""
    made: dict[str, Any] = read_json(triage)["modelled"]
    return min(made["cells"], most_cells) * made["genes"] / 1e6


def memory_mb(
    step: str, triage: str | Path, *, attempt: int = 1, processes: int = 1, beside: int = 0
) -> int:
    """Megabytes to ask for; an attempt after a failure asks for as much more.

    ``processes`` share a step's work, each with its own libraries and copy of the network; each
    needs ``beside`` megabytes for its device.
    """
    need = NEEDS[step]
    size = entries(triage, most_cells=need.most_cells)
    used = need.megabytes + need.megabytes_per_million * size
    return attempt * math.ceil(WORKFLOW_MB + processes * (MARGIN * used + beside))


def minutes(step: str, triage: str | Path, *, attempt: int = 1, latent_steps: int = 0) -> int:
    """Minutes to ask for; an attempt after a failure asks for as much more.

    ``latent_steps`` is that of the networks: predicting takes so many passes more.
    """
    need = NEEDS[step]
    size = entries(triage, most_cells=need.most_in_time)
    per_million = need.minutes_per_million + need.predicted * latent_steps * MOVING
    return attempt * math.ceil(SLOWEST * (need.minutes + per_million * size))

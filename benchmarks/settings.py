"""Time to quality: `python benchmarks/settings.py FOLDER OUTPUT`.

Trains each loss at every setting of step size, batch and schedule, and notes when each patience
would have stopped and what test cells are worth then: the log score of masked entries, in nats per
entry. A setting is *good* when its score is within 0.2 % of the best of its data set and loss.
Time is that of the processor, spent on training and validation; scoring is not counted. One JSON
line per run is kept, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import DATA, prepared, there

from countae import config, likelihoods, protocols
from countae.counts import CountMatrix
from countae.fit import SMALLEST_GAIN, calibrate, held_out_by_block
from countae.model import CountAutoencoder
from countae.noise import noise_cells
from countae.predict import Prediction
from countae.score import test_cells
from countae.start import best_constants
from countae.training import Trainer, validation_loss

CHOSEN = ["pbmc68k", "lung_celseq2", "neural_c1_reads", "pbmc8k_10x", "simulated_nb"]
LOSSES = ["mse_counts", "mse_log1p", "poisson", "nb", "zinb"]
RATES = [0.002, 0.004, 0.008, 0.016]
BATCHES = [64, 128, 256]
PATIENCES = [10, 20, 30, 50]
SCHEDULES = {"constant": 0, "halved after 5": 5, "halved after 10": 10}  # epochs without progress
NEAR, SLOW = 0.002, 1.5


@dataclass(frozen=True)
class Setting:
    """One point of the grid."""

    rate: float
    batch: int
    schedule: str
    patience: int


def one(matrix: CountMatrix, loss: str, point: Setting, seed: int = 0) -> list[dict[str, Any]]:
    """Seconds, epochs and test score at the stop of every patience, for one run to the largest."""
    settings = config.defaults("training") | {
        "learning_rate": point.rate, "batch_size": point.batch,
        "halve_after": SCHEDULES[point.schedule],
    }  # fmt: skip
    train, validation = (np.flatnonzero(matrix.part == name) for name in ("train", "validation"))
    data = protocols.get("masked")(matrix)
    torch.manual_seed(seed)
    family, began = likelihoods.get(loss)(), time.process_time()
    moments = best_constants(
        family, counts=matrix.target(train), size_factor=data.full_size_factor(train)
    )
    model = CountAutoencoder(family, moments, **config.defaults("network"))
    trainer, generator = Trainer(model, data, settings), torch.Generator().manual_seed(seed)
    best, best_epoch, best_state = np.inf, 0, model.state_dict()
    found, waiting = [], sorted(PATIENCES)
    for epoch in range(settings["max_epochs"]):
        trainer.epoch(epoch, train, generator)
        current = validation_loss(model, data, validation, trainer.fused)
        better = current < best - SMALLEST_GAIN * abs(best if np.isfinite(best) else 0.0)
        trainer.epoch_ended(better)
        if better:
            best, best_epoch = current, epoch
            best_state = {name: value.clone() for name, value in model.state_dict().items()}
        last = epoch + 1 == settings["max_epochs"]
        while waiting and (epoch - best_epoch >= waiting[0] or last):
            at, seconds = replace(point, patience=waiting.pop(0)), time.process_time() - began
            score = _score(model, matrix, best_state)
            found.append(asdict(at) | {"seconds": seconds, "epochs": epoch + 1, "score": score})
            began = time.process_time() - seconds
        if not waiting:
            break
    return found


@torch.no_grad()
def _score(model: CountAutoencoder, matrix: CountMatrix, state: dict[str, Any]) -> float:
    """Log score of test cells with the given weights; the model's own are put back."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    data, test = protocols.get("masked")(matrix), test_cells(matrix)
    calibrate(model, data, noise_cells(matrix))
    claim = Prediction.of(model.likelihood, held_out_by_block(model, data, test))
    score = float(-claim.log_pmf(matrix.counts[test].toarray().astype(np.float64)).mean())
    model.load_state_dict(own)
    return score


def show(rows: list[dict[str, Any]]) -> None:
    """Print what the default costs in score and time, and how often each setting is good."""
    default = _default()
    by_case: dict[tuple[str, str], dict[Setting, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        point = Setting(**{name: row[name] for name in Setting.__dataclass_fields__})
        by_case[row["data"], row["loss"]][point] = row
    print("| data | loss | best score | default | behind | good settings | fastest good one | its "
          "seconds | default's | ratio |")  # fmt: skip
    print("|---" * 10 + "|")
    tally: dict[Setting, list[tuple[float, float]]] = defaultdict(list)
    for (data, loss), found in by_case.items():
        best = min(row["score"] for row in found.values())
        good = {p: r for p, r in found.items() if r["score"] <= best + NEAR * abs(best)}
        fastest = min(good, key=lambda point: good[point]["seconds"])
        quickest, mine = good[fastest]["seconds"], found[default]
        for point, row in found.items():
            tally[point].append((row["score"] / best - 1, row["seconds"] / quickest))
        print(f"| {data} | {loss} | {best:.4f} | {mine['score']:.4f} "
              f"| {100 * (mine['score'] / best - 1):.2f} % | {len(good)} of {len(found)} "
              f"| {_named(fastest)} | {quickest:.1f} | {mine['seconds']:.1f} "
              f"| {mine['seconds'] / quickest:.2f} |")  # fmt: skip
    print(f"\n| setting | within {100 * NEAR:.1f} % | and at most {SLOW} × the fastest's time "
          "| mean distance | largest | median time ratio |")  # fmt: skip
    print("|---" * 6 + "|")
    order = sorted(tally, key=lambda p: np.mean([gap for gap, _ in tally[p]]))
    for point in [*order[:10], *([default] if default not in order[:10] else [])]:
        gaps, times = np.array(tally[point]).T
        good = gaps <= NEAR
        print(f"| {_named(point)} | {good.sum()} of {len(gaps)} "
              f"| {(good & (times <= SLOW)).sum()} | {100 * gaps.mean():.2f} % "
              f"| {100 * gaps.max():.2f} % | {np.median(times):.2f} |")  # fmt: skip


def _default() -> Setting:
    """The configuration's own setting."""
    own = config.defaults("training")
    schedule = next(name for name, idle in SCHEDULES.items() if idle == own["halve_after"])
    return Setting(own["learning_rate"], own["batch_size"], schedule, own["patience"])


def _named(point: Setting) -> str:
    return f"{point.rate:g}, {point.batch}, {point.schedule}, {point.patience}"


def main() -> None:
    """Run what is missing and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path, help="file of JSON lines; finished ones are kept")
    parser.add_argument("--data", nargs="+", default=CHOSEN, choices=list(DATA))
    parser.add_argument("--losses", nargs="+", default=LOSSES)
    parser.add_argument("--cells", type=int, default=2000, help="at most, of each data set")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--schedules", nargs="+", default=list(SCHEDULES), choices=list(SCHEDULES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = given.output.read_text().splitlines() if given.output.exists() else []
    rows = [json.loads(line) for line in lines]
    keys = ("data", "loss", "rate", "batch", "schedule")
    done = {tuple(row[key] for key in keys) for row in rows}
    for name in there(given.data, given.folder):
        matrix = prepared(name, given.folder, config.validated({}), given.cells)
        for loss, rate, batch, schedule in itertools.product(
            given.losses, given.rates, given.batches, given.schedules
        ):
            if (name, loss, rate, batch, schedule) in done:
                continue
            made = one(matrix, loss, Setting(rate, batch, schedule, max(PATIENCES)))
            made = [{"data": name, "loss": loss} | row for row in made]
            rows += made
            with given.output.open("a") as file:
                file.write("".join(json.dumps(row) + "\n" for row in made))
    show(rows)


if __name__ == "__main__":
    main()

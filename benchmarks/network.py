"""What options of network and training do: `python benchmarks/network.py FOLDER OUTPUT`.

FOLDER holds the .h5ad files named below; those that are missing are left out. Every option is one
change of the default, whose value is printed beside it: the log score of masked entries of test
cells, in nats per entry, that of validation cells, by which a choice may be made, and for squared
error its own loss. One JSON line per fit is kept, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from data import DATA, prepared, there

from countae import config
from countae.counts import CountMatrix
from countae.fit import fit, held_out_by_block
from countae.predict import Prediction
from countae.protocols._base import Task
from countae.protocols.masked import Masked

SMALL = [
    "pbmc68k", "lung_celseq2", "worm_10x", "tcells_umi", "th2_c1_reads", "simulated_nb",
]  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "dropout 0.1": {"dropout": 0.1},
    "dropout 0.5": {"dropout": 0.5},
    "norm batch": {"norm": "batch"},
    "norm none": {"norm": "none"},
    "variational": {"bottleneck": "variational"},
    "latent 20": {"latent": 20},
    "hidden 64": {"hidden": [64]},
    "hidden 256": {"hidden": [256]},
    "conditions": {"conditions": ["batch"]},
    "tied": {"weights": "tied"},
    "library predicted": {"library": "predicted"},
    "linear": {"activation": "linear", "norm": "none"},
    "hidden 32": {"hidden": [32]},
    "latent 5": {"latent": 5},
    "weight decay 0.1": {"weight_decay": 0.1},
    "weight decay 1": {"weight_decay": 1.0},
    "rate 0.001": {"learning_rate": 0.001},
    "rate 0.002": {"learning_rate": 0.002},
    "rate 0.008": {"learning_rate": 0.008},
    "patience 60": {"patience": 60},
    "batch 32": {"batch_size": 32},
    "hide 0.1": {"hide": 0.1},
    "hide 0.35": {"hide": 0.35},
    "hide 0.5": {"hide": 0.5},
}
HAVE_BATCHES = {"worm_10x"}
LOSSES = ["nb", "zinb", "mse_log1p"]


def hiding(share: float) -> Callable[..., Task]:
    """A training task that hides another share of the entries than scoring does."""

    def training_task(data: Masked, cells: np.ndarray, generator: torch.Generator) -> Task:
        seed = torch.randint(2**62, (1,), generator=generator).item()
        drawn = np.random.default_rng(int(seed)).random((data.matrix.counts.shape[1], len(cells)))
        return data._task(cells, drawn < share)

    return training_task


@torch.no_grad()
def one(matrix: CountMatrix, loss: str, seed: int, change: dict[str, Any]) -> dict[str, Any]:
    """Held-out log scores and own loss of one fit."""
    began = time.perf_counter()
    network, training = (
        {key: change.get(key, default) for key, default in config.defaults(section).items()}
        for section in ("network", "training")
    )
    hide = hiding(change["hide"]) if "hide" in change else Masked.training_task
    with torch.enable_grad(), mock.patch.object(Masked, "training_task", hide):
        model, record = fit(
            matrix, loss, seed=seed, network=network, training=training, device="cpu"
        )
    scores, data = {}, Masked(matrix, levels=model.levels)
    for part in ("validation", "test"):
        cells = np.flatnonzero(matrix.part == part)
        parameters = held_out_by_block(model, data, cells)
        counts = matrix.counts[cells].toarray().astype(np.float64)
        log_pmf = Prediction.of(model.likelihood, parameters).log_pmf(counts)
        scores[part] = float(-log_pmf.mean())
    own = model.likelihood.loss(torch.as_tensor(counts), **parameters).mean()
    return {
        "score": scores["test"], "validation": scores["validation"], "own": float(own),
        "epochs": len(record.train_loss), "stop": record.stop_reason,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip


def show(rows: list[dict[str, Any]]) -> None:
    """Print, per loss, the default's score and what each option adds to it, in Markdown.

    Differences are in thousandths and averaged over seeds; the first row's ± is half of the gap
    between the default's two seeds.
    """
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["loss"], row["option"], row["data"]), []).append(row)
    data = [name for name in DATA if any(row["data"] == name for row in rows)]
    for loss in LOSSES:
        for measure in ["score", "validation", *(["own"] if loss == "mse_log1p" else [])]:
            print(f"\n| {loss}, {measure} | " + " | ".join(data) + " | better on |")
            print("|---" * (len(data) + 2) + "|")
            for option in OPTIONS:
                cells = [_cell(found, loss, option, name, measure) for name in data]
                better = [text for text in cells if text.startswith("-")]
                known = [text for text in cells if text]
                tally = "" if option == "default" else f"{len(better)} of {len(known)}"
                print(f"| {option} | " + " | ".join(cells) + f" | {tally} |")


def _cell(found: dict, loss: str, option: str, name: str, measure: str) -> str:
    """Default's value, or an option's difference from it over the seeds that both have."""
    base, mine = (
        {row["seed"]: row[measure] for row in found.get((loss, kind, name), []) if measure in row}
        for kind in ("default", option)
    )
    seeds = sorted(base.keys() & mine.keys())
    if not seeds:
        return ""
    if option == "default":
        values = [base[seed] for seed in seeds]
        return f"{np.mean(values):.4f} ± {1000 * np.ptp(values) / 2:.1f}"
    gaps = [1000 * (mine[seed] - base[seed]) for seed in seeds]
    return f"{np.mean(gaps):+.1f}"


def main() -> None:
    """Run what is missing, the first seed of all first, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path, help="file of JSON lines; finished ones are kept")
    parser.add_argument("--data", nargs="+", default=SMALL, choices=list(DATA))
    parser.add_argument("--cells", type=int, default=800, help="at most, of each data set")
    parser.add_argument("--options", nargs="+", default=list(OPTIONS), choices=list(OPTIONS))
    parser.add_argument("--losses", nargs="+", default=LOSSES, choices=LOSSES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no fit after these")
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings, began = config.validated({}), time.perf_counter()
    data = there(given.data, given.folder)
    matrices = {name: prepared(name, given.folder, settings, given.cells) for name in data}
    lines = given.output.read_text().splitlines() if given.output.exists() else []
    rows = [json.loads(line) for line in lines]
    keys = ("data", "loss", "option", "seed")
    done = {tuple(row[key] for key in keys) for row in rows}
    for seed in given.seeds:
        for option in given.options:
            for name in data:
                for loss in given.losses:
                    key = (name, loss, option, seed)
                    missing = option == "conditions" and name not in HAVE_BATCHES
                    late = time.perf_counter() - began > 60 * given.minutes
                    if key in done or missing or late:
                        continue
                    row = dict(zip(keys, key, strict=True))
                    row |= one(matrices[name], loss, seed, OPTIONS[option])
                    rows.append(row)
                    with given.output.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    show(rows)


if __name__ == "__main__":
    main()

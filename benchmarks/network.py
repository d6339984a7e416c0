"""What options of the network do for predictions: `python benchmarks/network.py FOLDER OUTPUT`.

FOLDER holds the .h5ad files named below; those that are missing are left out. Every option is one
change of the default network, whose value is printed beside it: the log score of masked entries
of test cells, in nats per entry, and for squared error its own loss. One JSON line per fit is
kept, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import DATA, prepared, there

from countae import config
from countae.counts import CountMatrix
from countae.fit import fit, held_out_by_block
from countae.predict import Prediction
from countae.protocols.masked import Masked
from countae.score import test_cells

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
}
HAVE_BATCHES = {"worm_10x"}
LOSSES = ["nb", "zinb", "mse_log1p"]


@torch.no_grad()
def one(matrix: CountMatrix, loss: str, seed: int, network: dict[str, Any]) -> dict[str, Any]:
    """Held-out log score and own loss of one fit."""
    began, settings = time.perf_counter(), config.defaults("training")
    with torch.enable_grad():
        model, record = fit(
            matrix, loss, seed=seed, network=config.defaults("network") | network,
            training=settings, device="cpu",
        )  # fmt: skip
    test = test_cells(matrix)
    parameters = held_out_by_block(model, Masked(matrix, levels=model.levels), test)
    counts = matrix.counts[test].toarray().astype(np.float64)
    log_pmf = Prediction.of(model.likelihood, parameters).log_pmf(counts)
    own = model.likelihood.loss(torch.as_tensor(counts), **parameters).mean()
    return {
        "score": float(-log_pmf.mean()), "own": float(own), "epochs": len(record.train_loss),
        "stop": record.stop_reason, "seconds": time.perf_counter() - began,
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
        for measure in ["score", "own"] if loss == "mse_log1p" else ["score"]:
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
    base = {row["seed"]: row[measure] for row in found.get((loss, "default", name), [])}
    mine = {row["seed"]: row[measure] for row in found.get((loss, option, name), [])}
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

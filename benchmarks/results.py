"""Losses, baselines and peers on one table: `python benchmarks/results.py FOLDER`.

Every case, one contestant on one data set with one seed, is a process of its own with one thread
and leaves one JSON file in FOLDER. Cases that are there already are not run again, so that a run
that was broken off, or one with more seeds or data, goes on. Peers need `--peer-python`, a Python
with countae and its extra `peers`; without it they are left out with a message.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from data import DATA, prepared, there
from results_table import tables
from training import write_between

LOSSES = [
    "mse_counts", "mse_log1p", "poisson", "nb", "zip", "zinb", "hurdle_nb", "multinomial",
]  # fmt: skip
METRICS = [
    "log_score", "ranked_probability_score", "zero_fraction_error", "brier_zero",
    "pearson_variance", "nmi",
]  # fmt: skip


def counts_of(name: str, folder: Path, source: Path) -> Path:
    """The prepared counts of a data set, made when they are not there."""
    from countae import config

    path = folder / name / "counts.h5ad"
    if not path.exists():
        prepared(name, source, config.validated({})).save(path)
    return path


def summaries(scores: Any) -> dict[str, Any]:
    """Value of the data set per noise and metric, and log scores per cell and noise."""
    whole = scores.table.query("level == 'dataset' and id == ''")
    values: dict[str, dict[str, float | None]] = {}
    for noise, metric, value in zip(
        whole["noise"], whole["metric"], whole["value"], strict=True
    ):
        values.setdefault(noise, {})[metric] = float(value) if np.isfinite(value) else None
    of_cells = scores.cells.query("metric == 'log_score'").groupby("noise", sort=False)["value"]
    return {"values": values, "cells": {noise: [*value] for noise, value in of_cells}}


def run_case(counts: Path, contestant: str, seed: int, output: Path, given: str) -> None:
    """One case in this process: train where there is something to train, score, write."""
    import torch

    torch.set_num_threads(1)
    from countae import baselines, config, likelihoods
    from countae.counts import CountMatrix
    from countae.files import write_json
    from countae.fit import fit
    from countae.score import score_baseline, score_network

    matrix = CountMatrix.load(counts)
    began, used = time.perf_counter(), time.process_time()
    found: dict[str, Any] = {}
    if contestant in likelihoods.names():
        network, record = fit(
            matrix, contestant, seed=seed, network=config.defaults("network"),
            training=config.defaults("training"), device="cpu",
        )  # fmt: skip
        found = {
            "seconds": time.perf_counter() - began, "processor": time.process_time() - used,
            "epochs": len(record.train_loss), "stopped": record.stop_reason,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }  # fmt: skip
        scores = score_network(network, matrix, wanted=METRICS, device="cpu")
    else:
        baselines.check(contestant)
        scores = score_baseline(contestant, matrix, wanted=METRICS)
    write_json(
        output,
        {"contestant": contestant, "seed": seed, "cells": len(matrix.obs),
         "genes": len(matrix.gene_id)} | found | summaries(scores),
    )  # fmt: skip


def main() -> None:
    """Run what is missing and print the tables."""
    from countae.files import read_json

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for counts and finished cases")
    parser.add_argument("--source", type=Path, default=Path("."), help="folder with .h5ad files")
    parser.add_argument(
        "--data", nargs="+", default=["pbmc68k", "simulated_nb", "simulated_zinb"],
        choices=list(DATA),
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--losses", nargs="*", default=LOSSES)
    parser.add_argument("--only-table", action="store_true", help="run nothing")
    parser.add_argument("--write", type=Path, help="page to put the tables into")
    parser.add_argument("--case", nargs=4, metavar=("COUNTS", "NAME", "SEED", "OUTPUT"))
    options = parser.parse_args()
    if options.case:
        counts, name, seed, output = options.case
        run_case(Path(counts), name, int(seed), Path(output), "")
        return
    for seed in options.seeds:
        for name in there(options.data, options.source):
            counts = counts_of(name, options.folder, options.source)
            for loss in options.losses:
                output = options.folder / name / f"{loss}-seed{seed}.json"
                if output.exists() or options.only_table:
                    continue
                began = time.perf_counter()
                subprocess.run(
                    [sys.executable, __file__, str(options.folder), "--case", str(counts), loss,
                     str(seed), str(output)], check=True,
                    env=os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
                )  # fmt: skip
                print(output, f"{time.perf_counter() - began:.0f} s", flush=True)
    rows = {
        name: [read_json(path) for path in sorted((options.folder / name).glob("*-seed*.json"))]
        for name in options.data
    }
    text = tables(rows)
    print(text)
    if options.write:
        write_between(options.write, "results", text)


if __name__ == "__main__":
    main()

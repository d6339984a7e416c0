"""Losses, baselines and peers on one table: `python benchmarks/results.py FOLDER`.

Every case, one contestant on one data set with one seed, leaves one JSON file in FOLDER. Cases
that are there already are not run again, so that a run that was broken off, or one with more
seeds or data, goes on. Each network is a process of its own with one thread. `nb@dca` is the loss
nb with network and training of `config/dca.yaml` in place of the defaults. Peers need
`--peer-python`, a Python with countae and its extra `peers`; without it they are left out with a
message.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from data import DATA, prepared, there
from results_table import tables
from training import write_between

LOSSES = [
    "mse_counts", "mse_log1p", "poisson", "nb", "zip", "zinb", "hurdle_nb", "multinomial",
    "nb@dca", "zinb@dca",
]  # fmt: skip
BASELINES = [
    "gene_mean", "cluster_mean", "log1p_pca", "knn_smoothing", "magic", "alra", "glm_pca",
]  # fmt: skip
PEERS = ["scvi_zinb", "scvi_nb", "scvi_poisson", "scvi_normal"]
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
    for noise, metric, value in zip(whole["noise"], whole["metric"], whole["value"], strict=True):
        values.setdefault(noise, {})[metric] = float(value) if np.isfinite(value) else None
    of_cells = scores.cells.query("metric == 'log_score'").groupby("noise", sort=False)["value"]
    return {"values": values, "cells": {noise: [*value] for noise, value in of_cells}}


def settings_of(name: str) -> dict[str, Any]:
    """The defaults, changed by a file of `config/` where a name is given."""
    from countae import config

    path = Path(__file__).parents[1] / "config" / f"{name}.yaml"
    return config.validated(yaml.safe_load(path.read_text()) if name else {})


def train_and_score(counts: Path, contestant: str, seed: int, output: Path) -> None:
    """One of our networks."""
    from countae.fit import fit
    from countae.score import score_network

    loss, _, name = contestant.partition("@")
    settings = settings_of(name)
    own = {section: settings[section] for section in ("network", "training")}
    matrix, began, used = load(counts), time.perf_counter(), time.process_time()
    network, record = fit(matrix, loss, seed=seed, device="cpu", **own)
    cost = {
        "seconds": time.perf_counter() - began, "processor": time.process_time() - used,
        "memory": record.peak_memory_mb, "epochs": len(record.train_loss),
        "stopped": record.stop_reason,
    }  # fmt: skip
    write(output, matrix, contestant, seed, cost, score_network(network, matrix, wanted=METRICS))


def score_baselines(counts: Path, names: list[str], folder: Path) -> None:
    """Baselines of a data set, in one process: their memory is not measured."""
    from countae import baselines
    from countae.score import score_baseline, test_cells

    matrix = load(counts)
    for name in names:
        began, used = time.perf_counter(), time.process_time()
        baselines.get(name)().mean(matrix, test_cells(matrix))
        cost = {
            "seconds": time.perf_counter() - began, "processor": time.process_time() - used
        }  # fmt: skip
        scores = score_baseline(name, matrix, wanted=METRICS)
        write(folder / f"{name}-seed0.json", matrix, name, 0, cost, scores)
        print(folder.name, name, f"{time.perf_counter() - began:.0f} s", flush=True)


def score_peer(counts: Path, name: str, seed: int, predictions: Path) -> None:
    """What a peer predicted."""
    from countae.files import read_json
    from countae.score import score_predictions

    matrix, record = load(counts), read_json(predictions.with_suffix(".peer.json"))
    cost = {key: record[key] for key in ("seconds", "processor", "epochs", "versions")}
    scores = score_predictions(predictions, matrix, wanted=METRICS)
    cost["memory"] = record["peak_memory_mb"]
    write(predictions.with_suffix(".json"), matrix, name, seed, cost, scores)


def load(counts: Path) -> Any:
    """Prepared counts, with one thread for what is to come."""
    from countae.options import loaded

    return loaded(counts, threads=1)


def write(
    output: Path, matrix: Any, name: str, seed: int, cost: dict[str, Any], scores: Any
) -> None:
    """One finished case."""
    from countae.files import write_json

    case = {"contestant": name, "seed": seed, "genes": len(matrix.gene_id)}
    write_json(output, case | cost | summaries(scores))


def run_case(kind: str, counts: str, output: str, *words: str) -> None:
    """One process of this script."""
    if kind == "loss":
        train_and_score(Path(counts), words[0], int(words[1]), Path(output))
    elif kind == "peer":
        score_peer(Path(counts), words[0], int(words[1]), Path(output))
    else:
        score_baselines(Path(counts), list(words), Path(output))


def start(*words: object, python: str = sys.executable) -> None:
    """Run a process with one thread, and say how long it took."""
    began = time.perf_counter()
    one_thread = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    subprocess.run([python, *map(str, words)], check=True, env=os.environ | one_thread)
    print(*words[-3:], f"{time.perf_counter() - began:.0f} s", flush=True)


def run_baselines(counts: Path, names: list[str]) -> None:
    """Baselines that are not there, together."""
    truth = ["oracle"] if counts.parent.name.startswith("simulated") else []
    done = {path.name.removesuffix("-seed0.json") for path in counts.parent.glob("*-seed0.json")}
    lacking = [name for name in [*names, *truth] if name not in done]
    if lacking:
        start(__file__, ".", "--case", "baselines", counts, counts.parent, *lacking)


def run_losses(counts: Path, names: list[str], seed: int) -> None:
    """Losses that are not there, one by one."""
    for name in names:
        output = counts.parent / f"{name}-seed{seed}.json"
        if not output.exists():
            start(__file__, ".", "--case", "loss", counts, output, name, seed)


def run_peers(counts: Path, names: list[str], seed: int, python: str | None) -> None:
    """Peers that are not there: trained in their environment, scored in ours."""
    for name in names:
        output = counts.parent / f"{name}-seed{seed}.npz"
        record = output.with_suffix(".peer.json")
        if not record.exists() and python is None:
            print(f"{name} is left out: --peer-python names no Python with the extra `peers`.")
            continue
        if not record.exists():
            start(
                "-m", "countae", "peer", counts, output, "--record", record, "--peer", name,
                "--seed", seed, python=python,
            )  # fmt: skip
        if not output.with_suffix(".json").exists():
            start(__file__, ".", "--case", "peer", counts, output, name, seed)


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
    parser.add_argument("--baselines", nargs="*", default=BASELINES)
    parser.add_argument("--peers", nargs="*", default=PEERS)
    parser.add_argument("--peer-python", help="Python with countae and its extra `peers`")
    parser.add_argument("--only-table", action="store_true", help="run nothing")
    parser.add_argument("--write", type=Path, help="page to put the tables into")
    parser.add_argument("--case", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        run_case(*options.case)
        return
    if not options.only_table:
        for name in there(options.data, options.source):
            counts = counts_of(name, options.folder, options.source)
            run_baselines(counts, options.baselines)
            for seed in options.seeds:
                run_losses(counts, options.losses, seed)
                run_peers(counts, options.peers, seed, options.peer_python)
    rows = {
        name: [
            read_json(path)
            for path in sorted((options.folder / name).glob("*-seed*.json"))
            if not path.name.endswith(".peer.json")
        ]
        for name in options.data
    }
    text = tables(rows)
    print(text)
    if options.write:
        write_between(options.write, "results", text)


if __name__ == "__main__":
    main()

"""Two textbook claims under stress: `python benchmarks/stress.py FOLDER --write docs/stress.md`.

Is squared error on log1p fragile to outliers? Is ZINB better when test cells are sequenced less
deeply? Ten losses on the built-in PBMC data and on an NB and a ZINB simulation (600 × 200), two
seeds: trained with outliers, shown outliers, and scored on thinned test cells. One table per data
set, loss and seed is kept in FOLDER, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from data import prepared
from training import write_between

from countae import config
from countae.counts import CountMatrix
from countae.files import write_table
from countae.fit import fit
from countae.stress import wanted
from countae.stress_run import endure
from countae.stress_table import read_stressed, summarised
from countae.wording import short

SOURCES = {"Simulated NB": "simulated_nb", "Simulated ZINB": "simulated_zinb", "PBMC": "pbmc68k"}
LOSSES = [
    "mse_counts", "mse_log1p", "l1", "huber", "weighted_mse", "mahalanobis_mse", "poisson", "nb",
    "zinb", "multinomial",
]  # fmt: skip
TESTS = ["outliers=0.01", "outliers_input=0.01", "depth"]
SEEDS = 2


def run(matrix: CountMatrix, loss: str, seed: int, path: Path, settings: dict[str, Any]) -> None:
    """Train on clean counts, then everything in TESTS."""
    own = {name: settings[name] for name in ("network", "training")}
    network, record = fit(matrix, loss, seed=seed, **own)
    found = endure(matrix, network, vars(record), tests=wanted(TESTS), settings=settings["stress"])
    write_table(path, found)


def told(title: str, found: dict[str, Any]) -> list[str]:
    """Tables of one data set: the score as it is, and what each test adds to it."""
    lines = [f"### {title}", ""]
    lines += _of_noise(found, "own", "Own distribution of each loss")
    lines += _of_noise(found, "refitted", "NB noise refitted around each loss' means")
    return lines


def _of_noise(found: dict[str, Any], noise: str, title: str) -> list[str]:
    tests = found["tests"]
    heads = [
        (name, level)
        for name, test in tests.items()
        for level in dict.fromkeys(row["level"] for row in test["rows"])
        if level != test["clean"]
    ]
    rows = {
        (name, row["level"], row["likelihood"]): row
        for name, test in tests.items()
        for row in test["rows"]
        if row["noise"] == noise
    }
    clean = tests["depth"]["clean"]
    lines = [
        f"**{title}.** Score on clean counts, its lead over the null, then the change under each "
        "test and, in brackets, the lead over the refitted null that is left.", "",
        "| loss | clean | lead | " + " | ".join(f"{name} {level:g}" for name, level in heads)
        + " |",
        "|---" * (3 + len(heads)) + "|",
    ]  # fmt: skip
    for loss in LOSSES:
        first = rows["depth", clean, loss]
        cells = [f"{first['score']:.3f}", _lead(first)]
        for name, level in heads:
            row = rows[name, level, loss]
            change = row["change"]
            half = (change["high"] - change["low"]) / 2
            cells.append(f"{change['value']:+.3f} ± {half:.3f} ({_lead(row)})")
        lines.append(f"| {short(loss)} | " + " | ".join(cells) + " |")
    null = [rows["depth", clean, LOSSES[0]]["null"]]
    gaps = [rows[name, level, LOSSES[0]]["null"] - null[0] for name, level in heads]
    lines.append(f"| *null* | {null[0]:.3f} | | " + " | ".join(f"{g:+.3f}" for g in gaps) + " |")
    oracle = [rows["depth", clean, LOSSES[0]]["oracle"]]
    if oracle[0] is not None:
        gaps = [rows[name, level, LOSSES[0]]["oracle"] - oracle[0] for name, level in heads]
        lines.append(
            f"| *oracle* | {oracle[0]:.3f} | | " + " | ".join(f"{g:+.3f}" for g in gaps) + " |"
        )
    return [*lines, ""]


def _lead(row: dict[str, Any]) -> str:
    lead = row["lead"]
    return f"{lead['value']:+.3f}{'' if lead['low'] * lead['high'] > 0 else '?'}"


def main() -> None:
    """Run what is missing, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, help="page whose tables are renewed")
    parser.add_argument("--data", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings = config.validated({"simulate": {"n_cells": 600, "n_genes": 200}})
    lines = []
    for title in given.data:
        paths, name = [], SOURCES[title]
        matrix = prepared(name, given.folder, settings)
        for seed in range(SEEDS):
            for loss in LOSSES:
                paths.append(given.folder / name / f"{loss}-seed{seed}.parquet")
                if not paths[-1].exists():
                    run(matrix, loss, seed, paths[-1], settings)
        found = summarised(read_stressed(paths), level=settings["verdict"]["level"])
        lines += told(f"{title}, {len(matrix.obs):,} × {len(matrix.gene_id):,}", found)
    print("\n".join(lines))
    if given.write:
        write_between(given.write, "stress", "\n".join(lines).rstrip())


if __name__ == "__main__":
    main()

"""What textbooks say of stress: `python benchmarks/stress.py FOLDER --write docs/stress.md`.

Is squared error on log1p fragile to outliers? Is ZINB better when test cells are sequenced less
deeply? Ten losses on the built-in PBMC data and on an NB and a ZINB simulation (600 × 200):
trained with outliers, shown outliers, and scored on thinned test cells. What becomes of a cell
type, a batch or a composition that training has not seen, of heavy tails, and of library sizes of
other cells? Five losses on real counts. Two seeds. One table per data set, loss and seed is kept
in FOLDER, so an interrupted run goes on; `--finished` shows what is there.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import pandas as pd
from data import prepared, there
from training import write_between

from countae import config
from countae.comparison import difference
from countae.counts import CountMatrix
from countae.files import write_table
from countae.stress import wanted
from countae.stress_table import read_stressed, summarised
from countae.wording import short

LOSSES = [
    "mse_counts", "mse_log1p", "l1", "huber", "weighted_mse", "mahalanobis_mse", "poisson", "nb",
    "zinb", "multinomial",
]  # fmt: skip
FEW = ["mse_counts", "mse_log1p", "poisson", "nb", "zinb"]
CLAIMS = ["outliers=0.01", "outliers_input=0.01", "depth"]
# title: data, tests, losses
CASES = {
    "Simulated NB": ("simulated_nb", CLAIMS, LOSSES),
    "Simulated ZINB": ("simulated_zinb", CLAIMS, LOSSES),
    "PBMC": ("pbmc68k", CLAIMS, LOSSES),
    "PBMC, other changes": (
        "pbmc68k", ["heavy_tails", "library_size", "cell_type_shift", "composition_shift"], FEW,
    ),
    "Lung lines, CEL-seq2": ("lung_celseq2", ["composition_shift", "cell_type_shift"], FEW),
    "Worm embryo, 10x": ("worm_10x", ["library_size", "batch_shift", "cell_type_shift"], FEW),
}  # fmt: skip
SEEDS = 2


def run(
    matrix: CountMatrix,
    tests: list[str],
    loss: str,
    seed: int,
    path: Path,
    settings: dict[str, Any],
) -> None:
    """Train on clean counts, then what the tests ask for."""
    import torch

    from countae.fit import fit
    from countae.stress_run import endure

    torch.set_num_threads(1)
    own = {name: settings[name] for name in ("network", "training")}
    network, record = fit(matrix, loss, seed=seed, **own)
    found = endure(matrix, network, vars(record), tests=wanted(tests), settings=settings["stress"])
    write_table(path, found)


def told(title: str, table: pd.DataFrame, level: float) -> list[str]:
    """Tables of one data set: the score as it is, and what each test adds to it."""
    found = summarised(table, level=level)
    lines = [f"### {title}", ""]
    lines += _of_noise(found, "own", "Own distribution of each loss")
    lines += _of_noise(found, "refitted", "NB noise refitted around each loss' means")
    return lines + (_pair(table, level) if {"nb", "zinb"} <= {*table["likelihood"]} else [])


def _of_noise(found: dict[str, Any], noise: str, title: str) -> list[str]:
    rows = {
        (name, row["level"], row["likelihood"]): row
        for name, test in found["tests"].items()
        for row in test["rows"]
        if row["noise"] == noise
    }
    losses = [loss for loss in LOSSES if any(loss in key for key in rows)]
    clean = {name: test["clean"] for name, test in found["tests"].items()}
    heads = [key[:2] for key in rows if key[2] == losses[0] and key[1] != clean[key[0]]]
    first_test = next(iter(clean))
    starts = {loss: rows[first_test, clean[first_test], loss] for loss in losses}
    names = " | ".join(f"{name} {level:g}" for name, level in heads)
    lines = [
        f"**{title}.**", "", f"| loss (seeds) | clean (lead) | {names} |",
        "|---" * (2 + len(heads)) + "|",
    ]  # fmt: skip
    for loss, first in starts.items():
        cells = [f"{first['score']:.3f} ({_lead(first)})"]
        for name, level in heads:
            row = rows[name, level, loss]
            half = (row["change"]["high"] - row["change"]["low"]) / 2
            cells.append(f"{row['change']['value']:+.3f} ± {half:.3f} ({_lead(row)})")
        lines.append(f"| {short(loss)} ({first['seeds']}) | " + " | ".join(cells) + " |")
    for what in ("null", "oracle"):
        known = starts[losses[0]][what]
        if known is not None:
            gaps = [rows[name, level, losses[0]][what] - known for name, level in heads]
            told = " | ".join(f"{gap:+.3f}" for gap in gaps)
            lines.append(f"| *{what}* | {known:.3f} | {told} |")
    return [*lines, ""]


def _pair(table: pd.DataFrame, level: float) -> list[str]:
    """How much worse NB is than ZINB, paired by cell and seed."""
    table = table[table["likelihood"].isin(["nb", "zinb"])]
    lines = ["**NB less ZINB** (above 0, ZINB is better), paired by cell and seed.", "",
             "| | own distribution | NB noise refitted |", "|---|---|---|"]  # fmt: skip
    for (name, at), rows in table.groupby(["test", "level"], sort=False):
        if not lines[4:]:
            lines.append(_gap("clean", rows, ["clean_own", "clean_refitted"], level))
        lines.append(_gap(f"{name} {at:g}", rows, ["own", "refitted"], level))
    return [*lines, ""]


def _gap(head: str, rows: pd.DataFrame, columns: list[str], level: float) -> str:
    """A row of that table, of the seeds with which both losses were trained."""
    cells = []
    for column in columns:
        wide = rows.pivot(index="seed", columns=["likelihood", "cell"], values=column)
        wide = wide[["nb", "zinb"]].dropna()
        gap = (wide["nb"] - wide["zinb"]).to_numpy()
        found = difference(
            cell_difference=gap.mean(axis=0), seed_difference=gap.mean(axis=1), delta=0.0,
            level=level,
        )  # fmt: skip
        cells.append(f"{found.value:+.4f} ({found.interval[0]:+.4f} to {found.interval[1]:+.4f})")
    return f"| {head} | " + " | ".join(cells) + " |"


def _lead(row: dict[str, Any]) -> str:
    """Lead over the null, with a question mark where its interval holds 0."""
    lead = row["lead"]
    return f"{lead['value']:+.3f}{'' if lead['low'] * lead['high'] > 0 else '?'}"


def main() -> None:
    """Run what is missing, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, help="page whose tables are renewed")
    parser.add_argument("--source", type=Path, default=Path("."), help="folder with .h5ad files")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--losses", nargs="+", default=LOSSES, choices=LOSSES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--finished", action="store_true", help="train nothing, only tabulate")
    given = parser.parse_args()
    settings = config.validated({"simulate": {"n_cells": 600, "n_genes": 200}})
    lines = []
    for title in given.cases:
        data, tests, losses = CASES[title]
        cases = itertools.product(range(given.seeds), [n for n in losses if n in given.losses])
        paths = {
            given.folder / title.replace(" ", "_") / f"{loss}-seed{seed}.parquet": (loss, seed)
            for seed, loss in cases
        }
        missing = [path for path in paths if not path.exists()]
        if missing and not given.finished and there([data], given.source):
            matrix = prepared(data, given.source, settings)
            for path in missing:
                run(matrix, tests, *paths[path], path, settings)
        if done := [path for path in paths if path.exists()]:
            lines += told(title, read_stressed(done), settings["verdict"]["level"])
    print("\n".join(lines))
    if given.write:
        write_between(given.write, "stress", "\n".join(lines).rstrip())


if __name__ == "__main__":
    main()

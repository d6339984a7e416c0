"""What is said of real counts: `python benchmarks/real_data.py FOLDER OUTPUT`.

FOLDER holds the .h5ad files named below; those that are missing are left out. Each is prepared,
compared under masked entries with bootstrap, and, where asked, under the other hold-out protocols.
One JSON line per data set and protocol is kept, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import DATA, prepared, there

from countae import config
from countae.counts import CountMatrix
from countae.fit import load
from countae.gene_verdict import describe_genes
from countae.hold_out import hide
from countae.metrics.dispersion_standard_error import IDENTIFIABLE
from countae.rehearsal import compare, draw_simpler, fitted_design
from countae.story import questions
from countae.verdict import decide

REAL = [name for name, (source, *_) in DATA.items() if not source.startswith("simulate:")]


def one(matrix: CountMatrix, settings: dict[str, Any], protocols: list[str]) -> list[dict]:
    """Verdicts of one data set, the masked protocol first."""
    rows, networks = [], {}
    for protocol in ["masked", *protocols]:
        began = time.perf_counter()
        given = matrix
        if protocol != "masked":
            given = hide(matrix, protocol, network=networks["nb"], device="cpu")
        with tempfile.TemporaryDirectory() as place:
            results = compare(
                given, Path(place), likelihoods=settings["likelihoods"], seeds=settings["seeds"],
                settings=settings, device="cpu",
            )  # fmt: skip
            rule = {"dataset": protocol, "gene_table": describe_genes(given)}
            found, _ = decide(results, settings["verdict"], **rule)
            if protocol == "masked":
                model = results.existing("nb", settings["seeds"][0], "model.safetensors")
                networks["nb"] = load(model, matrix)
            drawn = {}
            if protocol == "masked" and questions(found):
                plan = fitted_design(networks["nb"], matrix, device="cpu")
                drawn = draw_simpler(matrix, plan, found, settings=settings, device="cpu")
                found, _ = decide(results, settings["verdict"], drawn=drawn, **rule)
            errors = [*results.gene_metric("nb", "nb", "dispersion_standard_error").values()]
        rows.append(
            {
                "protocol": protocol, "cells": len(matrix.obs), "genes": len(matrix.gene_id),
                "seconds": time.perf_counter() - began, "verdict": found,
                "identifiable": float(np.mean(np.array(errors) <= IDENTIFIABLE)),
                "replicates": {family: len(made) for family, made in drawn.items()},
            }
        )  # fmt: skip
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table in Markdown."""
    losses = list(rows[0]["verdict"]["axes"]["overall"]["scores"])
    print(
        "\n| data | protocol | cells × genes | " + " | ".join(losses) + " | gene mean, NB noise ",
        end="",
    )
    print("| gain (interval) | prediction | story | zero inflation |")
    print("|---" * (len(losses) + 8) + "|")
    for row in rows:
        axis, found = row["verdict"]["axes"]["overall"], row["verdict"]
        scores = " | ".join(f"{axis['scores'][name]:.4f}" for name in losses)
        said = axis["winner"] or f"{axis['outcome']} {'/'.join(axis['contenders'])}"
        story = found["story"]["family"] + (" (open)" if found["story"]["doubts"] else "")
        print(
            f"| {row['name']} | {row['protocol']} | {row['cells']} × {row['genes']} | {scores} "
            f"| {axis['null']:.4f} | {axis['null'] - min(axis['scores'].values()):.4f} | {said} "
            f"| {story} | {found['zero_inflation']['reason'].split(':')[0]} |"
        )


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path, help="file of JSON lines; finished ones are kept")
    parser.add_argument("--data", nargs="+", default=REAL, choices=list(DATA))
    parser.add_argument("--protocols", nargs="*", default=["thinning", "nb_splitting"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = config.validated({"seeds": options.seeds})
    lines = options.output.read_text().splitlines() if options.output.exists() else []
    rows = [json.loads(line) for line in lines]
    for name in there(options.data, options.folder):
        if name in {row["name"] for row in rows}:
            continue
        made = one(prepared(name, options.folder, settings), settings, options.protocols)
        rows += [{"name": name} | row for row in made]
        with options.output.open("a") as file:
            for row in made:
                file.write(json.dumps({"name": name} | row, default=float) + "\n")
        print(name, f"{sum(row['seconds'] for row in made):.0f} s", flush=True)
    show(rows)


if __name__ == "__main__":
    main()

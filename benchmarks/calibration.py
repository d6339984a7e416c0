"""What the verdict says of counts whose true family is known: `python benchmarks/calibration.py`.

Simulates data sets of every family at several depths, runs the whole comparison on each, and the
bootstrap of zero inflation where its first condition holds, exactly as the workflow does. Prints
the table "true family × verdict" and writes one JSON line per data set, so that an interrupted run
goes on where it stopped. A data set *can be told* when, around the true means, the family's own
distribution beats every simpler one by more than what does not matter and two standard errors.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from countae import config
from countae.baselines.oracle import Oracle
from countae.comparison import paired
from countae.config import Source
from countae.counts import CountMatrix
from countae.noise import fit_noise, noise_cells
from countae.prepare import prepare
from countae.rehearsal import judge
from countae.simulate import has_oracle

RIGHT = {
    "poisson": "poisson", "nb": "nb", "two_type_nb": "nb", "poisson_lognormal": "nb",
    "zinb": "zinb", "zinb_logistic": "zinb", "gaussian": "mse_counts",
}  # fmt: skip
SIMPLER = {
    "poisson": [], "nb": ["poisson"], "zinb": ["poisson", "nb"],
    "mse_counts": ["poisson", "nb", "zinb"],
}  # fmt: skip
DEPTHS = {"shallow": 1.0, "middle": 3.0, "deep": 10.0}  # mean count per gene and cell


def one(
    family: str, depth: str, seed: int, options: argparse.Namespace, settings: dict[str, Any]
) -> dict[str, Any]:
    """The verdict on one simulated data set."""
    began = time.perf_counter()
    size = {
        "n_cells": options.cells, "n_genes": options.genes, "simulation_seed": seed,
        "depth": DEPTHS[depth] * options.genes,
    }  # fmt: skip
    matrix, _ = prepare(
        Source(f"simulate:{family}", genes="all"), simulate=settings["simulate"] | size,
        quality=settings["quality"], genes=settings["genes"],
        held_out=settings["split"] | {"split_seed": seed},
    )  # fmt: skip
    found = judge(
        matrix, likelihoods=settings["likelihoods"], seeds=settings["seeds"], settings=settings,
        device="cpu",
    )  # fmt: skip
    overall = found["axes"]["overall"]
    kept = ("outcome", "best", "contenders", "recommended", "scores", "null", "delta", "pairs")
    return {
        "family": family, "depth": depth, "seed": seed,
        "told": can_be_told(matrix, family, settings["verdict"]),
        "axes": {name: (axis["outcome"], axis["best"]) for name, axis in found["axes"].items()},
        "story": found["story"], "overdispersion": found["overdispersion"],
        "zero_inflation": found["zero_inflation"], "sentence": found["sentence"],
        "seconds": time.perf_counter() - began,
    } | {key: overall[key] for key in kept}  # fmt: skip


def can_be_told(matrix: CountMatrix, family: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Whether the truth beats every simpler family around the true means, and by how much."""
    truth = Oracle().mean
    test, fitted = np.flatnonzero(matrix.part == "test"), noise_cells(matrix)
    counts, observed = (matrix.counts[c].toarray().astype(float) for c in (fitted, test))
    score: dict[str, np.ndarray] = {}
    for name in ("poisson", "nb", "zinb"):
        noise = fit_noise(
            name, counts=counts, mean=truth(matrix, fitted), size_factor=np.ones(len(fitted))
        )
        around = noise.around(truth(matrix, test), np.ones(len(test)))
        score[name] = -around.log_pmf(observed).mean(axis=1)
    if has_oracle(family):
        score["truth"] = -Oracle().prediction(matrix, test).log_pmf(observed).mean(axis=1)
    own = score.get("truth", score.get(RIGHT[family]))
    rule = {"delta": settings["equivalence"], "level": settings["level"]}
    gaps = {name: paired(own[None], score[name][None], **rule) for name in SIMPLER[RIGHT[family]]}
    return {
        "told": all(bool(gap.p_better <= settings["level"] / 2) for gap in gaps.values()),
        "gaps": {name: float(gap.value) for name, gap in gaps.items()},
    }


# the simpler story, and the step that it must leave open to contain the truth
STEP = {"zinb": ("nb", "zero_inflation"), "nb": ("poisson", "overdispersion")}
OPEN = {"zero_inflation": "zeros", "overdispersion": "dispersion", "normal_noise": "normal"}
STORY = {"mse_counts": "normal"}  # names of stories that differ from the loss that tells them


def verdict_of(row: dict[str, Any]) -> str:
    """The story that was told, and what of it was left open."""
    family = row["story"]["family"]
    left = [OPEN.get(name, name) for name in row["story"]["doubts"]]
    return STORY.get(family, family) + (f" ({' and '.join(left)} open)" if left else "")


def prediction_of(row: dict[str, Any]) -> str:
    """Which network predicts best, or those between which nobody can tell."""
    if row["outcome"] == "winner":
        return row["best"]
    return f"{row['outcome']} {'/'.join(sorted(row['contenders']))}"


def is_right(row: dict[str, Any]) -> bool:
    """Whether the story is that of the true family."""
    return RIGHT[row["family"]] == row["story"]["family"]


def contains(row: dict[str, Any]) -> bool:
    """Whether the story is right, or leaves open the very step by which it falls short."""
    story, truth = row["story"], RIGHT[row["family"]]
    if truth == "mse_counts" and "normal_noise" in story["doubts"]:
        return True
    family, missing = STEP.get(truth, ("", ""))
    return is_right(row) or (story["family"] == family and missing in story["doubts"])


def show(rows: list[dict[str, Any]]) -> None:
    """Print the tables in Markdown."""
    print("\n| true family | depth | can be told | story | right | right or open ", end="")
    print("| prediction | zeros asserted |")
    print("|---|---|---|---|---|---|---|---|")
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["family"], row["depth"]].append(row)
    for (family, depth), found in groups.items():
        told, right = sum(r["told"]["told"] for r in found), sum(map(is_right, found))
        either = sum(map(contains, found))
        asserted = sum(r["zero_inflation"]["asserted"] for r in found)
        print(
            f"| {family} | {depth} | {told}/{len(found)} | {_tally(map(verdict_of, found))} "
            f"| {right}/{len(found)} | {either}/{len(found)} "
            f"| {_tally(map(prediction_of, found))} | {asserted}/{len(found)} |"
        )
    told = [row for row in rows if row["told"]["told"]]
    plain = [row for row in rows if row["family"] in {"nb", "two_type_nb"}]
    false = sum(row["zero_inflation"]["asserted"] for row in plain)
    print(f"\nright where it can be told: {sum(map(is_right, told))}/{len(told)}")
    print(f"right or the missing step open there: {sum(map(contains, told))}/{len(told)}")
    print(
        f"right elsewhere: {sum(map(is_right, rows)) - sum(map(is_right, told))}"
        f"/{len(rows) - len(told)}"
    )
    print(f"false assertions of zero inflation in NB and two-type data: {false}/{len(plain)}")


def _tally(words: Iterable[str]) -> str:
    return "; ".join(f"{n} × {word}" for word, n in Counter(words).most_common())


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="file of JSON lines; finished ones are kept")
    parser.add_argument("--families", nargs="+", default=list(RIGHT), choices=list(RIGHT))
    parser.add_argument("--depths", nargs="+", default=list(DEPTHS), choices=list(DEPTHS))
    parser.add_argument("--data-seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cells", type=int, default=800)
    parser.add_argument("--genes", type=int, default=150)
    parser.add_argument("--bootstrap", type=int, default=19)
    options = parser.parse_args()
    torch.set_num_threads(1)
    verdict = config.defaults("verdict") | {"bootstrap": options.bootstrap}
    settings = config.validated({"seeds": options.seeds, "verdict": verdict})
    lines = options.output.read_text().splitlines() if options.output.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["family"], row["depth"], row["seed"]) for row in rows}
    for seed in options.data_seeds:
        for depth in options.depths:
            for family in options.families:
                if (family, depth, seed) in done:
                    continue
                rows.append(one(family, depth, seed, options, settings))
                with options.output.open("a") as file:
                    file.write(json.dumps(rows[-1], default=float) + "\n")
                row = rows[-1]
                print(
                    f"{row['seconds']:6.1f} s  {family:18} {depth:8} {seed}  {verdict_of(row)}",
                    flush=True,
                )
    show(rows)


if __name__ == "__main__":
    main()

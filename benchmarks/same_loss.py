"""How often the rule calls a loss different from itself: `python benchmarks/same_loss.py`.

Fits one loss with ten seeds on simulated data, parts the seeds into halves of five in every way,
and puts each pair of halves through the rule of the verdict as if they were two losses. Prints the
share of comparisons with a winner, per data set and in all, with and without the part of the error
that comes from seeds: leaving it out is what single-run comparisons do.
"""

from __future__ import annotations

import argparse
from itertools import combinations

import numpy as np
import torch

from countae import config
from countae.comparison import aa_error
from countae.config import Source
from countae.fit import fit
from countae.predict import predict_hidden
from countae.prepare import prepare
from countae.score import test_cells

SEEDS = range(10)


def scores(loss: str, family: str, data_seed: int, cells: int, genes: int) -> np.ndarray:
    """Log score per seed and test cell."""
    settings = config.validated({})
    size = {
        "n_cells": cells, "n_genes": genes, "depth": 3.0 * genes, "simulation_seed": data_seed,
    }  # fmt: skip
    matrix, _ = prepare(
        Source(f"simulate:{family}", genes="all"), simulate=settings["simulate"] | size,
        quality=settings["quality"], genes=settings["genes"],
        held_out=settings["split"] | {"split_seed": data_seed},
    )  # fmt: skip
    test = test_cells(matrix)
    observed = matrix.counts[test].toarray()
    found = []
    for seed in SEEDS:
        network, _ = fit(
            matrix, loss, seed=seed, network=settings["network"], training=settings["training"],
            device="cpu",
        )  # fmt: skip
        prediction = predict_hidden(network, matrix, test, device="cpu")
        found.append(-prediction.log_pmf(observed).mean(axis=1))
    return np.stack(found)


def single_runs(score: np.ndarray) -> float:
    """Share of pairs of single fits that differ by more than 1.96 errors of cells alone."""
    wrong = []
    for a, b in combinations(score, 2):
        gap = b - a
        wrong.append(abs(gap.mean()) > 1.96 * gap.std(ddof=1) / np.sqrt(len(gap)))
    return float(np.mean(wrong))


def main() -> None:
    """Print one line per loss and data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--losses", nargs="+", default=["nb", "zinb", "mse_log1p"])
    parser.add_argument("--families", nargs="+", default=["nb", "zinb"])
    parser.add_argument("--data-seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--cells", type=int, default=600)
    parser.add_argument("--genes", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rule = config.defaults("verdict")
    rates: dict[str, list[float]] = {"rule": [], "no delta": [], "single runs": []}
    print("| loss | data | rule, 5 v. 5 seeds | without δ | single runs, cells alone |")
    print("|---|---|---|---|---|")
    for loss in options.losses:
        for family in options.families:
            for seed in options.data_seeds:
                score = scores(loss, family, seed, options.cells, options.genes)
                found = {
                    "rule": aa_error(score, delta=rule["equivalence"], level=rule["level"]),
                    "no delta": aa_error(score, delta=0.0, level=rule["level"]),
                    "single runs": single_runs(score),
                }
                for name, value in found.items():
                    rates[name].append(value)
                shown = " | ".join(f"{value:.1%}" for value in found.values())
                print(f"| {loss} | {family} {seed} | {shown} |", flush=True)
    shown = " | ".join(f"{np.mean(values):.1%}" for values in rates.values())
    print(f"| all | | {shown} |")


if __name__ == "__main__":
    main()

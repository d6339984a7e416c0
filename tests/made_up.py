"""Results folders with chosen scores, for tests of the verdict and the story."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from countae.config import defaults
from countae.results import Results
from countae.verdict import decide

CELLS, GENES = 200, 30
COMPLEXITY = {"poisson": 0, "mse_log1p": 1, "nb": 1, "zinb": 3}
SETTINGS = defaults("verdict")


class World:
    """A results folder with chosen mean scores per loss.

    Scores of a cell are common to all losses (so that differences are paired) plus a loss'
    level, plus noise per cell, plus noise per seed.
    """

    def __init__(self, folder, *, seeds=(0, 1, 2), cell_noise=0.005, seed_noise=0.0005):
        self.folder, self.seeds = folder, list(seeds)
        self.rng = np.random.default_rng(7)
        self.cell_noise, self.seed_noise = cell_noise, seed_noise
        self.base = 1.0 + 0.3 * self.rng.random((CELLS, GENES))
        self.control_seeds = [max(self.seeds) + 1 + k for k in range(len(self.seeds))]
        self.dispersion_error = 0.2
        self.p_values = np.full(GENES, 0.5)

    def add(self, name, level, *, columns=None, stop="converged"):
        """One loss; ``columns`` are levels of each noise relative to ``level``."""
        usual = {"native": 0.0, "poisson": 0.2, "nb": 0.0, "zinb": 0.0, "mse_counts": 0.3}
        columns = usual | (columns or {})
        seeds = self.seeds + (self.control_seeds if name == "nb" else [])
        for seed in [0] if name == "gene_mean" else seeds:
            shift = self.seed_noise * self.rng.standard_normal()
            noise = self.cell_noise * self.rng.standard_normal((CELLS, 1))
            entries = {c: self.base + level + v + shift + noise for c, v in columns.items()}
            if name == "gene_mean":
                del entries["native"]
            self.write(name, seed, entries, stop)
        return self

    def write(self, name, seed, entries, stop):
        path = self.folder / name / f"seed{seed}"
        path.mkdir(parents=True, exist_ok=True)
        np.savez(path / "entries.npz", **{k: v.astype(np.float32) for k, v in entries.items()})
        cells = [
            pd.DataFrame(
                {
                    "noise": noise,
                    "metric": metric,
                    "id": ids(CELLS),
                    "value": scale * v.mean(axis=1),
                }
            )
            for noise, v in entries.items()
            for metric, scale in [("log_score", 1), ("brier_zero", 0.1)]
        ]
        pd.concat(cells).to_parquet(path / "cells.parquet", index=False)
        values = {
            "dispersion_standard_error": np.full(GENES, self.dispersion_error),
            "zero_inflation_test": self.p_values,
        }
        genes = [
            pd.DataFrame(
                {
                    "noise": "nb",
                    "metric": metric,
                    "level": "gene",
                    "id": ids(GENES),
                    "value": value,
                }
            )
            for metric, value in (values | {"log_score": entries["nb"].mean(axis=0)}).items()
        ]
        pd.concat(genes).to_parquet(path / "scores.parquet", index=False)
        if name in COMPLEXITY:
            record = {
                "title": name.upper(), "complexity": COMPLEXITY[name], "seed": seed,
                "stop_reason": stop,
            }  # fmt: skip
            (path / "fit.json").write_text(json.dumps(record))

    def decide(self, likelihoods, settings=None, nonzeros=100, **given):
        results = Results(self.folder, likelihoods, self.seeds, "nb", self.control_seeds)
        table = pd.DataFrame({"gene": ids(GENES), "nonzeros": nonzeros})
        verdict, genes = decide(
            results, SETTINGS | (settings or {}), dataset="made_up", gene_table=table, **given
        )
        json.dumps(verdict, allow_nan=False, default=float)
        return verdict, genes


def ids(n):
    return [f"id{i}" for i in range(n)]

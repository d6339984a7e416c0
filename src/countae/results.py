"""Scores of one data set, read from the folder in which the workflow left them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from countae.errors import ScoreError
from countae.files import read_array, read_json, read_table

NULL = "gene_mean"


@dataclass(frozen=True)
class Results:
    """Scores of one data set as the workflow left them below one folder.

    ``seeds`` are the compared ones, ``control_seeds`` the further ones of the A/A arm. Scores of
    other counts than those with the checksum ``counts``, where it is given, are refused.
    """

    folder: Path
    likelihoods: list[str]
    seeds: list[int]
    control: str
    control_seeds: list[int]
    counts: str = ""

    def cells(self, likelihood: str, seeds: list[int] | None = None) -> dict[tuple, np.ndarray]:
        """Scores per cell by (noise, metric), each (seed, cell)."""
        seeds = self.seeds if seeds is None else seeds
        paths = [self.existing(likelihood, seed, "cells.parquet") for seed in seeds]
        tables = [read_table(path) for path in paths]
        found: dict[tuple, list[np.ndarray]] = {}
        for path, table in zip(paths, tables, strict=True):
            self._check_counts(path, table.attrs.get("counts", ""))
            if not table["id"].equals(tables[0]["id"]):
                raise ScoreError(
                    f"{self.folder}: the fits of {likelihood} were scored on different cells. "
                    "Fix: "
                    "remove this folder and run the workflow again."
                )
            for key, rows in table.groupby(["noise", "metric"], sort=False):
                found.setdefault(key, []).append(rows["value"].to_numpy())
        return {key: np.stack(values) for key, values in found.items()}

    def _check_counts(self, path: Path, then: str) -> None:
        """Raise ScoreError when scores are of other counts than the data set's present ones."""
        if self.counts and then and then != self.counts:
            raise ScoreError(
                f"{path}: holds scores of other counts (checksum {then}) than "
                f"{self.folder / 'counts.h5ad'} has now (checksum {self.counts}). Usually "
                "`countae prepare` has run again since. Fix: fit and score again, or run the "
                "whole workflow."
            )

    def entries(self, likelihood: str, noise: str = "native") -> tuple[np.ndarray, np.ndarray]:
        """Log scores averaged over seeds, (cell, gene), and over cells, (seed, gene)."""
        total, per_seed = np.zeros(1, dtype=np.float32), []
        for seed in self.seeds if likelihood != NULL else [0]:
            score = read_array(self.existing(likelihood, seed, "entries.npz"), noise)
            total = total + score
            per_seed.append(score.mean(axis=0, dtype=np.float64))
        return total / np.float32(len(per_seed)), np.stack(per_seed)

    def gene_metric(
        self, likelihood: str, noise: str, metric: str, *, seeds: list[int] | None = None
    ) -> dict[str, float]:
        """A metric per gene name, averaged over seeds."""
        import pandas as pd

        columns = ["noise", "metric", "level", "id", "value"]
        tables = [
            read_table(self.existing(likelihood, seed, "scores.parquet"), columns)
            for seed in ([0] if likelihood == NULL else seeds or self.seeds)
        ]
        table = pd.concat(tables).query(
            "level == 'gene' and noise == @noise and metric == @metric"
        )
        if table.empty:
            raise ScoreError(
                f"{self.folder}: the scores of {likelihood} have no {metric} with {noise} "
                "noise, which the "
                "verdict needs. Fix: add it to `metrics`, or leave `metrics` empty for all."
            )
        return table.groupby("id", sort=False)["value"].mean().to_dict()

    def records(self) -> dict[str, list[dict[str, Any]]]:
        """Content of every fit.json by likelihood, those of the A/A arm included."""
        return {
            name: [
                read_json(self.existing(name, seed, "fit.json"))
                for seed in self.seeds + (self.control_seeds if name == self.control else [])
            ]
            for name in self.likelihoods
        }

    def verdict_of(self, protocol: str) -> Path:
        """The verdict under another hold-out protocol; ScoreError when it is not there."""
        path = self.folder / protocol / "verdict.json"
        if not path.is_file():
            raise ScoreError(
                f"{path}: is needed to compare protocols, but is not there. Fix: run `countae "
                f"verdict {path.parent}` first, or the whole workflow."
            )
        return path

    def existing(self, likelihood: str, seed: int, file: str) -> Path:
        """A file of one fit or baseline; ScoreError when the step that makes it has not run."""
        path = self.folder / likelihood / f"seed{seed}" / file
        if not path.is_file():
            raise ScoreError(
                f"{path}: is needed for the verdict, but is not there. Fix: run `countae "
                f"{'fit' if file == 'fit.json' else 'score'}` for {likelihood} and seed "
                f"{seed}, or "
                "the whole workflow."
            )
        return path

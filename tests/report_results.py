"""A small, complete set of results, as the workflow would leave them, without any training."""

from __future__ import annotations

import json
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pandas as pd

from countae.config import defaults
from countae.metrics.count_histogram import STARTS

TITLES = {"mse_log1p": "Squared error on log1p counts (MSE)", "nb": "Negative binomial (NB)",
          "zinb": "Zero-inflated negative binomial (ZINB)"}  # fmt: skip
MORE = {"poisson": "Poisson", "mse_counts": "Squared error on counts (MSE)"}  # not in every report
LEVEL = {"mse_log1p": 0.95, "nb": 0.87, "zinb": 0.88, "gene_mean": 0.99, "oracle": 0.85,
         "poisson": 0.9, "mse_counts": 0.97}  # fmt: skip
BY_GENE = ["log_score", "ranked_probability_score", "brier_zero", "expected_zero_fraction",
           "zero_fraction_error", "implied_variance", "pearson_variance", "coverage_90",
           "poisson_deviance_explained", "mse_log1p", "poisson_loss", "pit_total_variation",
           "dispersion_standard_error"]  # fmt: skip
N_GENES = 40
NOISES = ["poisson", "nb", "zinb", "mse_counts"]


def bootstrap(met: bool, observed: float, largest: float) -> dict:
    """A condition that was compared with simulated data."""
    return {"met": met, "observed": observed, "bootstrap_mean": largest / 2, "p": 0.00123,
            "bootstrap_largest": largest, "replicates": 5}  # fmt: skip


FINDING = {
    "finding": "empty", "severity": "warning", "what": "2 cells have no count at all.",
    "consequence": "They have no library size.", "fix": "leave them out",
    "cells": {"total": 2, "names": ["cell7", "cell9"]}, "genes": {"total": 0, "names": []},
}  # fmt: skip


class Results:
    """Writes results below a folder; the attributes can be changed before :meth:`write`."""

    def __init__(self, root: Path) -> None:
        self.root, self.dataset, self.folder = root, "toy", "toy"
        self.losses, self.seeds, self.control_seeds = list(TITLES), [0, 1, 2], [3, 4, 5]
        self.genes = [f"gene{k}" for k in range(N_GENES)]
        self.metrics = [*BY_GENE, "pit_histogram", "zero_reliability"]
        self.labels: list[str] | None = ["B", "T", "NK"]
        self.label_key = "cell_type"
        self.source = "/home/someone/secret/toy.h5ad"
        self.outcome, self.oracle, self.stop_reason = "tie", False, "converged"
        self.notes: list[str] = []
        self.findings: list[dict] = [FINDING]
        self.family, self.doubts, self.errors_by = "nb", ["zero_inflation"], "cell"
        self.protocols: dict[str, dict] = {}
        self.referee: dict | None = None
        self.stress: dict | None = None
        self.downstream: dict | None = None
        self.zero_tests = self.histograms = True

    @property
    def path(self) -> Path:
        return self.root / self.folder

    def write(self) -> Path:
        for loss in self.losses:
            for seed in self.seeds + (self.control_seeds if loss == "nb" else []):
                self._json(f"{loss}/seed{seed}/fit.json", self.fit(loss, seed))
                self._parquet(f"{loss}/seed{seed}/scores.parquet", self.scores(loss, seed, True))
        self._parquet("gene_mean/seed0/scores.parquet", self.scores("gene_mean", 0, False))
        if self.oracle:
            self._parquet("oracle/seed0/scores.parquet", self.scores("oracle", 0, True))
        self._json("triage.json", self.triage())
        self._json("verdict.json", self.verdict())
        self._parquet("verdict_genes.parquet", self.gene_table())
        if self.referee:
            self._json("referee.json", self.referee)
        if self.stress:
            self._json("stress.json", self.stress)
        if self.downstream:
            self._json("downstream.json", self.downstream)
        self._h5ad()
        return self.path

    def _json(self, name: str, content: dict) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))

    def _parquet(self, name: str, table: pd.DataFrame) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path, index=False)

    def mean(self) -> np.ndarray:
        return np.geomspace(0.05, 20, len(self.genes))

    def fit(self, loss: str, seed: int) -> dict:
        epochs = 20 + seed
        curve = (1 + np.exp(-np.arange(epochs) / 5)).tolist()
        return {
            "likelihood": loss, "title": (TITLES | MORE)[loss], "complexity": 1, "seed": seed,
            "reference": "10.1038/nmeth.2930", "genes": self.genes, "device": "cpu",
            "network": defaults("network"),
            "training": {"learning_rate": 0.004, "halve_after": 5, "batch_size": 128,
                         "max_epochs": 1000, "patience": 30, "weight_decay": 0.0},
            "threads": 1, "warm_up_steps": 50, "parameters": 1234,
            "train_loss": curve, "validation_loss": curve,
            "best_epoch": epochs - 1, "stop_reason": self.stop_reason, "seconds": 3.25,
            "peak_memory_mb": 440.1, "versions": {"countae": "0.1.0", "torch": "2.13.0"},
        }  # fmt: skip

    def gene_value(self, metric: str, contestant: str, seed: int) -> np.ndarray:
        mean, level = self.mean(), LEVEL[contestant]
        value = {
            "expected_zero_fraction": np.exp(-mean),
            "implied_variance": mean + mean**2 / 2,
            "zero_fraction_error": np.linspace(-0.15, 0.17, len(mean)),
            "coverage_90": np.full(len(mean), 0.9),
            "poisson_deviance_explained": level + np.linspace(-0.3, 0.3, len(mean)),
            "dispersion_standard_error": np.where(np.arange(len(mean)) % 4 == 0, 0.9, 0.2),
        }
        return value.get(metric, level + 0 * mean) + 0.001 * seed

    def scores(self, contestant: str, seed: int, native: bool) -> pd.DataFrame:
        rows = []
        variants = ["single_scale"] if contestant == "mse_log1p" else []
        for noise in ["native"] * native + variants + NOISES:
            for metric in self.metrics:
                if metric == "pit_histogram":
                    rows += [(noise, metric, "dataset", f"{k / 20:.2f}", 1.0 + 0.01 * k)
                             for k in range(20)]  # fmt: skip
                elif metric == "zero_reliability":
                    for k in (0, 4, 9):
                        point = {"predicted": k / 10 + 0.05, "observed": k / 10, "entries": 100.0}
                        rows += [(noise, metric, "dataset", f"{name}.{k}", value)
                                 for name, value in point.items()]  # fmt: skip
                else:
                    value = self.gene_value(metric, contestant, seed)
                    rows += [(noise, metric, "gene", *pair)
                             for pair in zip(self.genes, value, strict=True)]  # fmt: skip
                    rows.append((noise, metric, "dataset", "", float(value.mean())))
        if native and self.histograms:
            rows += self.histogram(seed)
        table = pd.DataFrame(rows, columns=["noise", "metric", "level", "id", "value"])
        return table.assign(protocol="masked")

    def histogram(self, seed: int) -> list[tuple]:
        """Rows of observed and expected counts, none above 1."""
        shares = {"observed": [0.6, 0.4], "expected": [0.58 + 0.01 * seed, 0.42 - 0.01 * seed]}
        return [
            ("native", "count_histogram", f"gene {kind}.{start}", gene, (*share, *[0.0] * 12)[k])
            for kind, share in shares.items()
            for k, start in enumerate(STARTS)
            for gene in self.genes
        ]

    def axis(self) -> dict:
        best, against = "nb", next(name for name in ["zinb", *self.losses] if name in self.losses
                                   and name != "nb")  # fmt: skip
        ranking = sorted(self.losses, key=LEVEL.__getitem__)
        pairs = [
            {"better": a, "worse": b, "difference": LEVEL[b] - LEVEL[a], "p_holm": 0.01,
             "interval": [LEVEL[b] - LEVEL[a] - 0.001, LEVEL[b] - LEVEL[a] + 0.001],
             "standard_error": 0.0005, "decision": "better"}
            for a, b in combinations(ranking, 2)
        ]  # fmt: skip
        return {
            "outcome": self.outcome, "winner": best if self.outcome == "winner" else None,
            "best": best, "against": against, "difference": 0.0123456789, "unit": "nats/entry",
            "interval": [0.0100000001, 0.0146913579], "delta": 0.002, "question": "Which?",
            "contenders": [best] if self.outcome == "winner" else [best, against],
            "recommended": "nb", "scores": {name: LEVEL[name] for name in self.losses},
            "null": 0.99, "aa_error": 0.0 if self.control_seeds else None, "pairs": pairs,
            "reason": f"Because of {self.outcome}.",
        }  # fmt: skip

    def verdict(self) -> dict:
        first = {"met": True, "network": "nb", "difference": 0.0123, "delta": 0.002,
                 "interval": [0.0101, 0.0145], "confidence": "95 %"}  # fmt: skip
        second = first | {"met": False, "difference": -0.0004, "interval": [-0.0006, -0.0001]}
        leads = bootstrap(True, 0.0123, 0.004)
        observed = {"same_means_gap": 0.0123}
        if self.zero_tests:
            observed |= {
                "network_gap": -0.01,
                "significant_share": 0.05,
                "n_significant": 1.5,
                "n_testable": 30.0,
            }
        return {
            "dataset": self.dataset, "sentence": f"{self.dataset}: the verdict is {self.outcome}.",
            "titles": {name: (TITLES | MORE)[name] for name in self.losses}, "recommended": "nb",
            "axes": {name: self.axis() for name in ("overall", "mean", "zeros", "dispersion")},
            "story": {"family": self.family, "doubts": self.doubts, "reason": "Told so.", "scores":
                      {"poisson": 0.89, "nb": 0.87, "zinb": 0.8704, "mse_counts": 0.95}},
            "overdispersion": {"asserted": True, "reason": "Overdispersed: so it is.",
                "conditions": {"same_means": first, "same_means_gap_exceeds_bootstrap": leads}},
            "zero_inflation": {"asserted": False, "reason": "No excess of zeros.", "conditions": {
                "same_means": second,
                "significant_share_exceeds_bootstrap": bootstrap(False, 0.05, 0.06),
                "network_gap_exceeds_bootstrap": {"met": None, "reason": "not run",
                                                  "observed": -0.01, "p": 1.0},
                "normal_gap_exceeds_bootstrap": bootstrap(True, 0.4, 0.01),
                "no_normal_noise": {"met": True, "normal_is_better": False},
                "valid": {"met": True, "reason": ""}}, "observed": observed,
                "power": {"met": False, "seen": 1, "replicates": 2}},
            "protocol": "masked", "protocols": self.protocols, "errors_by": self.errors_by,
            "genes": {"nb": 10, "tie": 5, "undecided": N_GENES - 16, "not_testable": 1},
            "gene_pairs": [{"better": a, "worse": b, "genes": 7 if a == "nb" else 0}
                           for a, b in permutations(self.losses, 2)],
            "seeds": self.seeds, "control": {"likelihood": "nb", "seeds": self.control_seeds},
            "settings": {"equivalence": 0.002, "equivalence_share": 0.02, "level": 0.05,
                         "min_nonzeros_per_gene": 10, "control": "nb"},
            "n_test_cells": 140, "n_genes": len(self.genes),
        }  # fmt: skip

    def gene_table(self) -> pd.DataFrame:
        mean = self.mean()
        kinds = ["nb", "tie", "undecided", "not_testable"]
        table = pd.DataFrame({
            "gene": self.genes, "mean": mean, "variance": mean + mean**2,
            "zero_fraction": np.exp(-mean), "nonzeros": (100 * (1 - np.exp(-mean))).astype(int),
            "class": [kinds[k % 4] for k in range(len(mean))], "best": "nb",
            "difference": 0.01 * np.arange(len(mean)), "standard_error": 0.00123456789,
            "delta": 0.002, "null_log_score": 0.99,
        })  # fmt: skip
        for k, name in enumerate(self.losses):
            table[f"log_score_{name}"] = LEVEL[name] + 0.01 * k * np.arange(len(mean))
        if self.zero_tests:
            p = np.where(np.arange(len(mean)) < 10, np.nan, np.linspace(1e-6, 1, len(mean)))
            table["zero_inflation_p"], table["zero_inflation_fdr"] = p, np.minimum(1, 30 * p)
        return table

    def other_protocol(self, survives: bool | None, reason: str) -> dict:
        """An entry of the verdict's ``protocols``."""
        axis = self.axis() | {"outcome": "abstain" if survives is None else "winner"}
        kept = ("outcome", "best", "contenders", "recommended", "scores", "null")
        return {"survives": survives, "reason": reason, "sentence": "Another verdict."} | {
            key: axis[key] for key in kept}  # fmt: skip

    def confusion(self) -> dict:
        """Content of referee.json."""
        rows = {
            "nb": {"n": 3, "stories": {"nb": 2, "poisson": 1}, "recommended": {"nb": 3},
                   "right": 2, "zero_inflation": 0},
            "heavy_tailed": {"n": 1, "stories": {"nb": 1}, "recommended": {"zinb": 1},
                             "right": None, "zero_inflation": 0},
        }  # fmt: skip
        return {"families": list(rows), "rows": rows, "told_apart": {"genes": 12, "of": 40},
                "sentence": "At your depth this can be told apart."}  # fmt: skip

    def triage(self) -> dict:
        described = {"cells": 700, "genes": 45, "zero_fraction": 0.6743230625583567,
                     "library_size_range": [2141.0, 9497.0], "protocol": "umi"}  # fmt: skip
        row = {"source": self.source, "layer": "", "label_key": self.label_key, "batch_key": "",
               "library_size_key": "", "protocol": "umi", "genes": "all"}  # fmt: skip
        return {
            "source": self.source, "row": row, "notes": self.notes,
            "settings": {
                "simulate": {"cells": 800, "genes": 300, "types": 5, "depth": 600.0,
                             "simulation_seed": 0},
                "quality": {"min_counts_per_cell": 10, "min_genes_per_cell": 5,
                            "max_mitochondrial_fraction": 1.0, "min_cells_per_gene": 3},
                "genes": {"gene_selection": "seurat_v3"},
                "split": {"test_fraction": 0.2, "validation_fraction": 0.15, "folds": 5,
                          "split_seed": 0}},
            "raw": described, "modelled": described | {"genes": 40},
            "parts": {"train": 455, "validation": 105, "test": 140},
            "removed_cells": {"min_counts_per_cell": 2},
            "removed_genes": {"min_cells_per_gene": 5},
            "labels": dict.fromkeys(self.labels, 10) if self.labels else {},
            "findings": self.findings,
        }  # fmt: skip

    def _h5ad(self) -> None:
        import h5py
        from anndata.io import write_elem

        obs = pd.DataFrame(index=[f"cell{k}" for k in range(30)])
        if self.labels:
            obs[self.label_key] = [self.labels[k % len(self.labels)] for k in range(30)]
        key = self.label_key if self.labels else ""
        rng = np.random.default_rng(0)
        with h5py.File(self.path / f"{self.folder}.h5ad", "w") as file:
            write_elem(file, "obs", obs)
            write_elem(file, "uns", {"countae": {"label_key": key}})
            latents = {f"X_{loss}": rng.normal(size=(30, 10)) for loss in self.losses}
            write_elem(file, "obsm", latents)

    def stressed(self) -> dict:
        """Content of stress.json: depth at two levels, of every loss."""

        def around(value: float) -> dict:
            return {"value": value, "low": value - 0.01, "high": value + 0.02}

        rows = [
            {"likelihood": loss, "noise": noise, "level": level, "seeds": 3, "cells": 140,
             "score": LEVEL[loss], "null": 0.99, "oracle": 0.8, "change": around(1 - level + k),
             "lead": around(0.5 - k), "above_oracle": around(0.07), "latent_depth": 0.125,
             "residual_depth": None}
            for k, loss in enumerate(self.losses) for noise in ("own", "refitted")
            for level in (1.0, 0.5, 0.1)
        ]  # fmt: skip
        test = {"meaning": "Fewer molecules.", "level": "share that is kept", "clean": 1.0,
                "retrains": False, "rows": rows,
                "by_group": {}, "over": "cells and seeds",
                "sentence": "At 0.1 nothing is told apart."}  # fmt: skip
        return {"tests": {"depth": test}, "confidence": 0.95, "errors_by": "cell",
                "left_out": []}  # fmt: skip

    def later(self) -> dict:
        """Content of downstream.json: two seeds of every loss, and the controls."""
        names = ["nmi", "ari", "silhouette", "knn_purity", "knn_overlap", "marker_recovery"]
        row = {"value": 0.7, "seeds": 2, "interval": [0.65, 0.75]}
        measure = {"losses": dict.fromkeys(self.losses, row),
                   "controls": {"no denoising": 0.5, "log1p + PCA": 0.6},
                   "sentence": "NB is highest; the losses tie."}  # fmt: skip
        return {"measures": dict.fromkeys(names, measure), "confidence": 0.95}

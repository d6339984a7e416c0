"""Scoring: where predictions meet metrics. Every contestant, native and with each noise family."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from countae import baselines, metrics
from countae.baselines.gene_mean import hidden_size_factors
from countae.counts import CountMatrix
from countae.errors import ScoreError
from countae.files import written_aside
from countae.metrics.dispersion_standard_error import IDENTIFIABLE
from countae.noise import fit_noise, noise_families
from countae.predict import Prediction, predict_hidden

if TYPE_CHECKING:
    import pandas as pd

    from countae.model import CountAutoencoder

GENE_BLOCK = 256
MOST_NOISE_CELLS = 4000  # more would not move a gene's noise by a fraction of its error
CELL_METRICS = ("log_score", "ranked_probability_score", "brier_zero")
FOR_THE_VERDICT = (*CELL_METRICS, "dispersion_standard_error")
KEPT_ENTRIES = "log_score"  # per entry, for the paired comparison of genes
PROTOCOL = "masked"


@dataclass(frozen=True)
class Scores:
    """Scores of one contestant on the test cells.

    ``table`` is tidy (noise, metric, level, id, value), ``cells`` has a value per noise, metric
    and cell, ``entries`` the log score of each entry per noise, (cell, gene), float32.
    """

    table: pd.DataFrame
    cells: pd.DataFrame
    entries: dict[str, np.ndarray]

    def save(self, scores: str | Path, cells: str | Path, entries: str | Path) -> None:
        """Write two parquet tables and one .npz."""
        for frame, path in ((self.table, scores), (self.cells, cells)):
            with written_aside(path) as aside:
                frame.to_parquet(aside, index=False)
        with written_aside(entries) as aside:
            np.savez(aside, allow_pickle=False, **self.entries)


def score_network(
    network: CountAutoencoder, matrix: CountMatrix, *, wanted: list[str], device: str = "auto"
) -> Scores:
    """Scores of a trained network: its own distribution, and each noise family around its mean.

    Parameters
    ----------
    network : CountAutoencoder
    matrix : CountMatrix
        From ``countae prepare``.
    wanted : list of str
        Metrics; empty for all.
    device : str
    """
    test, fitted = _test_cells(matrix), _noise_cells(matrix)
    native = predict_hidden(network, matrix, test, device=device)
    mean = predict_hidden(network, matrix, fitted, device=device).mean
    columns = {"native": native} | {
        name: Prediction(native.likelihood, parameters)
        for name, parameters in native.likelihood.variants(native.parameters).items()
    }
    columns |= _noise_columns(matrix, native.mean, mean, test, fitted)
    return _scored(matrix, test, columns, wanted)


def score_baseline(name: str, matrix: CountMatrix, *, wanted: list[str]) -> Scores:
    """Scores of a baseline, on the same entries and with the same noise families.

    Raises
    ------
    ScoreError
        For the oracle of data whose truth nobody knows.
    """
    if name == "oracle" and "truth" not in matrix.adata.uns:
        raise ScoreError(
            f"{matrix.source}: the oracle needs simulated data, but these carry no truth. Fix: "
            "remove `oracle` from `baselines`; simulated data get it by themselves."
        )
    member = baselines.get(name)()
    test, fitted = _test_cells(matrix), _noise_cells(matrix)
    means = member.mean(matrix, test), member.mean(matrix, fitted)
    columns = _noise_columns(matrix, *means, test, fitted)
    if member.native:
        columns = {"native": member.prediction(matrix, test)} | columns
    return _scored(matrix, test, columns, wanted)


def _test_cells(matrix: CountMatrix) -> np.ndarray:
    return np.flatnonzero(matrix.part == "test")


def _noise_cells(matrix: CountMatrix) -> np.ndarray:
    """Train and validation cells, thinned evenly when there are more than are needed."""
    cells = np.flatnonzero(matrix.part != "test")
    return cells[:: -(-len(cells) // MOST_NOISE_CELLS)]


def _noise_columns(
    matrix: CountMatrix,
    mean: np.ndarray,
    fitted_mean: np.ndarray,
    test: np.ndarray,
    fitted: np.ndarray,
) -> dict[str, Prediction]:
    """Each noise family around the means of the test cells, fitted on those of other cells."""
    counts = matrix.counts[fitted].toarray().astype(np.float64)
    columns = {}
    fitted_size, size = (hidden_size_factors(matrix, cells) for cells in (fitted, test))
    for family in noise_families():
        noise = fit_noise(family, counts=counts, mean=fitted_mean, size_factor=fitted_size)
        columns[family] = noise.around(mean, size)
    return columns


class _Inputs:
    """What metrics may ask for by name, for one column and one block of genes; made when asked."""

    def __init__(
        self,
        prediction: Prediction,
        matrix: CountMatrix,
        test: np.ndarray,
        null_mean: np.ndarray,
        genes: slice,
    ) -> None:
        parameters = {name: value[:, genes] for name, value in prediction.parameters.items()}
        self.prediction = Prediction(prediction.likelihood, parameters)
        self.observed = matrix.counts[test, genes].toarray().astype(np.float64)
        self.null_mean = null_mean[:, genes]
        self.library_size = matrix.library_size[test]
        self.n_fitted = int((matrix.part != "test").sum())
        # one stream per block of genes, the same for every contestant: PITs are paired
        self._rng = np.random.default_rng([matrix.info["split_seed"], genes.start])
        if "truth" in matrix.adata.uns:
            self.true_mean = np.asarray(matrix.adata.layers["true_mean"][test, genes])
            if "true_inverse_dispersion" in matrix.adata.var:
                truth = matrix.adata.var["true_inverse_dispersion"].to_numpy()
                self.true_inverse_dispersion = truth[genes]
        if "inverse_dispersion" in parameters:
            self.inverse_dispersion = parameters["inverse_dispersion"][0].numpy()

    @cached_property
    def mean(self) -> np.ndarray:
        return self.prediction.mean

    @cached_property
    def variance(self) -> np.ndarray:
        return self.prediction.variance

    @cached_property
    def prob_zero(self) -> np.ndarray:
        return self.prediction.prob_zero

    @cached_property
    def log_prob(self) -> np.ndarray:
        return self.prediction.log_pmf(self.observed)

    @cached_property
    def pit(self) -> np.ndarray:
        below = self.prediction.cdf(self.observed - 1)
        within = self.prediction.cdf(self.observed) - below
        return np.clip(below + self._rng.random(below.shape) * within, 0, 1)

    @cached_property
    def identifiable(self) -> np.ndarray:
        error = metrics.get("dispersion_standard_error")(
            mean=self.mean, inverse_dispersion=self.inverse_dispersion, n_fitted=self.n_fitted
        )
        return error <= IDENTIFIABLE

    def pmf(self, counts: np.ndarray, entries: np.ndarray) -> np.ndarray:
        return np.exp(self.prediction.at(entries).log_pmf(counts))

    def cdf(self, counts: np.ndarray, entries: np.ndarray) -> np.ndarray:
        return self.prediction.at(entries).cdf(counts)

    def of(self, metric: metrics.Metric) -> Any:
        """The metric's value, or None where the data cannot meet its needs."""
        if metric.name == "dispersion_log_error" and not hasattr(self, "inverse_dispersion"):
            return None
        if not all(hasattr(self, name) for name in metric.needs):
            return None
        value = metric(**{name: getattr(self, name) for name in metric.needs})
        if metric.level != "dataset":
            _check_bounds(metric, value)
        return value


def _check_bounds(metric: metrics.Metric, value: np.ndarray) -> None:
    low, high = metric.bounds
    slack = 1e-9 * max(1.0, abs(low) if np.isfinite(low) else 1.0)
    wrong = (value < low - slack) | (value > high + slack)
    if wrong.any():
        raise ScoreError(
            f"Metric {metric.name} must lie in [{low}, {high}], but {wrong.sum():,} values do "
            "not; "
            f"first: {value[wrong].flat[0]:.6g}. This is a defect of countae: please report it."
        )


def _scored(
    matrix: CountMatrix, test: np.ndarray, columns: dict[str, Prediction], wanted: list[str]
) -> Scores:
    """Every wanted metric of every column, in blocks of genes."""
    import pandas as pd

    names = wanted or metrics.names()
    chosen = [metrics.get(name) for name in dict.fromkeys([*names, *FOR_THE_VERDICT])]
    null_mean = baselines.get("gene_mean")().mean(matrix, test)
    n_genes = matrix.counts.shape[1]
    rows: list[pd.DataFrame] = []
    cells: list[pd.DataFrame] = []
    entries: dict[str, np.ndarray] = {}
    for noise, prediction in columns.items():
        starts = range(0, n_genes, GENE_BLOCK)
        blocks = [
            _Inputs(prediction, matrix, test, null_mean, slice(s, s + GENE_BLOCK)) for s in starts
        ]
        for metric in chosen:
            if metric.level == "dataset":
                rows.append(_dataset_rows(noise, metric, metric(**_joined(blocks, metric))))
                continue
            values = [block.of(metric) for block in blocks]
            if any(value is None for value in values):
                continue
            value = np.concatenate(values, axis=-1)
            if metric.level == "entry":
                if metric.name in CELL_METRICS:
                    cells.append(_cell_rows(noise, metric.name, matrix.cell_id[test], value))
                if metric.name == KEPT_ENTRIES:
                    entries[noise] = value.astype(np.float32)
                value = value.mean(axis=0)
            rows.append(_gene_rows(noise, metric, matrix.gene_id, value))
            if metric.summary == "pooled":
                entry = {k: v.reshape(-1, 1) for k, v in _joined(blocks, metric).items()}
                rows[-1].iloc[-1, rows[-1].columns.get_loc("value")] = metric(**entry)[0]
    return Scores(pd.concat(rows, ignore_index=True), pd.concat(cells, ignore_index=True), entries)


def _joined(blocks: list[_Inputs], metric: metrics.Metric) -> dict[str, np.ndarray]:
    """What a metric needs, (cell, gene), for all genes, from what the blocks have computed."""
    return {
        name: np.concatenate([getattr(block, name) for block in blocks], axis=1)
        for name in metric.needs
    }


def _gene_rows(
    noise: str, metric: metrics.Metric, gene_id: np.ndarray, value: np.ndarray
) -> pd.DataFrame:
    """A row per gene and one for the data set."""
    import pandas as pd

    known = value[~np.isnan(value)]
    summarise = np.median if metric.summary == "median" else np.mean
    summary = summarise(known) if known.size else np.nan
    return pd.DataFrame(
        {
            "protocol": PROTOCOL,
            "noise": noise,
            "metric": metric.name,
            "level": ["gene"] * len(value) + ["dataset"],
            "id": [*gene_id, ""],
            "value": [*value, summary],
        }
    )


def _dataset_rows(noise: str, metric: metrics.Metric, value: dict[str, float]) -> pd.DataFrame:
    """A row per point of a curve."""
    import pandas as pd

    return pd.DataFrame(
        {
            "protocol": PROTOCOL,
            "noise": noise,
            "metric": metric.name,
            "level": "dataset",
            "id": list(value),
            "value": list(value.values()),
        }
    )


def _cell_rows(noise: str, metric: str, cell_id: np.ndarray, value: np.ndarray) -> pd.DataFrame:
    """Mean over genes of each cell."""
    import pandas as pd

    return pd.DataFrame(
        {
            "protocol": PROTOCOL,
            "noise": noise,
            "metric": metric,
            "id": cell_id,
            "value": value.mean(axis=1),
        }
    )

"""Scoring: where predictions meet metrics. Every contestant, native and with each noise family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from countae import baselines, metrics, protocols
from countae.baselines._base import Baseline
from countae.baselines._file import read_predictions
from countae.counts import CountMatrix
from countae.errors import ScoreError
from countae.files import write_table, write_together
from countae.metrics._clusterings import clusterings
from countae.noise import fit_noise, noise_cells, noise_families
from countae.predict import Prediction, latent_of, predict_hidden
from countae.progress import tracked
from countae.score_block import Block

if TYPE_CHECKING:
    import pandas as pd

    from countae.model import CountAutoencoder

GENE_BLOCK = 256
BLOCK_ENTRIES = 2**19  # of a block at most: metrics hold a few dozen numbers of each
CELL_METRICS = ("log_score", "ranked_probability_score", "brier_zero")
FOR_THE_VERDICT = ("log_score", "brier_zero", "dispersion_standard_error", "zero_inflation_test")
KEPT_ENTRIES = "log_score"  # per entry, for the paired comparison of genes
Column = Callable[[slice], Prediction]


@dataclass(frozen=True)
class Scores:
    """Scores of one contestant on the test cells.

    ``table`` is tidy (noise, metric, level, id, value), ``cells`` has a value per noise, metric
    and cell, ``entries`` the log score of each entry, (cell, gene), float32, of the first column:
    the contestant's own distribution, or the simplest noise of one that has none.
    """

    table: pd.DataFrame
    cells: pd.DataFrame
    entries: dict[str, np.ndarray]

    def save(self, scores: str | Path, cells: str | Path, entries: str | Path) -> None:
        """Write two parquet tables and one .npz."""
        write_together(
            {
                Path(scores): lambda aside: write_table(aside, self.table),
                Path(cells): lambda aside: write_table(aside, self.cells),
                Path(entries): lambda aside: np.savez(aside, allow_pickle=False, **self.entries),
            }
        )


def score_network(
    network: CountAutoencoder, matrix: CountMatrix, *, wanted: list[str], device: str = "auto"
) -> Scores:
    """Scores of a trained network: its own distribution, and each noise family around its mean.

    Parameters
    ----------
    network : CountAutoencoder
    matrix : CountMatrix
        From ``countae prepare`` or ``countae hide``.
    wanted : list of str
        Metrics; empty for all.
    device : str
    """
    test, fitted = test_cells(matrix), noise_cells(matrix)
    native = predict_hidden(network, matrix, test, device=device)
    mean = predict_hidden(network, matrix, fitted, device=device).mean
    columns: dict[str, Column] = {"native": native.of_genes} | {
        name: Prediction(native.likelihood, parameters).of_genes
        for name, parameters in native.likelihood.variants(native.parameters).items()
    }
    columns |= noise_columns(noise_families(), matrix, native.mean, mean, test, fitted)
    chosen = _chosen(wanted)
    of_cells = _latent_space(
        matrix, test, chosen, lambda: latent_of(network, matrix, test, device=device)
    )
    return _scored(matrix, test, columns, chosen, of_cells)


def score_baseline(name: str, matrix: CountMatrix, *, wanted: list[str]) -> Scores:
    """Scores of a baseline, on the same entries and with the same noise families.

    Raises
    ------
    ScoreError
        For the oracle of data whose truth nobody knows, or of which molecules are hidden.
    """
    if name == "oracle" and matrix.protocol != "masked":
        raise ScoreError(
            f"{matrix.source}: the oracle is the truth of whole counts, but of these half of the "
            f"molecules are hidden ({matrix.protocol}). Fix: score it on the counts.h5ad of "
            "`countae prepare`, or score gene_mean here."
        )
    if name == "oracle" and "truth" not in matrix.adata.uns:
        raise ScoreError(
            f"{matrix.source}: the oracle needs simulated data, but these carry no truth. Fix: "
            "remove `oracle` from `baselines`; simulated data get it by themselves."
        )
    return _score_member(baselines.get(name)(), matrix, wanted)


def score_predictions(path: str | Path, matrix: CountMatrix, *, wanted: list[str]) -> Scores:
    """Scores of predictions that another program made, on the same entries.

    Raises
    ------
    ScoreError
        When the file is damaged, is of other counts, or lacks cells or parameters.
    """
    cells = np.concatenate([test_cells(matrix), noise_cells(matrix)])
    return _score_member(read_predictions(path, matrix, cells), matrix, wanted)


def _score_member(member: Baseline, matrix: CountMatrix, wanted: list[str]) -> Scores:
    """Scores of each noise family around somebody's means, and of their own distribution."""
    test, fitted = test_cells(matrix), noise_cells(matrix)
    means = member.mean(matrix, test), member.mean(matrix, fitted)
    columns = noise_columns(noise_families(), matrix, *means, test, fitted)
    if member.native:
        columns = {"native": member.prediction(matrix, test).of_genes} | columns
    chosen = _chosen(wanted)
    of_cells = _latent_space(matrix, test, chosen, lambda: member.latent(matrix, test))
    return _scored(matrix, test, columns, chosen, of_cells)


def test_cells(matrix: CountMatrix) -> np.ndarray:
    """Index of the cells that are only scored."""
    return np.flatnonzero(matrix.part == "test")


def noise_columns(
    families: list[str],
    matrix: CountMatrix,
    mean: np.ndarray,
    fitted_mean: np.ndarray,
    test: np.ndarray,
    fitted: np.ndarray,
) -> dict[str, Column]:
    """Noise families around the means of the test cells, fitted on those of other cells.

    No weight is fitted to validation cells: these say how much wider noise is for cells to come.
    """
    hold_out = protocols.get(matrix.protocol)(matrix)
    counts = matrix.target(fitted).toarray().astype(np.float64)
    fitted_size, size = (hold_out.size_factor(cells) for cells in (fitted, test))
    unseen = matrix.part[fitted] == "validation"

    def column(family: str) -> Column:
        noise = fit_noise(
            family, counts=counts, mean=fitted_mean, size_factor=fitted_size, unseen=unseen
        )
        return lambda genes: noise.around(mean[:, genes], size, genes)

    return {family: column(family) for family in families}


def _chosen(wanted: list[str]) -> list[metrics.Metric]:
    """The wanted metrics, or all, and those that the verdict needs."""
    names = wanted or metrics.names()
    return [metrics.get(name) for name in dict.fromkeys([*names, *FOR_THE_VERDICT])]


def _latent_space(
    matrix: CountMatrix,
    test: np.ndarray,
    chosen: list[metrics.Metric],
    latent: Callable[[], np.ndarray | None],
) -> dict[str, np.ndarray]:
    """Latent coordinates, labels and clusters of the test cells, those that metrics ask for.

    Empty without labels, when all test cells have the same one, or without coordinates.
    """
    needs = {name for metric in chosen for name in metric.needs}
    labels = None if matrix.labels is None else matrix.labels[test]
    if labels is None or len(np.unique(labels)) < 2 or "labels" not in needs:
        return {}
    points = latent()
    if points is None:
        return {}
    found = {"latent": points, "labels": labels}
    if "clusterings" in needs:
        found["clusterings"] = clusterings(latent=points)
    return found


def _scored(
    matrix: CountMatrix,
    test: np.ndarray,
    columns: dict[str, Column],
    chosen: list[metrics.Metric],
    of_cells: dict[str, np.ndarray],
) -> Scores:
    """Every chosen metric of every column, in blocks of genes.

    ``of_cells`` is what the contestant itself says of the cells, whatever the noise; metrics of it
    stand in the first column only, ``native`` where there is one.
    """
    import pandas as pd

    common, gene_id = _Common(matrix, test), matrix.gene_id
    rows: list[pd.DataFrame] = []
    cells: list[pd.DataFrame] = []
    entries: dict[str, np.ndarray] = {}
    for noise, column in tracked(columns.items(), "distributions", len(columns)):
        asked = [metric for metric in chosen if metric.noise in ("", noise)]
        keep = noise == next(iter(columns))
        own = of_cells if keep else {}
        found = _by_gene_block(common, column, asked, own, keep_entries=keep)
        if found.entries is not None:
            entries[noise] = found.entries
        for metric in asked:
            if metric.level == "dataset" and metric.name in found.pooled:
                value = found.pooled[metric.name]
                rows.append(_dataset_rows(common.protocol, noise, metric, value))
            for key, shares in found.histograms.get(metric.name, {}).items():
                level = f"gene {key}"
                rows.append(_rows(common.protocol, noise, metric, gene_id, shares, level=level))
            if metric.name not in found.per_gene:
                continue
            if metric.name in CELL_METRICS:
                per_cell = found.per_cell[metric.name]
                cells.append(_rows(common.protocol, noise, metric, common.cell_id, per_cell))
            per_gene = found.per_gene[metric.name]
            summary = found.pooled.get(metric.name, _summary(metric, per_gene))
            rows.append(_gene_rows(common.protocol, noise, metric, gene_id, per_gene, summary))
    return Scores(pd.concat(rows, ignore_index=True), pd.concat(cells, ignore_index=True), entries)


class _Common:
    """What all columns share: held-out counts, the null, the truth, in blocks of genes."""

    def __init__(self, matrix: CountMatrix, test: np.ndarray) -> None:
        hold_out = protocols.get(matrix.protocol)(matrix)
        self.matrix, self.test, self.protocol = matrix, test, hold_out.name
        self.cell_id = matrix.cell_id[test]
        self._target = matrix.target(test).tocsc()
        self._null_mean = baselines.get("gene_mean")().mean(matrix, test)
        self.n_genes = matrix.counts.shape[1]
        width = max(1, min(GENE_BLOCK, BLOCK_ENTRIES // len(test)))
        self.genes = [slice(s, s + width) for s in range(0, self.n_genes, width)]

    def block(
        self, prediction: Prediction, genes: slice, of_cells: dict[str, np.ndarray]
    ) -> Block:
        matrix = self.matrix
        truth: dict[str, np.ndarray] = {}
        if "truth" in matrix.adata.uns and self.protocol == "masked":
            truth["true_mean"] = np.asarray(matrix.adata.layers["true_mean"][self.test, genes])
            if "true_inverse_dispersion" in matrix.adata.var:
                theta = matrix.adata.var["true_inverse_dispersion"].to_numpy()
                truth["true_inverse_dispersion"] = theta[genes]
            if "extra_zero" in matrix.adata.layers:
                extra = matrix.adata.layers["extra_zero"][self.test][:, genes]
                truth["extra_zero"] = extra.toarray().astype(bool)
        return Block(
            prediction,
            observed=self._target[:, genes].toarray().astype(np.float64),
            null_mean=self._null_mean[:, genes],
            library_size=matrix.library_size[self.test],
            n_fitted=len(noise_cells(matrix)),
            stream=[matrix.info["split_seed"], genes.start],
            truth=truth,
            of_cells=of_cells,
        )


@dataclass
class _Column:
    """What is known of one column: metrics per gene and per cell, pooled, and kept entries.

    ``histograms`` hold several values per gene, by metric and by what they are.
    """

    per_gene: dict[str, np.ndarray]
    histograms: dict[str, dict[str, np.ndarray]]
    per_cell: dict[str, np.ndarray]
    pooled: dict[str, Any]
    entries: np.ndarray | None


def _by_gene_block(
    common: _Common,
    column: Column,
    chosen: list[metrics.Metric],
    of_cells: dict[str, np.ndarray],
    *,
    keep_entries: bool,
) -> _Column:
    """All metrics of a column, block by block; entries are averaged at once unless they are kept.

    Inputs of metrics of pooled entries are kept in single precision.
    """
    per_gene: dict[str, list[np.ndarray]] = {}
    histograms: dict[str, list[dict[str, np.ndarray]]] = {}
    per_cell: dict[str, np.ndarray] = {}
    entries: list[np.ndarray] = []
    kept: dict[str, list[np.ndarray]] = {}
    for genes in tracked(common.genes, "scoring", len(common.genes), "blocks of genes"):
        block = common.block(column(genes), genes, of_cells)
        possible = [metric for metric in chosen if block.has(metric)]
        for metric in possible:
            if metric.level == "dataset":
                continue
            value = block.of(metric)
            if metric.level == "gene histogram":
                histograms.setdefault(metric.name, []).append(value)
                continue
            if metric.name in CELL_METRICS:
                per_cell[metric.name] = per_cell.get(metric.name, 0.0) + value.sum(axis=1)
            if keep_entries and metric.name == KEPT_ENTRIES:
                entries.append(value.astype(np.float32))
            of_gene = value.mean(axis=0) if metric.level == "entry" else value
            per_gene.setdefault(metric.name, []).append(of_gene)
        # what a block has does not depend on its genes, so the last one speaks for all
        of_all = [metric for metric in possible if metric.level == "dataset" or metric.pooled]
        for name in {name for metric in of_all for name in metric.needs} - of_cells.keys():
            value = getattr(block, name)
            value = value if value.dtype == bool else value.astype(np.float32)
            kept.setdefault(name, []).append(value)
    joined = {name: np.concatenate(kept.pop(name), axis=1) for name in [*kept]} | of_cells
    return _Column(
        {name: np.concatenate(values) for name, values in per_gene.items()},
        {name: _joined(parts) for name, parts in histograms.items()},
        {name: total / common.n_genes for name, total in per_cell.items()},
        {metric.name: _of_all(metric, joined) for metric in of_all},
        np.concatenate(entries, axis=1) if entries else None,
    )


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Histograms of all genes from those of blocks."""
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _of_all(metric: metrics.Metric, inputs: dict[str, np.ndarray]) -> Any:
    """A metric of all entries together: a curve, or one number."""
    given = {name: inputs[name] for name in metric.needs}
    if metric.level == "dataset":
        return metric(**given)
    return float(metric(**{name: value.reshape(-1, 1) for name, value in given.items()})[0])


def _summary(metric: metrics.Metric, per_gene: np.ndarray) -> float:
    """Value of a data set from those of its genes; NaN where no gene has one."""
    known = per_gene[~np.isnan(per_gene)]
    summarise = np.median if metric.summary == "median" else np.mean
    return float(summarise(known)) if known.size else np.nan


def _gene_rows(
    protocol: str,
    noise: str,
    metric: metrics.Metric,
    gene_id: np.ndarray,
    value: np.ndarray,
    summary: float,
) -> pd.DataFrame:
    """A row per gene and one for the data set."""
    levels = ["gene"] * len(value) + ["dataset"]
    return _rows(protocol, noise, metric, [*gene_id, ""], [*value, summary], level=levels)


def _dataset_rows(
    protocol: str, noise: str, metric: metrics.Metric, value: dict[str, float] | float
) -> pd.DataFrame:
    """A row per point of a curve, or one without a name for a single number."""
    value = value if isinstance(value, dict) else {"": value}
    return _rows(protocol, noise, metric, list(value), list(value.values()), level="dataset")


def _rows(
    protocol: str, noise: str, metric: metrics.Metric, names: Any, value: Any, **level: Any
) -> pd.DataFrame:
    """A row per name; ``level`` says of what, where that differs."""
    import pandas as pd

    of_all = {"protocol": protocol, "noise": noise, "metric": metric.name}
    return pd.DataFrame(of_all | level | {"id": names, "value": value})

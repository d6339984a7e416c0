"""What a user takes home: one .h5ad with counts, denoised layers, latents and per-gene columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from countae.counts import CountMatrix
from countae.counts._store import stored, write_sparse
from countae.counts.readers.zarr import MARKS
from countae.errors import ConfigError
from countae.files import check_places, written_aside
from countae.fit import versions
from countae.metrics.dispersion_standard_error import IDENTIFIABLE, dispersion_standard_error
from countae.predict import Prediction, reconstructed
from countae.progress import working

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from countae.model import CountAutoencoder

MOST_DENOISED = 250_000_000  # entries of all denoised layers together; these are 1 GB
MOST_CELLS = 10_000  # evenly chosen ones, to say how well a gene's dispersion can be known
LOWEST_TESTABLE_MEAN = 0.5  # below it the likelihood-ratio test of extra zeros has no power


def export(
    matrix: CountMatrix,
    networks: Iterator[tuple[str, CountAutoencoder]],
    *,
    verdict: dict[str, Any],
    genes: pd.DataFrame,
    triage: dict[str, Any],
    denoised: bool = True,
) -> AnnData:
    """The prepared counts with what each loss' network says of them, ready for scanpy.

    Parameters
    ----------
    matrix : CountMatrix
    networks : iterator of (likelihood, CountAutoencoder)
        One network per loss; the first seed's, by custom.
    verdict, genes, triage
        Content of verdict.json, the table of genes that goes with it, and triage.json.
    denoised : bool
        Whether to add ``layers["denoised_<likelihood>"]`` (dense, float32).

    Returns
    -------
    AnnData
        X: raw counts. ``layers["denoised_…"]``: expected counts at size factor 1. ``obsm["X_…"]``:
        latent coordinates. ``var``: inverse dispersion and zero probability (averaged over cells)
        per likelihood and whether the counts can tell them, log scores, class.
        ``uns["countae"]``: provenance, JSON inside strings.
    """
    adata = matrix.with_own_tables().adata
    n_fitted = len(matrix.fitted)
    for likelihood, network in networks:
        layer, known = f"denoised_{likelihood}", _Known(len(adata), n_fitted)
        if denoised:
            adata.layers[layer] = np.empty(adata.shape, np.float32)
        start = 0
        with working(f"reconstructing with {likelihood}", len(adata), "cells") as work:
            for latent, expected, prediction in reconstructed(network, matrix, device="cpu"):
                if not start:  # made once: pieces would lie between what can be freed
                    width = latent.shape[1]
                    adata.obsm[f"X_{likelihood}"] = np.empty((len(adata), width), np.float32)
                adata.obsm[f"X_{likelihood}"][start : start + len(latent)] = latent
                known.add(prediction)
                if denoised:
                    adata.layers[layer][start : start + len(latent)] = expected
                start += len(latent)
                work.advance(len(latent))
        for name, value in known.per_gene().items():
            adata.var[f"{likelihood}_{name}"] = value
    table = genes.set_index("gene").loc[adata.var_names]
    for column in table.columns[table.columns.str.startswith("log_score_")]:
        adata.var[f"{column.removeprefix('log_score_')}_log_score"] = table[column]
    adata.var["log_score_difference"] = table["difference"]
    adata.var["best_loss"] = table["best"].astype("category")
    adata.var["countae_class"] = table["class"].astype("category")
    adata.uns["countae"] = matrix.info | {
        "verdict": json.dumps(verdict),
        "triage": json.dumps(triage),
        "versions": json.dumps(versions()),
    }
    return adata


def fits(matrix: CountMatrix, losses: int) -> bool:
    """Whether denoised layers of so many losses are small enough for one file in memory."""
    return matrix.counts.shape[0] * matrix.counts.shape[1] * losses <= MOST_DENOISED


def check_output(path: Path) -> None:
    """Refuse, before any work, an output of another format, or in place of something else.

    Raises
    ------
    ConfigError
        When the name ends neither in .h5ad nor in .zarr, or is a folder that is no zarr store.
    OSError
        When a file can never be written there.
    """
    if path.suffix not in (".h5ad", ".zarr"):
        raise ConfigError(
            f"{path}: the output must be a .h5ad file or a .zarr folder, not "
            f"{path.suffix or 'a name without an ending'!r}. Fix: name it {path.stem}.h5ad."
        )
    if path.suffix == ".h5ad" or not path.exists():
        check_places(path)
    elif path.is_dir() and any(path.iterdir()) and not any((path / m).is_file() for m in MARKS):
        raise ConfigError(
            f"{path}: is a folder with something else than a zarr store in it, which is not "
            "removed. Fix: name another output."
        )


def write(adata: AnnData, path: str | Path) -> None:
    """Write an exported AnnData, compressed: .h5ad some cells at a time, or .zarr.

    Counts are int32 in the file, whatever they are here, since scanpy calculates with them.
    """
    path = Path(path)
    check_output(path)
    with working(f"writing {path.name}"):
        if path.suffix == ".zarr":
            _write_zarr(adata, path)
        else:
            _write_h5ad(adata, path)


def _write_h5ad(adata: AnnData, path: Path) -> None:
    with stored(path, _without_counts(adata), compression="gzip") as file:
        write_sparse(file, "X", adata.X, dtype=np.int32, compressed=True)
        if "visible" in adata.layers:
            visible = adata.layers["visible"]
            write_sparse(file["layers"], "visible", visible, dtype=np.int32, compressed=True)


def _write_zarr(adata: AnnData, path: Path) -> None:
    """Write a folder beside, then put it in place of an earlier one."""
    import zarr
    from anndata.io import write_elem

    whole = _without_counts(adata)
    whole.X = adata.X.astype(np.int32)
    with written_aside(path) as aside:
        write_elem(zarr.open_group(aside, mode="w", zarr_format=2), "/", whole)


def _without_counts(adata: AnnData) -> AnnData:
    """The same without X and the layer ``visible``."""
    import anndata

    layers = {name: layer for name, layer in adata.layers.items() if name != "visible"}
    return anndata.AnnData(
        obs=adata.obs, var=adata.var, uns=adata.uns, obsm=dict(adata.obsm), layers=layers
    )


class _Known:
    """What all cells together say of each gene, where the likelihood has such parameters."""

    def __init__(self, n_cells: int, n_fitted: int) -> None:
        self.n_cells, self.n_fitted, self.seen = n_cells, n_fitted, 0
        self.every = -(-n_cells // MOST_CELLS)
        self.sums: dict[str, np.ndarray] = {}
        self.theta = np.zeros(0)
        self.sample = np.zeros((0, 0))  # of means, (cell, gene)

    def add(self, prediction: Prediction) -> None:
        """Take the next cells."""
        parameters, mean = prediction.parameters, prediction.mean
        self._sum("mean", mean)
        if "zero_logit" in parameters:
            self._sum("zero", parameters["zero_logit"].sigmoid().numpy())
        if "inverse_dispersion" in parameters:
            self.theta = parameters["inverse_dispersion"][0].numpy()
            if not self.sample.size:
                self.sample = np.empty((-(-self.n_cells // self.every), mean.shape[1]))
            some = mean[-self.seen % self.every :: self.every]
            start = -(-self.seen // self.every)
            self.sample[start : start + len(some)] = some
        self.seen += len(mean)

    def _sum(self, name: str, values: np.ndarray) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + values.sum(axis=0)

    def per_gene(self) -> dict[str, np.ndarray]:
        """Inverse dispersion and mean zero probability of each gene.

        Each with a column that says whether the counts can tell it: the standard error of log θ
        is at most one half; the mean is at least one half, below which extra zeros cannot be seen.
        """
        found: dict[str, np.ndarray] = {}
        if self.sample.size:
            error = dispersion_standard_error(
                mean=self.sample, inverse_dispersion=self.theta, n_fitted=self.n_fitted
            )  # fmt: skip
            found["inverse_dispersion"] = self.theta
            found["inverse_dispersion_identifiable"] = error <= IDENTIFIABLE
        if "zero" in self.sums:
            found["zero_probability"] = self.sums["zero"] / self.n_cells
            testable = self.sums["mean"] / self.n_cells >= LOWEST_TESTABLE_MEAN
            found["zero_probability_testable"] = testable
        return found

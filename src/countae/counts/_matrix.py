"""CountMatrix: checked raw counts with what belongs to their cells and genes."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from countae import split
from countae.counts import _store
from countae.counts._checksum import check_seal, seal
from countae.errors import CountMatrixError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


@dataclass(frozen=True)
class CountMatrix:
    """Raw integer counts, (cell, gene), over an AnnData whose X has been checked.

    Make one with :func:`countae.counts.read_counts` or :meth:`load`. ``obs["library_size"]`` is
    each cell's total over *all* genes of the experiment; after :func:`countae.prepare.prepare`,
    ``obs["split"]`` and :meth:`fold_of` say what is held out, and ``uns["countae"]`` holds the
    keys, the reference library size and the seeds. Simulated data carry their truth in
    ``layers["true_mean"]``, ``var["true_…"]`` and ``uns["truth"]``, which names further layers.
    """

    adata: AnnData
    source: str

    @property
    def counts(self) -> csr_matrix:
        """Raw counts, (cell, gene), CSR.

        Those of a file are mapped, read-only, and of the smallest unsigned type that holds them:
        a sum or a square of two may not fit. Arithmetic starts from :meth:`rows`.
        """
        return self.adata.X

    def rows(self, cells: np.ndarray | slice) -> csr_matrix:
        """Raw counts of ``cells``, (cell, gene), CSR, int32, in memory."""
        return self.counts[cells].astype(np.int32, copy=False)

    @property
    def library_size(self) -> np.ndarray:
        """Total raw count of each cell over all genes, (cell,), float64, > 0."""
        return self.obs["library_size"].to_numpy(np.float64)

    @property
    def reference_size(self) -> float:
        """Median library size of the training cells (of all cells before the split)."""
        known = self.info.get("reference_size")
        return float(np.median(self.library_size) if known is None else known)

    @property
    def size_factor(self) -> np.ndarray:
        """Library size over the reference size, (cell,), about 1."""
        return self.library_size / self.reference_size

    @property
    def cell_id(self) -> np.ndarray:
        """Names of the cells, unique."""
        return self.adata.obs_names.to_numpy(object)

    @property
    def gene_id(self) -> np.ndarray:
        """Names of the genes, unique."""
        return self.adata.var_names.to_numpy(object)

    @property
    def obs(self) -> pd.DataFrame:
        """Table of the cells."""
        return self.adata.obs

    @property
    def info(self) -> dict[str, Any]:
        """What countae knows of the matrix: keys, seeds, reference size."""
        return self.adata.uns.setdefault("countae", {})

    @property
    def part(self) -> np.ndarray:
        """``train``, ``validation`` or ``test`` of each cell, (cell,)."""
        return self.obs["split"].to_numpy(str)

    @property
    def fitted(self) -> np.ndarray:
        """Index of the training and validation cells: those that a fit may look at."""
        return np.flatnonzero(np.isin(self.part, ("train", "validation")))

    @property
    def protocol(self) -> str:
        """Hold-out protocol for which the matrix was made."""
        return str(self.info.get("protocol", "masked"))

    def target(self, cells: np.ndarray) -> csr_matrix:
        """Raw counts of ``cells`` that are to be predicted: all, or the hidden molecules."""
        visible = self.visible(cells)
        return self.rows(cells) if visible is None else self.rows(cells) - visible

    def targets(self, cells: np.ndarray) -> Targets:
        """The same, read when rows of it are asked for: of more cells than fit into memory."""
        return Targets(self, cells)

    def visible(self, cells: np.ndarray) -> csr_matrix | None:
        """The fixed visible half of the counts of ``cells``, int32, where molecules are hidden."""
        layer = self.adata.layers.get("visible")
        return None if layer is None else layer[cells].astype(np.int32, copy=False)

    def fold_of(self, cells: np.ndarray) -> np.ndarray:
        """Fold in which each entry of ``cells`` is hidden, (cell, gene), uint8; read-only."""
        seed, n_genes = int(self.info["split_seed"]), self.counts.shape[1]
        return self._folds.of(cells, n_genes=n_genes, n_folds=self.n_folds, seed=seed)

    @cached_property
    def _folds(self) -> split.KeptFolds:
        return split.KeptFolds()

    @property
    def n_folds(self) -> int:
        """Number of masked folds."""
        return int(self.info["folds"])

    @property
    def gene_share(self) -> np.ndarray:
        """Share of each gene in all counts of the training cells, (gene,)."""
        return self.adata.var["countae_share"].to_numpy(np.float64)

    @property
    def labels(self) -> np.ndarray | None:
        """Cell types as strings, (cell,), where a label column was named."""
        key = self.info.get("label_key")
        return self.obs[key].to_numpy(str) if key else None

    @property
    def batches(self) -> list[str]:
        """Names of the batches, sorted; one without a name where no column was named."""
        return [str(name) for name in np.unique(self._batch_names)]

    @property
    def batch(self) -> np.ndarray:
        """Index of each cell's batch in ``batches``, (cell,), int64."""
        return np.searchsorted(np.unique(self._batch_names), self._batch_names).astype(np.int64)

    @property
    def _batch_names(self) -> np.ndarray:
        key = self.info.get("batch_key")
        return self.obs[key].to_numpy(str) if key else np.full(len(self.obs), "")

    @property
    def donors(self) -> np.ndarray | None:
        """Donor of each cell, (cell,), where a column with donors was named."""
        key = self.info.get("donor_key")
        return self.obs[key].to_numpy(str) if key else None

    @property
    def test_donors(self) -> np.ndarray | None:
        """Donor of each test cell, (cell,), or None."""
        return None if self.donors is None else self.donors[self.part == "test"]

    def subset(self, cells: np.ndarray | slice, genes: np.ndarray | slice) -> CountMatrix:
        """The same data with some cells and genes only."""
        return CountMatrix(self.adata[cells, genes].copy(), self.source)

    def with_own_tables(self) -> CountMatrix:
        """The same counts, not copied, with tables and information that may be added to."""
        import anndata

        adata = self.adata
        made = anndata.AnnData(
            adata.X, obs=adata.obs.copy(), var=adata.var.copy(), uns=deepcopy(adata.uns),
            layers=dict(adata.layers),
        )  # fmt: skip
        return CountMatrix(made, self.source)

    def save(self, path: str | Path) -> None:
        """Write as .h5ad that can be mapped, aside first."""
        seal(self)
        _store.write(self.adata, path)

    @classmethod
    def load(cls, path: str | Path) -> CountMatrix:
        """Map what :meth:`save` wrote after ``prepare``; counts are read when they are used.

        Raises
        ------
        CountMatrixError
            When the file is not one that ``countae prepare`` wrote, or was changed since.
        """
        from countae.counts._read import read_h5ad

        adata = read_h5ad(path, _store.read)
        if "split" not in adata.obs or "folds" not in adata.uns.get("countae", ()):
            raise CountMatrixError(
                f"{path}: must be a counts.h5ad made by `countae prepare`, but it has no "
                "split, folds "
                "or provenance. Fix: run `countae prepare` on this file first."
            )
        matrix = cls(adata, str(path))
        check_seal(matrix)
        return matrix


@dataclass(frozen=True)
class Targets:
    """Raw counts of ``cells`` that are to be predicted, (cell, gene); ``[rows]`` reads some."""

    matrix: CountMatrix
    cells: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """(cell, gene)."""
        return len(self.cells), self.matrix.counts.shape[1]

    def __getitem__(self, rows: np.ndarray | slice) -> csr_matrix:
        return self.matrix.target(self.cells[rows])

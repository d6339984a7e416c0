"""CountMatrix: checked raw counts with what belongs to their cells and genes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from countae.counts._checksum import check_seal, seal
from countae.errors import CountMatrixError
from countae.files import written_aside

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


@dataclass(frozen=True)
class CountMatrix:
    """Raw integer counts, (cell, gene), over an AnnData whose X has been checked.

    Make one with :func:`countae.counts.read_counts` or :meth:`load`. ``obs["library_size"]`` is
    each cell's total over *all* genes of the experiment; after :func:`countae.prepare.prepare`,
    ``obs["split"]`` and ``layers["fold"]`` say what is held out, and ``uns["countae"]`` holds the
    keys, the reference library size and the seeds. Simulated data carry their truth in
    ``layers["true_mean"]``, ``var["true_…"]`` and ``uns["truth"]``, which names further layers.
    """

    adata: AnnData
    source: str

    @property
    def counts(self) -> csr_matrix:
        """Raw counts, (cell, gene), CSR, int32."""
        return self.adata.X

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
    def protocol(self) -> str:
        """Hold-out protocol for which the matrix was made."""
        return str(self.info.get("protocol", "masked"))

    def target(self, cells: np.ndarray) -> csr_matrix:
        """Raw counts of ``cells`` that are to be predicted: all, or the hidden molecules."""
        visible = self.adata.layers.get("visible")
        return self.counts[cells] if visible is None else self.counts[cells] - visible[cells]

    @property
    def fold(self) -> np.ndarray:
        """Fold in which each entry is hidden, (cell, gene), uint8."""
        return self.adata.layers["fold"]

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

    def save(self, path: str | Path) -> None:
        """Write as .h5ad, aside first."""
        seal(self)
        with written_aside(path) as aside:
            self.adata.write_h5ad(aside, compression="gzip")

    @classmethod
    def load(cls, path: str | Path) -> CountMatrix:
        """Read what :meth:`save` wrote after ``prepare``.

        Raises
        ------
        CountMatrixError
            When the file is not one that ``countae prepare`` wrote, or was changed since.
        """
        from countae.counts._read import read_h5ad

        adata = read_h5ad(path)
        if "split" not in adata.obs or "fold" not in adata.layers or "countae" not in adata.uns:
            raise CountMatrixError(
                f"{path}: must be a counts.h5ad made by `countae prepare`, but it has no "
                "split, folds "
                "or provenance. Fix: run `countae prepare` on this file first."
            )
        matrix = cls(adata, str(path))
        check_seal(matrix)
        return matrix

"""Small files of every format, written with nothing of countae, for tests and the fuzzer."""

from __future__ import annotations

import csv
import gzip
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from scipy import io, sparse


@dataclass(frozen=True)
class Content:
    """Counts (cell, gene) with their names."""

    counts: np.ndarray
    cells: list[str]
    genes: list[str]

    @property
    def ids(self) -> list[str]:
        """Identifiers of the genes, all different."""
        return [f"ENSG{k:011d}" for k in range(len(self.genes))]


def example(cells: int = 30, genes: int = 12, seed: int = 0) -> Content:
    """Poisson counts; names like those of 10x."""
    rng = np.random.default_rng(seed)
    barcodes = ["".join(rng.choice(list("ACGT"), 16)) + "-1" for _ in range(cells)]
    names = ["MT-ND1", "RPL3", "ACTB", *(f"Gene{k}" for k in range(3, genes))][:genes]
    return Content(rng.poisson(0.8, (cells, genes)), barcodes, names)


def anndata_of(content: Content, storage: str = "csr"):
    import anndata
    import pandas as pd

    matrix = sparse.csr_matrix(content.counts.astype(np.float32))
    matrix = {"csr": matrix, "csc": matrix.tocsc(), "dense": matrix.toarray()}[storage]
    obs, var = (
        pd.DataFrame(index=pd.Index(n, dtype=object)) for n in (content.cells, content.genes)
    )
    return anndata.AnnData(matrix, obs=obs, var=var)


def h5ad(content: Content, folder: Path) -> Path:
    anndata_of(content).write_h5ad(folder / "x.h5ad", compression="gzip")
    return folder / "x.h5ad"


def h5ad_csc(content: Content, folder: Path) -> Path:
    anndata_of(content, "csc").write_h5ad(folder / "x.h5ad")
    return folder / "x.h5ad"


def h5ad_dense(content: Content, folder: Path) -> Path:
    anndata_of(content, "dense").write_h5ad(folder / "x.h5ad", compression="lzf")
    return folder / "x.h5ad"


def zarr(content: Content, folder: Path, version: int = 3) -> Path:
    import anndata

    with warnings.catch_warnings(), anndata.settings.override(zarr_write_format=version):
        warnings.simplefilter("ignore")
        anndata_of(content).write_zarr(folder / "x.zarr")
    return folder / "x.zarr"


def zarr_v2(content: Content, folder: Path) -> Path:
    return zarr(content, folder, 2)


def zarr_zip(content: Content, folder: Path) -> Path:
    import shutil

    made = zarr(content, folder, 2)
    shutil.make_archive(str(made), "zip", made)
    shutil.rmtree(made)
    return folder / "x.zarr.zip"


def tenx_h5_v3(content: Content, folder: Path) -> Path:
    matrix = sparse.csr_matrix(content.counts.astype(np.int32))
    with h5py.File(folder / "x.h5", "w") as file:
        group = _tenx_arrays(file.create_group("matrix"), matrix, content)
        features = group.create_group("features")
        for name, values in {
            "id": content.ids,
            "name": content.genes,
            "feature_type": ["Gene Expression"] * len(content.genes),
            "genome": ["GRCh38"] * len(content.genes),
        }.items():
            features.create_dataset(name, data=_text(values))
    return folder / "x.h5"


def tenx_h5_v2(content: Content, folder: Path) -> Path:
    matrix = sparse.csr_matrix(content.counts.astype(np.int32))
    with h5py.File(folder / "x.h5", "w") as file:
        group = _tenx_arrays(file.create_group("GRCh38"), matrix, content)
        group.create_dataset("genes", data=_text(content.ids))
        group.create_dataset("gene_names", data=_text(content.genes))
    return folder / "x.h5"


def _tenx_arrays(group, matrix, content: Content):
    for name in ("data", "indices", "indptr"):
        group.create_dataset(name, data=getattr(matrix, name), compression="gzip", chunks=True)
    group.create_dataset("shape", data=np.array(matrix.shape[::-1], np.int32))
    group.create_dataset("barcodes", data=_text(content.cells))
    return group


def _text(values: list[str]) -> np.ndarray:
    return np.array([value.encode() for value in values])


def tenx_mtx_v3(content: Content, folder: Path) -> Path:
    table = [*zip(content.ids, content.genes, strict=True)]
    features = [f"{i}\t{name}\tGene Expression" for i, name in table]
    return _tenx_folder(content, folder, "features.tsv", features, ".gz")


def tenx_mtx_v2(content: Content, folder: Path) -> Path:
    genes = [f"{i}\t{name}" for i, name in zip(content.ids, content.genes, strict=True)]
    return _tenx_folder(content, folder, "genes.tsv", genes, "")


def _tenx_folder(content: Content, folder: Path, name: str, genes: list[str], ending: str) -> Path:
    made = folder / "filtered"
    made.mkdir()
    opened: Callable = gzip.open if ending else open
    with opened(made / f"matrix.mtx{ending}", "wb") as file:
        io.mmwrite(file, sparse.coo_matrix(content.counts.T), field="integer", symmetry="general")
    for which, lines in ((name, genes), ("barcodes.tsv", content.cells)):
        with opened(made / f"{which}{ending}", "wb") as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
    return made


def matrix_market(content: Content, folder: Path) -> Path:
    counts = sparse.coo_matrix(content.counts)
    io.mmwrite(folder / "x.mtx", counts, field="integer", symmetry="general")
    (folder / "x_cells.txt").write_text("".join(f"{n}\n" for n in content.cells))
    (folder / "x_genes.txt").write_text("".join(f"{n}\n" for n in content.genes))
    return folder / "x.mtx"


def loom(content: Content, folder: Path) -> Path:
    with h5py.File(folder / "x.loom", "w") as file:
        file.create_dataset("matrix", data=content.counts.T.astype(np.float32), compression="gzip")
        text = h5py.string_dtype()
        file.create_dataset("col_attrs/CellID", data=content.cells, dtype=text)
        file.create_dataset("row_attrs/Gene", data=content.genes, dtype=text)
        file.create_dataset("row_attrs/Accession", data=content.ids, dtype=text)
        file.create_group("layers")
    return folder / "x.loom"


def csv_cells(content: Content, folder: Path) -> Path:
    return table(content, folder / "x.csv", ",", transposed=False)


def tsv_genes(content: Content, folder: Path) -> Path:
    return table(content, folder / "x.tsv.gz", "\t", transposed=True)


def table(content: Content, path: Path, separator: str, *, transposed: bool) -> Path:
    rows, columns = (
        (content.genes, content.cells) if transposed else (content.cells, content.genes)
    )
    counts = content.counts.T if transposed else content.counts
    opened: Callable = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(["", *columns])
        for name, values in zip(rows, counts.tolist(), strict=True):
            writer.writerow([name, *values])
    return path


FORMATS: dict[str, Callable[[Content, Path], Path]] = {
    made.__name__: made
    for made in (
        h5ad, h5ad_csc, h5ad_dense, zarr, zarr_v2, zarr_zip, tenx_h5_v3, tenx_h5_v2, tenx_mtx_v3,
        tenx_mtx_v2, matrix_market, loom, csv_cells, tsv_genes,
    )
}  # fmt: skip

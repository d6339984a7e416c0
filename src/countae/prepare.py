"""From a source to counts.h5ad: checked, filtered, split, masked, genes chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from countae import sources, split
from countae.config import Source, check_row
from countae.counts import CountMatrix
from countae.counts._checksum import seal_file
from countae.counts._gene_names import mitochondrial
from countae.counts._quality import cells_to_keep, describe, genes_to_keep
from countae.counts._read import check_tables, tables, truth_layer
from countae.counts._selection import BatchSums, batch_codes, pearson_residuals, seurat_v3
from countae.counts._store import RowWriter, count_type, stored
from countae.counts._sums import GeneSums, sums
from countae.counts.readers import Reader, open_counts
from countae.counts.readers._spill import stacked
from countae.errors import ConfigError
from countae.proteins import protein_table, read_proteins

if TYPE_CHECKING:
    from anndata import AnnData

KEYS = ("label_key", "batch_key", "library_size_key", "donor_key")


def prepare(
    row: Source,
    *,
    simulate: dict[str, Any],
    quality: dict[str, Any],
    genes: dict[str, Any],
    held_out: dict[str, Any],
) -> tuple[CountMatrix, dict[str, Any]]:
    """Checked counts with split and folds, and the triage: what the matrix is, what was removed.

    Parameters
    ----------
    row : Source
    simulate, quality, genes, held_out : dict
        The configuration's sections ``simulate``, ``quality``, ``genes`` and ``split``.

    Returns
    -------
    CountMatrix
        ``obs``: split, library_size, size_factor; ``var["countae_share"]``.
    dict
        Content of triage.json.

    Raises
    ------
    ConfigError, CountMatrixError
        See :func:`countae.counts.read_counts` and the functions called here.
    """
    found = plan(row, simulate=simulate, quality=quality, genes=genes, held_out=held_out)
    return found.in_memory(), found.triage


@dataclass(frozen=True)
class Plan:
    """What is to become of a source: which cells and genes, their tables, and the triage.

    ``cells`` and ``genes`` are bool, of all that the source has; ``matrix`` has the tables of
    those that are kept but no counts yet, ``sums`` are those of its genes over its cells.
    """

    reader: Reader
    cells: np.ndarray
    genes: np.ndarray
    matrix: CountMatrix
    sums: GeneSums
    triage: dict[str, Any]

    def blocks(self) -> Iterator[csr_matrix]:
        """Counts that are kept, (cell, gene), int32, in blocks of cells."""
        return (block[:, self.genes] for block, _ in _kept(self.reader, self.cells))

    def in_memory(self) -> CountMatrix:
        """The prepared matrix, read whole."""
        adata = self._tables()
        adata.X = stacked([*self.blocks()])
        return CountMatrix(adata, self.matrix.source)

    def write(self, path: str | Path) -> None:
        """Write counts.h5ad, some cells at a time."""
        shape, dtype = (int(self.cells.sum()), int(self.genes.sum())), count_type(self.sums.most)
        with stored(path, self._tables()) as file:
            writer = RowWriter(file, "X", shape=shape, stored=self.sums.stored, dtype=dtype)
            for block in self.blocks():
                writer.append(block)
            writer.close()
            seal_file(file)

    def _tables(self) -> AnnData:
        """Tables, and what a simulator says of its counts."""
        adata, names = self.matrix.adata.copy(), self.reader.truth.get("layers", ())
        for name in names:
            adata.layers[name] = truth_layer(self.reader, name, self.cells, self.genes)
        return adata


def plan(
    row: Source,
    *,
    simulate: dict[str, Any],
    quality: dict[str, Any],
    genes: dict[str, Any],
    held_out: dict[str, Any],
) -> Plan:
    """Which cells and genes to keep, and the triage, from passes over blocks of cells.

    Parameters and errors are those of :func:`prepare`. The first pass filters cells; the second
    sums over genes, once it is known which cells train; the choice of variable genes takes one
    more. Proteins are only looked at, so that a key which is wrong is told now and not after all
    fits: before the first pass, and again when cells and genes are known.
    """
    check_row(row)
    with_proteins = sources.parts(row.source)[0]
    if row.protein_key:
        protein_table(with_proteins, row.protein_key)
    keys = {name: getattr(row, name) for name in KEYS}
    reader = open_counts(
        row.source, layer=row.layer, orientation=row.orientation,
        simulate=lambda family: simulated(family, simulate),
    )  # fmt: skip
    check_tables(reader, keys)
    gene_id = reader.var.index.to_numpy(object)
    of_cells, raw = sums(reader.blocks(), mitochondrial(reader.var))
    everything = CountMatrix(tables(reader, keys, of_cells.total), row.source)
    thresholds = {k: v for k, v in quality.items() if k != "min_cells_per_gene"}
    cells, removed_cells = cells_to_keep(
        of_cells, source=row.source, cell_id=everything.cell_id, **thresholds
    )
    tabled = everything.subset(cells, slice(None))
    part = _parts(tabled, held_out)
    in_training, others, of_batches, codes = _sums_by_part(reader, cells, tabled, part)

    def choose(among: np.ndarray, number: int) -> np.ndarray:
        return _variable(reader, cells, part, (of_batches, codes), among, number, genes)

    kept_genes, removed_genes = genes_to_keep(
        in_training.seen, source=row.source, gene_id=gene_id, n_train=in_training.cells,
        wanted=row.genes, min_cells_per_gene=quality["min_cells_per_gene"],
        gene_selection=genes["gene_selection"], choose=choose,
    )  # fmt: skip
    matrix = tabled.subset(slice(None), kept_genes)
    if row.protein_key:
        read_proteins(with_proteins, row.protein_key, matrix.cell_id, matrix.gene_id)
    mark(matrix, part, held_out, total=in_training.total[kept_genes])
    modelled = (in_training + others).of_genes(kept_genes)
    triage = {
        "source": row.source,
        "row": asdict(row),
        "settings": {
            "simulate": simulate, "quality": quality, "genes": genes, "split": held_out,
        },
        "raw": describe(raw, everything.library_size, row.protocol),
        "modelled": describe(modelled, matrix.library_size, row.protocol),
        "parts": {name: int((part == name).sum()) for name in split.PARTS},
        "removed_cells": removed_cells,
        "removed_genes": removed_genes,
        "labels": _tally(matrix.labels),
        "notes": _notes(matrix, removed_cells, removed_genes),
    }  # fmt: skip
    return Plan(reader, cells, kept_genes, matrix, modelled, triage)


def _kept(reader: Reader, cells: np.ndarray) -> Iterator[tuple[csr_matrix, slice]]:
    """Blocks of the cells that are kept, with their places among these."""
    start = place = 0
    for block in reader.blocks():
        inside = cells[start : start + block.shape[0]]
        start += block.shape[0]
        block = block if inside.all() else block[inside]
        yield block, slice(place, place + block.shape[0])
        place += block.shape[0]


def _parts(matrix: CountMatrix, held_out: dict[str, Any]) -> np.ndarray:
    """Part of each cell, in the same proportions within every batch and donor."""
    keys = [matrix.info[name] for name in ("batch_key", "donor_key") if matrix.info[name]]
    strata = [matrix.obs[key].to_numpy(str) for key in keys]
    return split.split_cells(
        np.array(["\t".join(names) for names in zip(*strata, strict=True)])
        if strata
        else np.full(len(matrix.obs), ""),
        seed=held_out["split_seed"],
        **{k: v for k, v in held_out.items() if k not in ("split_seed", "folds")},
    )


def _sums_by_part(
    reader: Reader, cells: np.ndarray, matrix: CountMatrix, part: np.ndarray
) -> tuple[GeneSums, GeneSums, BatchSums, np.ndarray]:
    """Sums of the training cells and of the others, those of batches, and each cell's batch.

    Batches are those of training cells; the code of another cell means nothing.
    """
    train, key = part == "train", matrix.info["batch_key"]
    names = matrix.obs[key].to_numpy(str)[train] if key else None
    code = np.zeros(len(part), np.int64)
    code[train] = batch_codes(names, int(train.sum()))
    in_training, others = (GeneSums.none(reader.shape[1]) for _ in range(2))
    of_batches = BatchSums.none(code[train], reader.shape[1])
    for block, place in _kept(reader, cells):
        training, of_block = block[train[place]], code[place][train[place]]
        in_training.add(training)
        others.add(block[~train[place]])
        if len(of_batches.cells) > 1:
            of_batches.add(training, of_block)
    if len(of_batches.cells) == 1:
        of_batches.total[0], of_batches.square[0] = in_training.total, in_training.square
    return in_training, others, of_batches, code


def _variable(
    reader: Reader,
    cells: np.ndarray,
    part: np.ndarray,
    batches: tuple[BatchSums, np.ndarray],
    among: np.ndarray,
    number: int,
    settings: dict[str, Any],
) -> np.ndarray:
    """Highly variable genes among those with some indices, bool."""
    train, (sums_of_batches, code) = part == "train", batches

    def training() -> Iterator[tuple[csr_matrix, np.ndarray]]:
        for block, place in _kept(reader, cells):
            inside = train[place]
            yield block[inside], code[place][inside]

    if settings["gene_selection"] == "seurat_v3":
        return seurat_v3(training, sums_of_batches, among, number)
    return pearson_residuals(training, sums_of_batches, among, number, source=reader.source)


def mark(
    matrix: CountMatrix, part: np.ndarray, held_out: dict[str, Any], *, total: np.ndarray
) -> None:
    """Enter split, reference size, number of folds and gene shares into a matrix.

    ``total`` is each gene's count over the training cells, (gene,).
    """
    train = part == "train"
    matrix.info.update(
        reference_size=float(np.median(matrix.library_size[train])),
        folds=held_out["folds"],
        split_seed=held_out["split_seed"],
    )
    matrix.obs["split"] = part
    matrix.obs["size_factor"] = matrix.size_factor
    matrix.adata.var["countae_share"] = total / matrix.library_size[train].sum()


def simulated(family: str, settings: dict[str, Any]) -> Any:
    """Data from the simulator called ``family``, around means that its seed invents."""
    from countae import simulate
    from countae.simulate._stream import MOST_WITH_TRUTH

    if settings["n_cells"] * settings["n_genes"] > MOST_WITH_TRUTH:
        raise ConfigError(
            f"simulate:{family}: {settings['n_cells']:,} cells × {settings['n_genes']:,} genes "
            f"are more than the {MOST_WITH_TRUTH:,} entries that are simulated in memory. Fix: "
            f"write them to a file first, with `countae simulate {family} FILE.h5ad`, and name "
            "the file."
        )
    seed = settings["simulation_seed"]
    rng = np.random.default_rng(seed)
    plan = simulate.random_design(
        cells=settings["n_cells"],
        genes=settings["n_genes"],
        types=settings["n_types"],
        batches=settings["n_batches"],
        depth=settings["depth"],
        rng=rng,
    )
    return simulate.from_design(family, plan, seed=seed, rng=rng)


def _tally(labels: np.ndarray | None) -> dict[str, int]:
    """Number of cells per label."""
    if labels is None:
        return {}
    return dict(
        zip(*(values.tolist() for values in np.unique(labels, return_counts=True)), strict=True)
    )


def _notes(matrix: CountMatrix, cells: dict[str, int], genes: dict[str, int]) -> list[str]:
    """Remarks that a reader of the report should see."""
    notes = list(matrix.info.get("notes", ()))
    if matrix.info["rounded"]:
        notes.append("Values were floats within 1e-6 of integers and were rounded to counts.")
    if any(cells.values()):
        notes.append(f"The quality filter removed cells: {_listing(cells)}.")
    if genes["min_cells_per_gene"]:
        notes.append(
            "Number of genes removed because too few training cells show them: "
            f"{genes['min_cells_per_gene']:,}."
        )
    return notes + absent_donors(matrix)


def absent_donors(matrix: CountMatrix) -> list[str]:
    """Remark on donors who are not among the test cells, by which errors are computed."""
    if matrix.donors is None:
        return []
    donors = matrix.donors
    everybody, tested = np.unique(donors), np.unique(donors[matrix.part == "test"])
    absent = np.setdiff1d(everybody, tested)
    if not absent.size:
        return []
    how = "by cell" if len(tested) < 2 else f"by donor over the other {len(tested):,}"
    return [
        f"{len(absent):,} of {len(everybody):,} donors have no test cell, because they have too "
        f"few cells for every part; first: {absent[0]!s}. Standard errors are {how}. Fix: bring "
        "more cells of them, raise split.test_fraction, or name larger replicates in `donor_key`."
    ]


def _listing(removed: dict[str, int]) -> str:
    return ", ".join(f"{number:,} by {name}" for name, number in removed.items() if number)

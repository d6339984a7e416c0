"""From a source to counts.h5ad: checked, filtered, split, masked, genes chosen."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from countae import split
from countae.config import Source, check_row
from countae.counts import CountMatrix, read_counts
from countae.counts._quality import cells_to_keep, describe, genes_to_keep


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
        ``obs``: split, library_size, size_factor; ``layers["fold"]``; ``var["countae_share"]``.
    dict
        Content of triage.json.

    Raises
    ------
    ConfigError, CountMatrixError
        See :func:`countae.counts.read_counts` and the functions called here.
    """
    check_row(row)
    raw = read_counts(
        row.source,
        layer=row.layer,
        label_key=row.label_key,
        batch_key=row.batch_key,
        library_size_key=row.library_size_key,
        donor_key=row.donor_key,
        orientation=row.orientation,
        simulate=lambda family: simulated(family, simulate),
    )
    quality = dict(quality)
    min_cells_per_gene = quality.pop("min_cells_per_gene")
    keep_cells, removed_cells = cells_to_keep(raw, **quality)
    cells = raw.subset(keep_cells, slice(None))

    strata = [cells.obs[key].to_numpy(str) for key in (row.batch_key, row.donor_key) if key]
    part = split.split_cells(
        np.array(["\t".join(names) for names in zip(*strata, strict=True)])
        if strata
        else np.full(len(cells.obs), ""),
        test_fraction=held_out["test_fraction"],
        validation_fraction=held_out["validation_fraction"],
        seed=held_out["split_seed"],
    )
    train = part == "train"
    keep_genes, removed_genes = genes_to_keep(
        cells,
        train,
        wanted=row.genes,
        min_cells_per_gene=min_cells_per_gene,
        gene_selection=genes["gene_selection"],
    )
    matrix = cells.subset(slice(None), keep_genes)
    mark(matrix, part, held_out)
    triage = {
        "source": row.source,
        "row": asdict(row),
        "settings": {
            "simulate": simulate,
            "quality": quality | {"min_cells_per_gene": min_cells_per_gene},
            "genes": genes,
            "split": held_out,
        },
        "raw": describe(raw.counts, raw.library_size, row.protocol),
        "modelled": describe(matrix.counts, matrix.library_size, row.protocol),
        "parts": {name: int((part == name).sum()) for name in split.PARTS},
        "removed_cells": removed_cells,
        "removed_genes": removed_genes,
        "labels": _tally(matrix.labels),
        "notes": _notes(matrix, removed_cells, removed_genes),
    }
    return matrix, triage


def mark(matrix: CountMatrix, part: np.ndarray, held_out: dict[str, Any]) -> None:
    """Enter split, folds, reference size and gene shares into a matrix."""
    train = part == "train"
    matrix.info.update(
        reference_size=float(np.median(matrix.library_size[train])),
        folds=held_out["folds"],
        split_seed=held_out["split_seed"],
    )
    matrix.obs["split"] = part
    matrix.obs["size_factor"] = matrix.size_factor
    total = matrix.counts[train].sum(axis=0).A1
    matrix.adata.var["countae_share"] = total / matrix.library_size[train].sum()
    matrix.adata.layers["fold"] = split.draw_folds(
        matrix.counts.shape, n_folds=held_out["folds"], seed=held_out["split_seed"]
    )


def simulated(family: str, settings: dict[str, Any]) -> Any:
    """Data from the simulator called ``family``, around means that its seed invents."""
    from countae import simulate

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

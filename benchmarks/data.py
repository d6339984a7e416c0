"""The matrices on which benchmarks of real counts run, and how each is prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from countae.config import Source
from countae.counts import CountMatrix
from countae.prepare import prepare

# name: source, row, genes
DATA: dict[str, tuple[str, dict[str, str], str]] = {
    "pbmc68k": (
        "builtin:pbmc68k_reduced",
        {"library_size_key": "n_counts", "label_key": "bulk_labels"}, "all",
    ),
    "lung_celseq2": ("lung_lines_celseq2", {"label_key": "cell_line"}, "500"),
    "lung_dropseq": ("lung_lines_dropseq", {"label_key": "cell_line"}, "500"),
    "neural_c1_reads": ("neural_c1_smarter_reads", {"label_key": "cell_type"}, "500"),
    "th2_c1_reads": ("th2_c1_smarter_reads", {}, "500"),
    "celltypist_10x": ("celltypist_sample_10x", {}, "500"),
    "tcells_umi": ("scmark_tcells_umi", {"label_key": "cell_type"}, "500"),
    "worm_10x": ("worm_embryo_10x", {"label_key": "cell.type", "batch_key": "batch"}, "500"),
    "pbmc8k_10x": ("pbmc8k_10x", {}, "500"),
    "simulated_nb": ("simulate:nb", {}, "all"),
    "simulated_zinb": ("simulate:zinb", {}, "all"),
}  # fmt: skip

THINNING = 0x7411


def there(names: list[str], folder: Path) -> list[str]:
    """Those of the data sets that need no file or whose file is in ``folder``."""
    return [
        name
        for name in names
        if ":" in DATA[name][0] or (folder / f"{DATA[name][0]}.h5ad").exists()
    ]


def prepared(
    name: str, folder: Path, settings: dict[str, Any], cells: int | None = None
) -> CountMatrix:
    """Counts with split and folds; of more than ``cells`` cells a random part."""
    source, row, genes = DATA[name]
    path = source if ":" in source else str(folder / f"{source}.h5ad")
    matrix, _ = prepare(
        Source(path, genes=genes, **row), simulate=settings["simulate"],
        quality=settings["quality"], genes=settings["genes"], held_out=settings["split"],
    )  # fmt: skip
    if cells is None or len(matrix.obs) <= cells:
        return matrix
    # the split is drawn with a plain seed: another stream, or all chosen cells would be test cells
    rng = np.random.default_rng([THINNING, settings["split"]["split_seed"]])
    chosen = np.sort(rng.permutation(len(matrix.obs))[:cells])
    return matrix.subset(chosen, slice(None))

"""Cells per second of each loader: rows of random cells, made dense, as a training step does.

    python benchmarks/loaders.py FOLDER [--cells 300000]

Each case is a process of its own, so that its memory is its own; cases alternate, and the median
of the rounds is printed. annbatch is left out where it is not installed (it needs Python 3.12).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import torch
from scipy.sparse import random as random_sparse
from scipy.sparse import vstack

GENES, STORED, STEP = 2_000, 0.05, 128  # genes, share of counts that are not zero, cells of a step
CASES = {
    "mapped": "mapped file",
    "annbatch": "annbatch over the mapped file",
    "annbatch_zarr": "annbatch over zarr",
}


def make(folder: Path, cells: int) -> None:
    """Counts as ``countae prepare`` keeps them, and in zarr.

    In a process of its own, since those that a process starts inherit its peak of memory.
    """
    import anndata
    import zarr
    from anndata.io import write_elem

    from countae.counts import _store

    rng = np.random.default_rng(0)
    blocks = [
        random_sparse(
            min(10_000, cells - start), GENES, STORED, "csr", np.float32, rng,
            lambda n: rng.geometric(0.5, n).astype(np.float32),
        )
        for start in range(0, cells, 10_000)
    ]  # fmt: skip
    counts = vstack(blocks, "csr").astype(np.uint8)
    _store.write(anndata.AnnData(counts), folder / "counts.h5ad")
    write_elem(zarr.open_group(folder / "counts.zarr", mode="w", zarr_format=3), "X", counts)


def one(folder: Path, case: str, seconds: float) -> None:
    """Read steps for some seconds and print cells per second and peak memory."""
    from countae.counts import _store, loaders
    from countae.fit import peak_memory
    from countae.protocols._base import Rows

    if case.endswith("zarr"):
        import zarr
        from anndata.io import sparse_dataset

        counts = sparse_dataset(zarr.open_group(folder / "counts.zarr", mode="r")["X"])
    else:
        counts = _store.read(folder / "counts.h5ad").X
    loader = loaders.get(case.removesuffix("_zarr"))(counts)
    rng, device, read = np.random.default_rng(1), torch.device("cpu"), 0
    Rows(*loader.rows(np.arange(STEP))).dense(device)  # compiles
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        cells = rng.choice(counts.shape[0], STEP, replace=False, shuffle=True)
        read += len(Rows(*loader.rows(cells)).dense(device))
    rate = read / (time.perf_counter() - began)
    print(json.dumps({"cells_per_second": rate, "megabytes": peak_memory()}))


def main() -> None:
    """Make the counts once, then run every case in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--case", choices=["make", *CASES])
    chosen = parser.parse_args()
    if chosen.case == "make":
        return make(chosen.folder, chosen.cells)
    if chosen.case:
        return one(chosen.folder, chosen.case, chosen.seconds)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    again = [sys.executable, __file__, str(chosen.folder), "--cells", str(chosen.cells)]
    if not (chosen.folder / "counts.zarr").exists():
        subprocess.run([*again, "--case", "make"], check=True)
    cases = [case for case in CASES if case == "mapped" or find_spec("annbatch") is not None]
    measured: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(chosen.rounds):
        for case in cases:
            words = [*again, "--case", case, "--seconds", str(chosen.seconds)]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            measured[case].append(json.loads(done.stdout.splitlines()[-1]))
    print("| counts are read by | cells per second | peak memory, MB |\n|---|---|---|")
    for case, rounds in measured.items():
        rate, memory = (
            median(r[key] for r in rounds) for key in ("cells_per_second", "megabytes")
        )
        print(f"| {CASES[case]} | {rate:,.0f} | {memory:,.0f} |")


if __name__ == "__main__":
    main()

"""Time and memory of scoring at full size: `python benchmarks/scoring.py`.

Scores one network of each loss on 50,000 cells × 2,000 genes (10,000 of them test cells), with all
metrics and noise columns, each in a process of its own as the workflow does, and prints what five
losses with five seeds cost. The networks are not trained: scoring does the same work either way.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

LOSSES = ["mse_counts", "mse_log1p", "poisson", "nb", "zinb"]
SEEDS = 5


def make(cells: int, genes: int, folder: Path) -> None:
    """A prepared NB matrix and an untrained network of each loss."""
    import anndata
    import pandas as pd
    import torch
    from scipy.sparse import csr_matrix, vstack

    from countae import config, likelihoods
    from countae.counts import CountMatrix
    from countae.fit import FitRecord, save
    from countae.likelihoods._moments import gene_moments
    from countae.model import CountAutoencoder
    from countae.prepare import mark

    rng = np.random.default_rng(0)
    level = np.exp(rng.normal(-1.5, 1.2, genes))
    theta = rng.lognormal(np.log(2), 0.7, genes)
    parts = []
    for _ in range(0, cells, 5_000):
        mean = rng.lognormal(0, 0.35, (5_000, 1)) * level
        parts.append(csr_matrix(rng.poisson(rng.gamma(theta, mean / theta)).astype(np.int32)))
    counts = vstack(parts, format="csr")[:cells]
    obs = pd.DataFrame(
        {"library_size": np.maximum(counts.sum(axis=1).A1, 1.0)},
        index=[f"cell{i}" for i in range(cells)],
    )
    var = pd.DataFrame(index=[f"gene{j}" for j in range(genes)])
    matrix = CountMatrix(anndata.AnnData(counts, obs=obs, var=var), "benchmark")
    settings = config.validated({})
    part = np.full(cells, "train", dtype=object)
    part[: cells // 5], part[cells // 5 : cells // 3] = "test", "validation"
    mark(matrix, part.astype(str), settings["split"])
    matrix.save(folder / "counts.h5ad")
    train = np.flatnonzero(part == "train")
    moments = gene_moments(counts=counts[train], size_factor=matrix.size_factor[train])
    for name in LOSSES:
        torch.manual_seed(0)
        network = CountAutoencoder(likelihoods.get(name)(), moments, **settings["network"])
        record = FitRecord(
            name, "", 0, "", 0, settings["network"], settings["training"],
            matrix.gene_id.tolist(), "cpu", 1, 0,
        )  # fmt: skip
        save(network, record, folder / f"{name}.safetensors")


def main() -> None:
    """Make the data unless they are there, score each loss, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the data; about 300 MB at full size")
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--genes", type=int, default=2_000)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "counts.h5ad").exists():
        make(options.cells, options.genes, options.folder)
    print("| loss | seconds | peak memory, MB |\n|---|---|---|")
    total = 0.0
    for name in LOSSES:
        began = time.perf_counter()
        files = [options.folder / f"{name}.{kind}" for kind in ("parquet", "cells.parquet", "npz")]
        command = [
            sys.executable, "-m", "countae", "score", str(options.folder / "counts.h5ad"),
            str(files[0]), "--cells", str(files[1]), "--entries", str(files[2]),
            "--model", str(options.folder / f"{name}.safetensors"), "--threads", "1",
        ]  # fmt: skip
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        total += seconds
        print(f"| {name} | {seconds:.1f} | {peak:,.0f} (largest so far) |", flush=True)
    minutes = total * SEEDS / 60
    print(f"\nfive losses × five seeds: {minutes:.0f} min on one core, {minutes / 2:.0f} on two")


if __name__ == "__main__":
    main()

"""Throughput, agreement with the CPU, and memory of a GPU: python tests/gpu/report.py.

Prints a table per loss on 20,000 cells × 2,000 genes, or as many as are asked for.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch

from countae import config, likelihoods, memory, protocols
from countae.config import Source
from countae.devices import choose_place, seeded
from countae.fit import versions
from countae.model import CountAutoencoder
from countae.prepare import prepare
from countae.start import best_constants
from countae.training import Trainer, losses_of

SETTINGS = config.validated({})


def main() -> None:
    """Print the table; exit with 1 where a GPU and the CPU disagree."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--device", default="cuda")
    words.add_argument("--cells", type=int, default=20_000)
    words.add_argument("--genes", type=int, default=2_000)
    words.add_argument("--batches", type=int, nargs="+", default=[128, 1024])
    words.add_argument("--likelihoods", nargs="+", default=SETTINGS["likelihoods"])
    words.add_argument("--precisions", nargs="+", default=["32", "bf16-mixed"])
    asked = words.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device: nothing was measured")
    size = {"n_cells": asked.cells, "n_genes": asked.genes, "depth": 2.0 * asked.genes}
    matrix = prepare(
        Source("simulate:nb", genes="all"), simulate=SETTINGS["simulate"] | size,
        quality=SETTINGS["quality"], genes=SETTINGS["genes"], held_out=SETTINGS["split"],
    )[0]  # fmt: skip
    kind = torch.cuda.get_device_name() if asked.device == "cuda" else asked.device
    print(kind, versions(), f"{matrix.counts.shape}", sep="\n")
    print("loss precision batch cells/s peak_GB estimated_GB gap_to_cpu")
    gaps = [
        measured(matrix, name, precision, batch, asked.device)
        for name in asked.likelihoods
        for precision in asked.precisions
        for batch in asked.batches
    ]
    sys.exit(int(max(gaps) > 1e-2))


def measured(matrix, name, precision, batch, device) -> float:
    """Print a row; return the relative gap of a step's loss to that of the CPU, same mask."""
    place = choose_place(device, precision=precision)
    data = protocols.get("masked")(matrix, place.device, None, place.dtype)
    train = np.flatnonzero(matrix.part == "train")
    sizes = data.full_size_factor(train)
    family = likelihoods.get(name)()
    moments = best_constants(family, counts=matrix.targets(train), size_factor=sizes)
    with seeded(place.device, 0):
        settings = SETTINGS["network"] | {"dropout": 0.0}
        model = CountAutoencoder(family, moments, **settings).to(place.device)
        training = SETTINGS["training"] | {"batch_size": batch, "precision": precision}
        trainer = Trainer(model, data, training, place)
        gap = gap_to_cpu(trainer, matrix, train[:batch])
        generator = torch.Generator().manual_seed(0)
        trainer.epoch(0, train, generator)  # to warm up
        if place.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        trainer.epoch(1, train, generator)  # ends by reading the losses, so all is done
        seconds = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated() if place.device.type == "cuda" else float("nan")
    need = memory.bytes_of_weights(model) + batch * memory.bytes_per_cell(model)
    print(
        f"{name} {precision} {batch} {len(train) / seconds:,.0f} {peak / 1e9:.3f} "
        f"{need / 1e9:.3f} {gap:.1e}",
        flush=True,
    )
    return gap


def gap_to_cpu(trainer, matrix, cells) -> float:
    """How far a step's loss is from that of the same weights and mask on the CPU."""
    if trainer.stepper is None:
        return 0.0
    step = trainer.stepper.step(cells, len(cells), torch.Generator().manual_seed(1))
    with torch.no_grad():
        there = trainer.stepper.module(step).item()
        here = protocols.get("masked")(matrix, "cpu", None, trainer.place.dtype)
        task = here._task(cells, np.ascontiguousarray(step.wanted.cpu().numpy().T))
        losses, _ = losses_of(trainer.model.to("cpu"), task)
        trainer.model.to(trainer.place.device)
    return abs(losses.mean().item() / there - 1)


if __name__ == "__main__":
    main()

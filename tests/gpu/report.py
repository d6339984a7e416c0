"""Throughput, agreement with the CPU, and memory of a GPU: python tests/gpu/report.py.

Prints a row per loss, precision and batch size on 20,000 cells × 2,000 genes, or as many as are
asked for, then what is wrong. Exits with 1 where something is, with 2 where nothing was measured.
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
import time
from contextlib import ExitStack

import numpy as np
import torch

from countae import config, likelihoods, memory, protocols
from countae.config import Source
from countae.devices import choose_place, repeatable, seeded
from countae.errors import CountaeError
from countae.fit import peak_memory, versions
from countae.model import CountAutoencoder
from countae.prepare import prepare
from countae.start import best_constants
from countae.stepping import Stepper
from countae.training import Trainer, losses_of

SETTINGS = config.validated({})
# relative gap between a step's loss here and on the CPU that rounding may make: sums in another
# order in single precision, products in bfloat16, size factors that tasks have in single precision
LARGEST_GAP = {"32": 1e-4, "bf16-mixed": 1e-2, "64": 1e-6}


def main() -> None:
    """Print the table and what is wrong; exit with 1 where something is."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--device", default="cuda")
    words.add_argument("--cells", type=int, default=20_000)
    words.add_argument("--genes", type=int, default=2_000)
    words.add_argument("--batches", type=int, nargs="+", default=[128, 1024])
    words.add_argument("--likelihoods", nargs="+", default=SETTINGS["likelihoods"])
    words.add_argument(
        "--precisions", nargs="+", default=["32", "bf16-mixed"], choices=LARGEST_GAP
    )
    words.add_argument("--algorithms", default=SETTINGS["training"]["algorithms"])
    asked = words.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: nothing was measured", file=sys.stderr)
        sys.exit(2)
    size = {"n_cells": asked.cells, "n_genes": asked.genes, "depth": 2.0 * asked.genes}
    matrix = prepare(
        Source("simulate:nb", genes="all"), simulate=SETTINGS["simulate"] | size,
        quality=SETTINGS["quality"], genes=SETTINGS["genes"], held_out=SETTINGS["split"],
    )[0]  # fmt: skip
    kind = torch.cuda.get_device_name() if asked.device == "cuda" else asked.device
    print(f"{kind}, CUDA {torch.version.cuda}", versions(), matrix.counts.shape, sep="\n")
    print("loss precision batch cells/s peak_GB estimated_GB gap_to_cpu")
    wrong = [
        found
        for name in asked.likelihoods
        for precision in asked.precisions
        for batch in asked.batches
        for found in measured(matrix, name, precision, batch, asked.device, asked.algorithms)
    ]
    print(f"main memory of this process: at most {peak_memory() / 1e3:.1f} GB")
    print(*(wrong or ["All rows are finite and agree with the CPU."]), sep="\n")
    sys.exit(int(bool(wrong)))


def measured(matrix, name, precision, batch, device, algorithms) -> list[str]:
    """Print a row; return a sentence for each thing that is wrong in it."""
    row = f"{name} {precision} {batch}"
    try:
        gap, told = row_of(matrix, name, precision, batch, device, algorithms)
    except CountaeError as error:
        return [f"{row}: {error}"]
    print(row, told, f"{gap:.1e}", flush=True)
    limit = LARGEST_GAP[precision]
    if gap <= limit:  # false for NaN
        return []
    return [
        f"{row}: a step's loss does not agree with that of the CPU: the relative gap is "
        f"{gap:.1e}, but must be at most {limit:.0e}."
    ]


def row_of(matrix, name, precision, batch, device, algorithms) -> tuple[float, str]:
    """Relative gap to the CPU's loss, and a row's numbers before it."""
    gc.collect()  # what the row before held would count as this one's
    training = SETTINGS["training"] | {
        "batch_size": batch, "precision": precision, "algorithms": algorithms
    }  # fmt: skip
    place = choose_place(device, precision=precision)
    data = protocols.get("masked")(matrix, place.device, None, place.dtype)
    train = np.flatnonzero(matrix.part == "train")
    sizes = data.full_size_factor(train)
    family = likelihoods.get(name)()
    moments = best_constants(family, counts=matrix.targets(train), size_factor=sizes)
    with ExitStack() as stack:  # as in a fit
        stack.enter_context(seeded(place.device, 0))
        stack.enter_context(repeatable(place.device, algorithms))
        settings = SETTINGS["network"] | {"dropout": 0.0}
        model = CountAutoencoder(family, moments, **settings).to(place.device)
        stack.enter_context(memory.enough_memory(model, place, batch))
        trainer = Trainer(model, data, training, place)
        generator = torch.Generator().manual_seed(0)
        trained(trainer, 0, train, generator)  # to warm up
        gap = gap_to_cpu(trainer, matrix, train[:batch])
        if place.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        trained(trainer, 1, train, generator)  # ends by reading the losses, so all is done
        seconds = time.perf_counter() - began
    cells = min(len(train), batch * training["epoch_steps"])
    peak = torch.cuda.max_memory_allocated() if place.device.type == "cuda" else math.nan
    need = memory.bytes_of_weights(model) + batch * memory.bytes_per_cell(model)
    return gap, f"{cells / seconds:,.0f} {peak / 1e9:.3f} {need / 1e9:.3f}"


def trained(trainer, epoch, cells, generator) -> None:
    """Train for an epoch; CountaeError where a loss was not finite."""
    loss, failed = trainer.epoch(epoch, cells, generator)
    if failed is not None:
        raise CountaeError(f"training gave a loss of {loss} in epoch {epoch + 1}.")


def gap_to_cpu(trainer, matrix, cells) -> float:
    """How far a step's loss is from that of the same weights and mask on the CPU, relatively.

    Not finite where one of the two is not.
    """
    place = trainer.place
    stepper = trainer.stepper or Stepper(trainer.model, trainer.data, place, compiled=False)
    step = stepper.step(cells, len(cells), torch.Generator().manual_seed(1))
    with torch.no_grad():
        there = stepper.module(step).item()
        here = protocols.get("masked")(matrix, "cpu", None, place.dtype)
        task = here._task(cells, np.ascontiguousarray(step.wanted.cpu().numpy().T))
        losses, _ = losses_of(trainer.model.to("cpu"), task)
        trainer.model.to(place.device)
    expected = losses.mean().item()
    return abs(there - expected) / max(abs(expected), sys.float_info.min)


if __name__ == "__main__":
    main()

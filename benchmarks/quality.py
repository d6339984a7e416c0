"""Wall time to one held-out score, ours against scvi-tools: `python benchmarks/quality.py FOLDER`.

The score is −log P of a held-out cell's counts under the network's ZINB, the cell being seen whole
(in nats per cell); that is what the peer's loss asks of it. Ours is trained with the loss on all
entries, which asks the same, and with a fifth of the entries hidden, which asks something harder.
Both are trained at the peer's default step size and at 4e-3. The mark to reach is what the peer
reaches at its default in the given number of epochs. Scoring is not timed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from training import Contestant, machine, make, matrix_of, network_of, protocol_of, write_between

RATES = (1e-3, 4e-3)
BATCH, HELD_OUT = 128, 0.1


def ours(path: Path, train: int, rate: float, everything: bool, epochs: int) -> dict[str, Any]:
    """Seconds of each epoch and the score after it."""
    import torch

    from countae.training import Trainer

    matrix = matrix_of(path, train)
    model, data = network_of(matrix, "zinb", train), protocol_of(matrix, everything)
    held = protocol_of(matrix, True).whole(np.arange(train, matrix.counts.shape[0]))
    settings = {
        "batch_size": BATCH,
        "learning_rate": rate,
        "weight_decay": 0.0,
        "epoch_steps": 10**9,
    }
    trainer, generator = Trainer(model, data, settings), torch.Generator().manual_seed(0)
    trainer.epoch(0, np.arange(BATCH), torch.Generator().manual_seed(1))  # compiled
    seconds, scores = [], []
    for _ in range(epochs):
        began = time.perf_counter()
        trainer.epoch(0, np.arange(train), generator)
        seconds.append(time.perf_counter() - began)
        with torch.no_grad():
            at = model(held.counts, held.size_factor)
            scores.append(-model.likelihood.log_pmf(held.target, **at).sum(dim=1).mean().item())
    return {"seconds": seconds, "scores": scores}


def until(run: dict[str, Any], mark: float) -> str:
    """Seconds and epochs until a score is as low as the mark."""
    reached = np.flatnonzero(np.array(run["scores"]) <= mark)
    if not len(reached):
        return f"not in {len(run['scores'])} epochs (best {min(run['scores']):,.1f})"
    n = int(reached[0]) + 1
    return f"{sum(run['seconds'][:n]):.1f} s ({n} epochs)"


def main() -> None:
    """Train all, print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for data")
    parser.add_argument("--peer-python", default="", help="Python with scvi-tools")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="2,048 cells, three epochs")
    parser.add_argument("--write", type=Path, help="page to put the table into")
    options = parser.parse_args()
    if not options.peer_python:
        sys.exit("The mark is the peer's score: `--peer-python` must name its environment.")
    import torch

    torch.set_num_threads(options.threads)
    options.folder.mkdir(parents=True, exist_ok=True)
    path = make("A", options.folder, 2_048 if options.quick else None)
    cells = matrix_of(path).counts.shape[0]
    train, epochs = round((1 - HELD_OUT) * cells), 3 if options.quick else options.epochs
    runs = {}
    for rate in RATES:
        given = {"data": str(path), "train": train, "batch": BATCH, "threads": options.threads,
                 "likelihood": "zinb", "rate": rate}  # fmt: skip
        peer = Contestant(options.peer_python, "peer_scvi.py", given)
        runs["scvi-tools", rate] = peer.train(epochs)
        peer.end()
        for title, everything in (("ours, all entries", True), ("ours, hidden entries", False)):
            runs[title, rate] = ours(path, train, rate, everything, 2 * epochs)
    mark = runs["scvi-tools", RATES[0]]["scores"][-1]
    (options.folder / "quality.json").write_text(
        json.dumps({f"{name}, {rate}": run for (name, rate), run in runs.items()})
    )
    options.rounds = 1
    lines = [machine(options), "", f"To {mark:,.1f} nats per held-out cell:", "",
             "| network | step size 1e-3 | step size 4e-3 |", "|---|---|---|"]  # fmt: skip
    for name in dict.fromkeys(title for title, _ in runs):
        lines.append(f"| {name} | {' | '.join(until(runs[name, r], mark) for r in RATES)} |")
    text = "\n".join(lines)
    print(text)
    if options.write:
        write_between(options.write, "quality", text)


if __name__ == "__main__":
    main()

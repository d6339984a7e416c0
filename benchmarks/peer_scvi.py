"""The peer of `training.py` and `quality.py`: scvi-tools' SCVI, trained by its own code.

Runs in an environment of its own with scvi-tools 1.4 and nothing of countae. It reads commands
from standard input and answers in JSON, line by line, so that it can be measured in turn.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path


def main() -> None:
    """Serve: ``{"epochs": n}`` trains on and answers with the seconds of each epoch."""
    given = json.loads(sys.argv[1])
    warnings.filterwarnings("ignore")
    import logging

    import anndata
    import lightning.pytorch as pl
    import numpy as np
    import scvi
    import torch
    from scipy.sparse import load_npz

    logging.disable(logging.WARNING)
    torch.set_num_threads(given["threads"])
    scvi.settings.seed = 0
    counts = load_npz(Path(given["data"])).astype(np.float32)
    train = int(given.get("train", counts.shape[0]))
    adata = anndata.AnnData(counts[:train].copy())
    scvi.model.SCVI.setup_anndata(adata)
    model = scvi.model.SCVI(adata, gene_likelihood=given["likelihood"])
    held = None
    if train < counts.shape[0]:
        held = anndata.AnnData(counts[train:].copy())

    class Clock(pl.Callback):
        """Seconds of each epoch, and the held-out score after it, which is not timed."""

        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.processor: list[float] = []
            self.scores: list[float] = []

        def on_train_epoch_start(self, *_: object) -> None:
            self.began = time.perf_counter(), time.process_time()

        def on_train_epoch_end(self, *_: object) -> None:
            self.seconds.append(time.perf_counter() - self.began[0])
            self.processor.append(time.process_time() - self.began[1])
            if held is not None:
                self.scores.append(score())

    def score() -> float:
        """Mean −log probability of a held-out cell around the mean of its latent position."""
        module = model.module
        module.eval()
        total = 0.0
        with torch.no_grad():
            for first in range(0, held.n_obs, 512):
                x = torch.from_numpy(held.X[first : first + 512].toarray())
                batch = torch.zeros(len(x), 1)
                inferred = module.inference(x, batch)
                made = module.generative(
                    inferred["qz"].loc, inferred["library"], batch_index=batch
                )
                total -= made["px"].log_prob(x).sum().item()
        module.train()
        return total / held.n_obs

    print(json.dumps({"version": scvi.__version__}), flush=True)
    for line in sys.stdin:
        clock = Clock()
        model.is_trained_ = False
        model.train(
            max_epochs=json.loads(line)["epochs"], accelerator="cpu", devices=1, train_size=1.0,
            batch_size=given["batch"], early_stopping=False, enable_progress_bar=False,
            plan_kwargs={"lr": given["rate"]}, callbacks=[clock], logger=False,
            enable_checkpointing=False, enable_model_summary=False,
        )  # fmt: skip
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answer = {
            "seconds": clock.seconds, "processor": clock.processor, "scores": clock.scores,
            "memory": memory,
        }  # fmt: skip
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

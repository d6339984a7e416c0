"""Training: the same loop, budget and stopping rule for every loss."""

from __future__ import annotations

import json
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

import countae
from countae import config, likelihoods, protocols
from countae.checkpoint import Checkpoint, digest_of
from countae.counts import CountMatrix
from countae.counts._checksum import checksum
from countae.devices import (
    Place,
    choose_place,
    is_first,
    others_there,
    repeatable,
    seeded,
)
from countae.errors import CountMatrixError, FitDivergedError, ScoreError
from countae.files import write_bytes, write_json
from countae.layers import check_batches, check_norm
from countae.likelihoods._base import GeneMoments
from countae.memory import enough_memory, enough_to_predict
from countae.model import CountAutoencoder
from countae.noise_heads import thinned
from countae.placing import best_steps, held_out_parameters
from countae.progress import working
from countae.protocols._base import Protocol, Task
from countae.protocols._conditions import levels_of
from countae.protocols._steps import Step
from countae.start import best_constants
from countae.training import WARM_UP, Found, Trainer, losses_of, validation_loss

HEADER = "model"  # of a file of weights: what is needed to build the network, as JSON
SMALLEST_GAIN = 1e-5  # of the best validation loss; less does not count as progress


@dataclass
class FitRecord:
    """What happened in one fit: settings, losses per epoch, why it stopped, and its cost."""

    likelihood: str
    title: str
    complexity: int
    reference: str
    seed: int
    network: dict[str, Any]
    training: dict[str, Any]
    genes: list[str]
    device: str
    threads: int
    parameters: int
    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    stop_reason: str = "max_epochs"
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    warm_up_steps: int = WARM_UP
    batches: list[str] = field(default_factory=list)
    counts: str = ""  # checksum of the counts that it saw
    devices: int = 1  # processes that shared the cells of each step
    latent_steps: int = 0  # that move a cell which is predicted
    tuning_trials: int = 0  # settings among which these were chosen; 0 when they were given

    def to_json(self, path: str | Path) -> None:
        """Write the record."""
        write_json(path, asdict(self))


def fit(
    matrix: CountMatrix,
    likelihood: str,
    *,
    seed: int,
    network: dict[str, Any],
    training: dict[str, Any],
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    progress: Callable[[int, float], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[CountAutoencoder, FitRecord]:
    """A network fitted to the training cells, stopped by its loss on hidden validation entries.

    Each step hides a random 1/folds share of the entries and learns to predict exactly these,
    so that held-out scoring asks what training taught. The epoch with the lowest validation loss
    is kept. Then the validation cells say how far cells are moved (``placing.best_steps``), and
    the likelihood sets what its loss leaves open (``calibrate``).

    Parameters
    ----------
    matrix : CountMatrix
        From ``countae prepare``.
    likelihood : str
    seed : int
        Of weights, order, masks and dropout; with one seed and number of threads the result on a
        CPU is the same to the last bit.
    network, training : dict
        The configuration's sections.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    devices, nodes : int
        Processes on each machine, and machines, that share the cells of each step; see
        :func:`countae.devices.choose_place`. What they start runs this very command.
    progress : callable, optional
        Called with the epoch and its validation loss, by the first process.
    checkpoint : Checkpoint, optional
        Where the state is kept now and then. A fit that finds one of its own goes on from there
        and ends as it would have without the break, on a CPU to the last bit.

    Returns
    -------
    CountAutoencoder, in evaluation mode, on the CPU
    FitRecord

    Raises
    ------
    FitDivergedError
        When a loss is not finite; names epoch, gene and parameter.
    ConfigError
        When the device is not there.
    """
    began = time.perf_counter()
    network = config.completed("network", network)
    check_norm(network["norm"], devices * nodes)  # before others are started, which say so too
    place = choose_place(
        device, precision=training.get("precision", "32"), devices=devices, nodes=nodes
    )
    train, validation = (np.flatnonzero(matrix.part == name) for name in ("train", "validation"))
    levels = levels_of(matrix, network["conditions"], train)
    data: Protocol = protocols.get(matrix.protocol)(
        matrix, place.device, levels, place.dtype, training.get("loader", "mapped")
    )
    check_batches(len(train), training["batch_size"], network["norm"])
    repeat = repeatable(place.device, training.get("algorithms", "deterministic"))
    with seeded(place.device, seed), repeat:
        family = likelihoods.get(likelihood)()
        moments = best_constants(
            family, counts=matrix.targets(train), size_factor=data.full_size_factor(train)
        )
        told: dict[str, Any] = {"levels": levels, "n_batches": len(matrix.batches)}
        model = CountAutoencoder(family, moments, **network, **told).to(place.device)
        record = FitRecord(
            likelihood, family.title, family.complexity, family.reference, seed, network, training,
            matrix.gene_id.tolist(), place.device.type, torch.get_num_threads(),
            sum(parameter.numel() for parameter in model.parameters()),
        )  # fmt: skip
        record.devices = place.processes
        record.batches, record.versions = matrix.batches, versions()
        record.counts = checksum(matrix, network["conditions"])
        told_epochs = working(f"training {likelihood}", unit="epochs")
        memory = enough_memory(model, place, training["batch_size"])
        with others_there(place), memory, told_epochs as work:

            def ended(epoch: int, loss: float) -> None:
                work.done = epoch  # a resumed fit begins later
                work.advance(note=f"validation loss {loss:.5f}")
                if progress is not None:
                    progress(epoch, loss)

            _train(model, data, train, validation, record, place, ended, checkpoint)
    model.eval()
    with enough_to_predict(model, place.device):
        model.latent_steps = record.latent_steps = best_steps(model, data, validation)
        calibrate(model, data, thinned(matrix.fitted))
    record.seconds += time.perf_counter() - began
    record.peak_memory_mb = peak_memory()
    return model.cpu().float(), record


def peak_memory() -> float:
    """Largest memory of this process so far, in megabytes."""
    # ru_maxrss is in kilobytes on Linux and in bytes on macOS
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _train(
    model: CountAutoencoder,
    data: Protocol,
    train: np.ndarray,
    validation: np.ndarray,
    record: FitRecord,
    place: Place,
    progress: Callable[[int, float], None],
    checkpoint: Checkpoint | None,
) -> None:
    """Train until the validation loss stops falling; keep the best epoch's weights."""
    settings, generator = record.training, torch.Generator().manual_seed(record.seed)
    trainer = Trainer(model, data, settings, place)
    best, best_state = np.inf, model.state_dict()
    if checkpoint is not None and checkpoint.resume(trainer, generator, record, best_state):
        best = record.validation_loss[record.best_epoch]
    for epoch in range(len(record.train_loss), settings["max_epochs"]):
        loss, failed = trainer.epoch(epoch, train, generator)
        if failed is not None:
            _diverged(record, failed, losses_of(model, failed), epoch)
        with enough_to_predict(model, place.device):
            current = validation_loss(model, data, validation, trainer.fused, place)
        record.train_loss.append(loss)
        record.validation_loss.append(current)
        if not np.isfinite(current):
            for block in data.blocks(validation):
                for task in data.held_out_tasks(block):
                    found = losses_of(model, task)
                    if _overflown(found[0]).any():
                        _diverged(record, task, found, epoch)
        if is_first():
            progress(epoch, current)
        # weights from before the KL divergence has its whole weight are kept only till then
        gain = SMALLEST_GAIN * abs(best if np.isfinite(best) else 0.0)
        better = epoch <= model.kl_warm_up or current < best - gain
        trainer.epoch_ended(better)
        if better:
            best, record.best_epoch = current, epoch
            best_state = {name: value.clone() for name, value in model.state_dict().items()}
        if epoch - record.best_epoch >= settings["patience"]:
            record.stop_reason = "converged"
            break
        if checkpoint is not None:
            checkpoint.offer(trainer, generator, record, best_state)
    model.load_state_dict(best_state)


@torch.no_grad()
def calibrate(model: CountAutoencoder, data: Protocol, cells: np.ndarray) -> None:
    """Set the gene heads that the loss leaves open from entries predicted while hidden."""
    counts = data.dense(data.matrix.target(cells))
    unseen = torch.as_tensor(data.matrix.part[cells] == "validation", device=counts.device)
    parameters = held_out_by_block(model, data, cells)
    for name, value in model.likelihood.calibrate(counts, parameters, unseen).items():
        model.gene_heads[name].copy_(value)


@torch.no_grad()
def held_out_by_block(
    model: CountAutoencoder, data: Protocol, cells: np.ndarray
) -> dict[str, Tensor]:
    """Parameters of every count of ``cells`` while it is hidden, (cell, gene) or (gene,)."""
    parts = [held_out_parameters(model, data.held_out_tasks(b)) for b in data.blocks(cells)]
    return {
        name: value if value.dim() == 1 else torch.cat([part[name] for part in parts])
        for name, value in parts[0].items()
    }


def save(model: CountAutoencoder, record: FitRecord, path: str | Path) -> None:
    """Write weights as safetensors, with what is needed to build the network in the metadata."""
    header = {
        "countae": countae.__version__,
        "likelihood": record.likelihood,
        "network": record.network,
        "levels": model.levels,
        "genes": record.genes,
        "batches": record.batches,
        "counts": record.counts,
        "latent_steps": model.latent_steps,
    }
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    told = json.dumps(header)
    # one entry: safetensors writes several in any order, and one fit shall be one file
    signed = json.dumps({"told": told, "digest": digest_of(told, tensors)})
    write_bytes(path, safetensors.torch.save(tensors, {HEADER: signed}))


def load(path: str | Path, matrix: CountMatrix) -> CountAutoencoder:
    """The network that :func:`save` wrote, for the genes of ``matrix``.

    Raises
    ------
    CountMatrixError
        When it was trained on other genes, or in another order.
    """
    try:
        with safe_open(path, framework="pt") as file:
            signed = json.loads(file.metadata()[HEADER])
            state = {name: file.get_tensor(name) for name in file.keys()}
        if signed["digest"] != digest_of(signed["told"], state):
            raise ValueError("its checksum is wrong")
        header = json.loads(signed["told"])
        genes, batches = header["genes"], header["batches"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ScoreError(
            f"{path}: is no model that `countae fit` wrote, or is damaged ({error}). Fix: fit it "
            "again."
        ) from error
    if genes != matrix.gene_id.tolist():
        raise CountMatrixError(
            f"{path}: was trained on {len(genes):,} genes that are not those of {matrix.source} "
            f"({len(matrix.gene_id):,} genes), or stand in another order. Fix: fit it again on "
            "these counts."
        )
    family = likelihoods.get(header["likelihood"])()
    if "batch" in family.heads.values() and batches != matrix.batches:
        raise CountMatrixError(
            f"{path}: was trained on the batches {_named(batches)}, but {matrix.source} has the "
            f"batches {_named(matrix.batches)}. Fix: fit it again on these counts."
        )
    _check_counts(header, matrix, path)
    ones = torch.ones(len(genes), dtype=torch.float64)
    model = CountAutoencoder(
        family,
        GeneMoments(ones, ones, ones, 0.5 * ones),  # placeholders of the right size
        **(config.defaults("network") | header["network"]),
        levels=header["levels"],
        n_batches=len(batches),
    )
    model.load_state_dict(state)
    model.latent_steps = header.get("latent_steps", 0)
    return model.eval()


def _check_counts(header: dict[str, Any], matrix: CountMatrix, path: str | Path) -> None:
    """Raise CountMatrixError when the counts are not those of the training, to the last one."""
    conditions = header["network"].get("conditions", [])
    known = [column for column in conditions if column in matrix.obs]
    then, now = header.get("counts"), checksum(matrix, known)
    if then is not None and then != now:
        raise CountMatrixError(
            f"{path}: was trained on other counts (checksum {then}) than {matrix.source} holds "
            f"now (checksum {now}), with the same genes: cells, counts, split, sizes or "
            "conditions differ. Usually `countae prepare` has run again since, with another "
            "source or other settings. Fix: fit it again on these counts, or name the "
            "counts.h5ad that it was trained on."
        )


def _named(batches: list[str]) -> str:
    """Names of batches, as many as fit a message."""
    shown = ", ".join(name or "(without a name)" for name in batches[:10])
    return shown + (f" … ({len(batches):,} in all)" if len(batches) > 10 else "")


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    import scipy

    return {
        "countae": countae.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "numba": metadata.version("numba"),
    }


def _diverged(record: FitRecord, task: Task | Step, found: Found, epoch: int) -> None:
    """Raise FitDivergedError naming the first gene and parameter that is not finite."""
    found = found[0].cpu(), {name: value.cpu() for name, value in found[1].items()}
    losses = found[0].reshape(-1)
    told = f"Training {record.likelihood} (seed {record.seed}) diverged in epoch {epoch + 1}: the "
    mend = (
        ". The step size is the usual cause. Fix: lower training.learning_rate (now "
        f"{record.training['learning_rate']})."
    )
    if not _overflown(losses).any():
        raise FitDivergedError(f"{told}bottleneck's KL divergence is not finite{mend}")
    places = torch.arange(losses.numel()) if task.entries is None else task.entries.cpu()
    genes = places % len(record.genes)
    gene = int(genes[int(_overflown(losses).int().argmax())])
    bad = [
        name
        for name, value in found[1].items()
        if _overflown(value.expand_as(found[0]).reshape(-1)[genes == gene]).any()
    ]
    raise FitDivergedError(
        f"{told}loss of gene {record.genes[gene]!r} is not finite"
        + (f", nor its {' and '.join(bad)}" if bad else "")
        + mend
    )


def _overflown(value: Tensor) -> Tensor:
    """Where a number is not finite, or so large that a sum of such numbers is not."""
    return ~(value.abs() < 1e30)

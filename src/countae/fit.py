"""Training: the same loop, budget and stopping rule for every loss."""

from __future__ import annotations

import json
import platform
import resource
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import countae
from countae import likelihoods
from countae.counts import CountMatrix
from countae.errors import ConfigError, CountMatrixError, FitDivergedError, ScoreError
from countae.files import write_json, written_aside
from countae.likelihoods._base import GeneMoments
from countae.likelihoods._moments import gene_moments
from countae.model import CountAutoencoder, hidden_parameters
from countae.split import visible_size_factor

GENE_HEAD_SPEED = 5.0  # step size of per-gene parameters, which get one gradient, not a layer's
SMALLEST_GAIN = 1e-5  # of the best validation loss; less does not count as progress
SCORING_BLOCK = 1024  # cells predicted at once outside training


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
    progress: Any = None,
) -> tuple[CountAutoencoder, FitRecord]:
    """A network fitted to the training cells, stopped by its loss on hidden validation entries.

    Each step hides a random 1/folds share of the entries and learns to predict exactly these,
    so that held-out scoring asks what training taught. The epoch with the lowest validation loss
    is kept. Then the likelihood sets what its loss leaves open (``calibrate``).

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
    progress : callable, optional
        Called with the epoch and its validation loss.

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
    began, place = time.perf_counter(), choose_device(device)
    data = Cells(matrix, place)
    train, validation = (np.flatnonzero(matrix.part == name) for name in ("train", "validation"))
    with torch.random.fork_rng(devices=_cuda_devices(place)):
        torch.manual_seed(seed)
        moments = gene_moments(counts=matrix.counts[train], size_factor=matrix.size_factor[train])
        model = CountAutoencoder(likelihoods.get(likelihood)(), moments, **network).to(place)
        family = model.likelihood
        record = FitRecord(
            likelihood, family.title, family.complexity, family.reference, seed, network, training,
            matrix.gene_id.tolist(), place.type, torch.get_num_threads(),
            sum(parameter.numel() for parameter in model.parameters()),
        )  # fmt: skip
        _train(model, data, train, validation, record, progress)
    model.eval()
    _calibrate(model, data, validation)
    record.seconds = time.perf_counter() - began
    # ru_maxrss is in kilobytes on Linux and in bytes on macOS
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    record.peak_memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    record.versions = versions()
    return model.cpu(), record


def _train(
    model: CountAutoencoder,
    data: Cells,
    train: np.ndarray,
    validation: np.ndarray,
    record: FitRecord,
    progress: Any,
) -> None:
    """Train until the validation loss stops falling; keep the best epoch's weights."""
    settings, generator = record.training, torch.Generator().manual_seed(record.seed)
    step, per_gene = settings["learning_rate"], list(model.gene_heads.parameters())
    layers = [*model.encoder.parameters(), *model.decoder.parameters()]
    groups = [
        {"params": [*layers, *model.entry_heads.parameters()]},
        {"params": per_gene, "lr": GENE_HEAD_SPEED * step, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(
        groups, lr=step, weight_decay=settings["weight_decay"], fused=True
    )
    best, best_state = np.inf, model.state_dict()
    for epoch in range(settings["max_epochs"]):
        model.train()
        losses = []
        order = torch.randperm(len(train), generator=generator).numpy()
        for batch in np.array_split(train[order], -(-len(train) // settings["batch_size"])):
            counts, library_size = data.cells(batch)
            hidden = torch.rand(counts.shape, generator=generator) < 1 / data.n_folds
            hidden = hidden.to(counts)
            size_factor = data.visible_size_factor(counts, hidden, library_size)
            parameters = model(counts, size_factor, hidden)
            entries = model.likelihood.loss(counts, **parameters) * hidden
            loss = entries.sum() / hidden.sum()
            if not torch.isfinite(loss):
                _diverged(record, data, epoch, entries, parameters)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        model.eval()
        current = validation_loss(model, data, validation)
        record.train_loss.append(float(torch.stack(losses).mean()))
        record.validation_loss.append(current)
        if not np.isfinite(current):
            _diverged(record, data, epoch, *_validation_entries(model, data, validation))
        if progress is not None:
            progress(epoch, current)
        if current < best - SMALLEST_GAIN * abs(best if np.isfinite(best) else 0.0):
            best, record.best_epoch = current, epoch
            best_state = {name: value.clone() for name, value in model.state_dict().items()}
        if epoch - record.best_epoch >= settings["patience"]:
            record.stop_reason = "converged"
            break
    model.load_state_dict(best_state)


@torch.no_grad()
def validation_loss(model: CountAutoencoder, data: Cells, cells: np.ndarray) -> float:
    """Mean of the likelihood's own loss over hidden entries of ``cells``."""
    total = 0.0
    for block in data.blocks(cells):
        parameters, counts = data.hidden(model, block)
        total += model.likelihood.loss(counts, **parameters).double().sum().item()
    return total / (len(cells) * data.n_genes)


@torch.no_grad()
def _calibrate(model: CountAutoencoder, data: Cells, validation: np.ndarray) -> None:
    """Set the gene heads that the loss leaves open from hidden validation entries."""
    parts = [data.hidden(model, block) for block in data.blocks(validation)]
    counts = torch.cat([counts for _, counts in parts])
    parameters = {
        name: value if value.dim() == 1 else torch.cat([part[name] for part, _ in parts])
        for name, value in parts[0][0].items()
    }
    for name, value in model.likelihood.calibrate(counts, parameters).items():
        model.gene_heads[name].copy_(value)


def choose_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is CUDA, else Apple's MPS, else the CPU.

    Raises
    ------
    ConfigError
        When it is not available here.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available.get(name, False):
        raise ConfigError(
            f"Device {name!r} is not available; here are: "
            f"{', '.join(kind for kind, there in available.items() if there)}. On a cluster this "
            "usually means that the job was given no GPU. Fix: set `device` to auto."
        )
    return torch.device(name)


def save(model: CountAutoencoder, record: FitRecord, path: str | Path) -> None:
    """Write weights as safetensors, with what is needed to build the network in the metadata."""
    metadata = {
        "countae": countae.__version__,
        "likelihood": record.likelihood,
        "network": json.dumps(record.network),
        "genes": json.dumps(record.genes),
    }
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    with written_aside(path) as aside:
        save_file(tensors, aside, metadata)


def load(path: str | Path, matrix: CountMatrix) -> CountAutoencoder:
    """The network that :func:`save` wrote, for the genes of ``matrix``.

    Raises
    ------
    CountMatrixError
        When it was trained on other genes, or in another order.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            state = {name: file.get_tensor(name) for name in file.keys()}
        genes = json.loads(metadata["genes"])
    except (SafetensorError, KeyError, TypeError) as error:
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
    ones = torch.ones(len(genes), dtype=torch.float64)
    model = CountAutoencoder(
        likelihoods.get(metadata["likelihood"])(),
        GeneMoments(ones, ones, ones, 0.5 * ones),  # placeholders of the right size
        **json.loads(metadata["network"]),
    )
    model.load_state_dict(state)
    return model.eval()


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    import scipy

    return {
        "countae": countae.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


class Cells:
    """Dense float32 blocks of a count matrix on a device."""

    def __init__(self, matrix: CountMatrix, device: torch.device) -> None:
        self.counts, self.fold, self.n_folds = matrix.counts, matrix.fold, matrix.n_folds
        self.n_genes, self.gene_id = matrix.counts.shape[1], matrix.gene_id
        self.device, self.reference_size = device, matrix.reference_size
        self.library_size = matrix.library_size.astype(np.float32)[:, None]
        self.gene_share = torch.as_tensor(matrix.gene_share.astype(np.float32), device=device)

    def cells(self, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Raw counts, (cell, gene), and library sizes, (cell, 1)."""
        counts = torch.from_numpy(self.counts[index].toarray().astype(np.float32))
        library_size = torch.from_numpy(self.library_size[index])
        return (
            counts.to(self.device, non_blocking=True),
            library_size.to(self.device, non_blocking=True),
        )

    def blocks(self, cells: np.ndarray) -> list[np.ndarray]:
        """``cells`` in pieces small enough to predict at once."""
        return np.array_split(cells, -(-len(cells) // SCORING_BLOCK))

    def visible_size_factor(self, counts: Tensor, hidden: Tensor, library_size: Tensor) -> Tensor:
        """See :func:`countae.split.visible_size_factor`."""
        return visible_size_factor(
            counts=counts,
            hidden=hidden,
            library_size=library_size,
            gene_share=self.gene_share,
            reference_size=self.reference_size,
        )

    def hidden(
        self, model: CountAutoencoder, index: np.ndarray
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Parameters of entries predicted while hidden, and the raw counts."""
        counts, library_size = self.cells(index)
        parameters = hidden_parameters(
            model,
            counts=counts,
            fold=torch.from_numpy(self.fold[index]).to(self.device),
            n_folds=self.n_folds,
            library_size=library_size,
            gene_share=self.gene_share,
            reference_size=self.reference_size,
        )
        return parameters, counts


def _validation_entries(
    model: CountAutoencoder, data: Cells, cells: np.ndarray
) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses and parameters of the first validation block, to say what diverged."""
    parameters, counts = data.hidden(model, data.blocks(cells)[0])
    return model.likelihood.loss(counts, **parameters), parameters


def _diverged(
    record: FitRecord, data: Cells, epoch: int, entries: Tensor, parameters: dict[str, Tensor]
) -> None:
    """Raise FitDivergedError naming the first gene and parameter that is not finite."""
    gene = int((~torch.isfinite(entries)).any(dim=0).int().argmax())
    bad = [
        name
        for name, value in parameters.items()
        if not torch.isfinite(value.expand_as(entries)[:, gene]).all()
    ]
    raise FitDivergedError(
        f"Training {record.likelihood} (seed {record.seed}) diverged in epoch {epoch + 1}: the "
        "loss of "
        f"gene {data.gene_id[gene]!r} is not finite"
        + (f", nor its {' and '.join(bad)}" if bad else "")
        + f". The step size is the usual cause. Fix: lower training.learning_rate (now "
        f"{record.training['learning_rate']})."
    )


def _cuda_devices(device: torch.device) -> list[int]:
    """CUDA devices whose random state a fit may change."""
    return [torch.cuda.current_device()] if device.type == "cuda" else []

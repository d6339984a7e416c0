"""Prediction: a fitted likelihood at given cells and entries; and how a network makes one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from countae import protocols
from countae.counts import CountMatrix
from countae.devices import choose_device
from countae.fit import held_out_by_block
from countae.likelihoods._base import Likelihood, flattened, to_numpy
from countae.memory import enough_to_predict
from countae.model import CountAutoencoder
from countae.placing import located, parameters_at
from countae.protocols._base import Protocol, Task


@dataclass(frozen=True)
class Prediction:
    """A distribution for the count of every entry, (cell, gene), in float64.

    ``parameters`` are the likelihood's, each of shape (cell, gene).
    """

    likelihood: Likelihood
    parameters: dict[str, Tensor]

    @classmethod
    def of(cls, likelihood: Likelihood, parameters: dict[str, Tensor]) -> Prediction:
        """A prediction from parameters that broadcast to (cell, gene)."""
        wide = [value.detach().cpu().double() for value in parameters.values()]
        return cls(likelihood, dict(zip(parameters, torch.broadcast_tensors(*wide), strict=True)))

    @property
    def shape(self) -> tuple[int, ...]:
        """(cell, gene)."""
        return tuple(next(iter(self.parameters.values())).shape)

    @property
    def mean(self) -> np.ndarray:
        """Expected raw count, (cell, gene)."""
        return to_numpy(self.likelihood.mean(**self.parameters))

    @property
    def variance(self) -> np.ndarray:
        """Variance of the raw count, (cell, gene)."""
        return to_numpy(self.likelihood.variance(**self.parameters))

    @property
    def prob_zero(self) -> np.ndarray:
        """P(count = 0), (cell, gene)."""
        return to_numpy(self.likelihood.prob_zero(**self.parameters))

    def log_pmf(self, counts: np.ndarray) -> np.ndarray:
        """Log-probability of raw counts, (cell, gene), in nats."""
        return to_numpy(self.likelihood.log_pmf(_tensor(counts), **self.parameters))

    def cdf(self, counts: np.ndarray) -> np.ndarray:
        """P(X ≤ count), of the shape of ``counts``, continued smoothly between the integers."""
        return to_numpy(self.likelihood.cdf(_tensor(counts), **self.parameters))

    @property
    def recursion(self) -> tuple[np.ndarray, ...] | None:
        """P(0), P(1), a and b of Panjer's recursion, (entry,) each; None where none holds."""
        found = self.likelihood.recursion(**self.parameters)
        if found is None:
            return None
        return tuple(flattened(found, self.shape))

    def step_score(self, counts: np.ndarray, tail: float) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`Likelihood.step_score`; ``counts`` and results are (entry,), row by row."""
        return self.likelihood.step_score(counts, tail, **self.parameters)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """``n`` raw counts per entry, (n, cell, gene)."""
        draws = [to_numpy(self.likelihood.sample(rng, **self.parameters)) for _ in range(n)]
        return np.stack(draws)

    def of_genes(self, genes: slice) -> Prediction:
        """The same for some genes."""
        taken = {name: value[:, genes] for name, value in self.parameters.items()}
        return Prediction(self.likelihood, taken)

    def at(self, entries: np.ndarray) -> Prediction:
        """The same for some entries, given by their index in row-major order; shape (entry,)."""
        index = torch.as_tensor(entries)
        taken = {name: value.reshape(-1)[index] for name, value in self.parameters.items()}
        return Prediction(self.likelihood, taken)


@torch.no_grad()
def predict_hidden(
    network: CountAutoencoder, matrix: CountMatrix, cells: np.ndarray, *, device: str = "auto"
) -> Prediction:
    """What the network says of every entry of ``cells`` while that entry is hidden from it.

    Parameters
    ----------
    network : CountAutoencoder
    matrix : CountMatrix
    cells : ndarray of int
    device : str

    Returns
    -------
    Prediction, (cell, gene)
    """
    place = choose_device(device)
    data = _shown(network, matrix, place)
    with enough_to_predict(network, place):
        found = held_out_by_block(network.to(place), data, cells)
    return Prediction.of(network.likelihood, found)


@torch.no_grad()
def latent_of(
    network: CountAutoencoder, matrix: CountMatrix, cells: np.ndarray, *, device: str = "auto"
) -> np.ndarray:
    """Latent coordinates of ``cells`` with nothing hidden, (cell, latent), float32."""
    place = choose_device(device)
    data, network = _shown(network, matrix, place), network.to(place)
    tasks = (data.whole(block) for block in data.blocks(cells))
    with enough_to_predict(network, place):
        return np.concatenate([_latent(network, task) for task in tasks])


@torch.no_grad()
def reconstructed(
    network: CountAutoencoder, matrix: CountMatrix, *, device: str = "auto"
) -> Iterator[tuple[np.ndarray, np.ndarray, Prediction]]:
    """What :func:`reconstruct` returns, for some cells at a time, in their order."""
    place = choose_device(device)
    data, network = _shown(network, matrix, place), network.to(place)
    for block in data.blocks(np.arange(len(matrix.obs))):
        with enough_to_predict(network, place):
            found = _reconstructed(network, data.whole(block))
        yield found


def reconstruct(
    network: CountAutoencoder, matrix: CountMatrix, *, device: str = "auto"
) -> tuple[np.ndarray, np.ndarray, Prediction]:
    """Latent coordinates and the distribution of every count with nothing hidden, for all cells.

    This is what a user takes home; it is never scored, since the network sees what it predicts.

    Returns
    -------
    latent : ndarray, (cell, latent), float32
    denoised : ndarray, (cell, gene), float32
        Expected count at size factor 1, so that cells of different depth can be compared; each
        cell in its own categories of the network's ``conditions``.
    prediction : Prediction
        At each cell's own size factor.
    """
    latent, denoised, parts = zip(*reconstructed(network, matrix, device=device), strict=True)
    names = parts[0].parameters
    whole = {name: torch.cat([part.parameters[name] for part in parts]) for name in names}
    prediction = Prediction(network.likelihood, whole)
    return np.concatenate(latent), np.concatenate(denoised), prediction


def _shown(network: CountAutoencoder, matrix: CountMatrix, device: torch.device) -> Protocol:
    """What the network may see of a matrix."""
    return protocols.get(matrix.protocol)(matrix, device, network.levels)


def _reconstructed(
    network: CountAutoencoder, task: Task
) -> tuple[np.ndarray, np.ndarray, Prediction]:
    """Latent coordinates, expected counts at size factor 1 and prediction of a task's cells."""
    latent, size = located(network, task)
    parameters = parameters_at(network, task, latent, size)
    mean = network.likelihood.mean(**parameters) / size
    prediction = Prediction.of(network.likelihood, parameters)
    return latent.cpu().numpy(), mean.cpu().numpy().astype(np.float32), prediction


def _latent(network: CountAutoencoder, task: Task) -> np.ndarray:
    """Latent coordinates of a task's cells, (cell, latent), float32."""
    return located(network, task)[0].cpu().numpy()


def _tensor(counts: np.ndarray) -> Tensor:
    return torch.as_tensor(np.asarray(counts, dtype=np.float64))

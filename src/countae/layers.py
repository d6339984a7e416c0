"""Parts of a network: hidden layers, their mirrored twins, the bottleneck that samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from countae.devices import rows_of
from countae.errors import ConfigError

HEAD_GAIN = 0.1  # small output weights: training starts at the gene's moments, in every loss
NORMS: dict[str, type[nn.Module]] = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d}


class Mirrored(nn.Module):
    """Linear layer whose weights are another layer's, transposed; only the bias is its own.

    Parameters
    ----------
    twin : nn.Linear
        Its weights are shared, not copied, and stay the twin's: they are trained and saved once.
    """

    def __init__(self, twin: nn.Linear) -> None:
        super().__init__()
        self._twin = (twin,)  # in a tuple, so that its weights are not also this module's
        self.bias = nn.Parameter(torch.zeros(twin.in_features))

    @property
    def weight(self) -> Tensor:
        """The twin's weights, transposed, (output, input)."""
        return self._twin[0].weight.T

    def forward(self, values: Tensor) -> Tensor:
        """Values through the twin, backwards; (cell, output)."""
        return linear(values, self.weight, self.bias)


class Draws:
    """Random numbers of a training step, of which a process takes those of its own cells.

    Every process draws those of all cells of the step, from the same state of its device's
    generator, so that they do not depend on the number of processes.

    Attributes
    ----------
    rows : slice, optional
        The process's own cells among those of the step, which begin anew after the last; None
        where it has all of them.
    cells : int
        Of the step, if ``rows`` is set.
    """

    rows: slice | None = None
    cells: int = 0

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape of ``like``, (cell, unit)."""
        if self.rows is None:
            return torch.randn_like(like)
        return rows_of(torch.randn_like(self._whole(like)), self.rows)

    def kept(self, like: Tensor, dropped: float) -> Tensor:
        """1 / (1 − ``dropped``) where a unit is kept, else 0; of the shape of ``like``."""
        whole = like if self.rows is None else self._whole(like)
        drawn = torch.empty_like(whole).bernoulli_(1 - dropped).div_(1 - dropped)
        return drawn if self.rows is None else rows_of(drawn, self.rows)

    def _whole(self, like: Tensor) -> Tensor:
        return like.new_empty(self.cells, *like.shape[1:])


class Dropout(nn.Module):
    """Sets units to zero at random in training; as Torch's own, but for where it draws.

    Parameters
    ----------
    dropped : float in [0, 1)
    draws : Draws
    """

    def __init__(self, dropped: float, draws: Draws) -> None:
        super().__init__()
        self.dropped, self.draws = dropped, draws

    def forward(self, values: Tensor) -> Tensor:
        """Units that are left, times 1 / (1 − ``dropped``) in training."""
        if not self.training or self.dropped == 0:
            return values
        return values * self.draws.kept(values, self.dropped)


class Sampled(nn.Module):
    r"""Variational bottleneck: :math:`z = m + e^{λ/2} ε`, with ε standard normal, in training.

    The log variance λ, like the mean m, is linear in the encoder's last layer. Outside training
    z is the posterior mean m, so that predictions and validation losses are not random.
    Reference: Kingma & Welling 2014, doi:10.48550/arXiv.1312.6114, section 3.

    Attributes
    ----------
    divergence : Tensor, (cell,)
        From the standard normal, in nats, of the cells that were last seen in training.
    """

    divergence: Tensor

    def __init__(self, inputs: int, latent: int, draws: Draws) -> None:
        super().__init__()
        self.log_variance, self.draws = nn.Linear(inputs, latent), draws

    def forward(self, mean: Tensor, features: Tensor) -> Tensor:
        """A draw in training, else the mean, (cell, latent)."""
        if not self.training:
            return mean
        log_variance = self.log_variance(features)
        self.divergence = divergence_from_standard_normal(mean, log_variance)
        return mean + torch.exp(0.5 * log_variance) * self.draws.normal(mean)


def divergence_from_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Kullback–Leibler divergence of N(m, e^λ) from N(0, 1), summed over coordinates, in nats.

    .. math:: \tfrac12 \sum_k \bigl(m_k^2 + (e^{λ_k} - 1) - λ_k\bigr)

    Parameters
    ----------
    mean, log_variance : Tensor, (cell, latent)

    Returns
    -------
    Tensor, (cell,), ≥ 0

    Reference: Kingma & Welling 2014, doi:10.48550/arXiv.1312.6114, appendix B.
    """
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance).sum(dim=1)


@dataclass(frozen=True)
class Look:
    """What hidden layers are made of besides weights: the configuration's keys of these names."""

    norm: str
    activation: str
    dropout: float
    draws: Draws = field(default_factory=Draws)

    def layer(self, weights: nn.Module, outputs: int) -> nn.Sequential:
        """Weights, norm, activation, dropout; those that are not asked for are left out."""
        parts = [weights]
        if self.norm in NORMS:
            parts.append(NORMS[self.norm](outputs))
        if self.activation == "relu":
            parts.append(nn.ReLU())
        return nn.Sequential(*parts, Dropout(self.dropout, self.draws))


def hidden_layers(widths: list[int], look: Look) -> list[nn.Sequential]:
    """A layer from each width to the next."""
    return [look.layer(nn.Linear(a, b), b) for a, b in pairwise(widths)]


def mirrored_layers(twins: list[nn.Linear], look: Look) -> list[nn.Sequential]:
    """Hidden layers with the weights of ``twins``, transposed."""
    return [look.layer(Mirrored(twin), twin.in_features) for twin in twins]


def head(inputs: int, start: Tensor) -> nn.Linear:
    """Output layer that begins near ``start`` whatever comes in."""
    layer = nn.Linear(inputs, len(start))
    with torch.no_grad():
        layer.weight.mul_(HEAD_GAIN)
        layer.bias.copy_(start)
    return layer


def mirrored_head(twin: nn.Linear, start: Tensor) -> Mirrored:
    """Output layer with the weights of the first layer, transposed, around ``start``."""
    layer = Mirrored(twin)
    with torch.no_grad():
        layer.bias.copy_(start)
    return layer


def check_norm(norm: str, processes: int) -> None:
    """Raise ConfigError where BatchNorm would have moments of some of a step's cells."""
    if norm == "batch" and processes > 1:
        raise ConfigError(
            "network.norm is batch, whose moments are those of all cells of a step, but the cells "
            f"are to be shared by {processes} processes. Fix: set network.norm to layer, or train "
            "on one device."
        )


def check_batches(n_cells: int, batch_size: int, norm: str) -> None:
    """Raise ConfigError where BatchNorm would have a batch of one cell, which has no spread."""
    if norm == "batch" and n_cells // -(-n_cells // batch_size) < 2:
        raise ConfigError(
            f"network.norm is batch, which needs at least two cells in every step, but {n_cells} "
            f"training cells in steps of {batch_size} leave one alone. Fix: raise "
            "training.batch_size, or set network.norm to layer."
        )

"""Parts of a network: hidden layers, their mirrored twins, the bottleneck that samples."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

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

    def __init__(self, inputs: int, latent: int) -> None:
        super().__init__()
        self.log_variance = nn.Linear(inputs, latent)

    def forward(self, mean: Tensor, features: Tensor) -> Tensor:
        """A draw in training, else the mean, (cell, latent)."""
        if not self.training:
            return mean
        log_variance = self.log_variance(features)
        self.divergence = divergence_from_standard_normal(mean, log_variance)
        return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


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

    def layer(self, weights: nn.Module, outputs: int) -> nn.Sequential:
        """Weights, norm, activation, dropout; those that are not asked for are left out."""
        parts = [weights]
        if self.norm in NORMS:
            parts.append(NORMS[self.norm](outputs))
        if self.activation == "relu":
            parts.append(nn.ReLU())
        return nn.Sequential(*parts, nn.Dropout(self.dropout))


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


def check_batches(n_cells: int, batch_size: int, norm: str) -> None:
    """Raise ConfigError where BatchNorm would have a batch of one cell, which has no spread."""
    if norm == "batch" and n_cells // -(-n_cells // batch_size) < 2:
        raise ConfigError(
            f"network.norm is batch, which needs at least two cells in every step, but {n_cells} "
            f"training cells in steps of {batch_size} leave one alone. Fix: raise "
            "training.batch_size, or set network.norm to layer."
        )

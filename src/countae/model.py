"""CountAutoencoder: one network for every loss; the likelihood decides only what comes out."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn

from countae.likelihoods._base import GeneMoments, Likelihood
from countae.protocols._base import Task

HEAD_GAIN = 0.1  # small output weights: training starts at the gene's moments, in every loss


class CountAutoencoder(nn.Module):
    """Encoder, bottleneck, decoder, and one output per head of the likelihood.

    The input is log1p(count / size factor) minus the gene's training mean, with hidden entries
    at zero, so that a hidden entry looks like an average one. Hidden layers are linear,
    LayerNorm, ReLU, dropout; the decoder mirrors the encoder. Heads per entry are linear in the
    decoder's last layer, heads per gene, or per batch and gene, are free parameters; all start at
    the likelihood's ``start`` values, or at better ones that the moments hold.

    Parameters
    ----------
    likelihood : Likelihood
    moments : GeneMoments
        Of the training cells.
    hidden : sequence of int
        Widths of the encoder's hidden layers.
    latent : int
        Width of the bottleneck.
    dropout : float in [0, 1)
    n_batches : int
        Of the training data; heads per batch have one row for each.
    """

    input_mean: Tensor

    def __init__(
        self,
        likelihood: Likelihood,
        moments: GeneMoments,
        *,
        hidden: list[int],
        latent: int,
        dropout: float,
        n_batches: int = 1,
    ) -> None:
        super().__init__()
        self.likelihood = likelihood
        n_genes = len(moments.mean)
        self.register_buffer("input_mean", moments.log1p_mean.float())
        widths = [n_genes, *hidden]
        self.encoder = nn.Sequential(
            *(_layer(a, b, dropout) for a, b in pairwise(widths)), nn.Linear(widths[-1], latent)
        )
        widths = [latent, *reversed(hidden)]
        self.decoder = nn.Sequential(*(_layer(a, b, dropout) for a, b in pairwise(widths)))
        self.entry_heads, self.gene_heads = nn.ModuleDict(), nn.ParameterDict()
        for name, value in (likelihood.start(moments) | moments.heads).items():
            if likelihood.heads[name] == "gene":
                self.gene_heads[name] = nn.Parameter(value.float())
            elif likelihood.heads[name] == "batch":
                self.gene_heads[name] = nn.Parameter(value.float().repeat(n_batches, 1))
            else:
                self.entry_heads[name] = _head(widths[-1], value.float())

    def encode(self, counts: Tensor, size_factor: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Latent coordinates, (cell, latent), of raw counts; ``hidden`` marks unseen entries."""
        features = torch.log1p(counts / size_factor) - self.input_mean
        return self.encoder(features if hidden is None else features * (1 - hidden))

    def forward(
        self,
        counts: Tensor,
        size_factor: Tensor,
        hidden: Tensor | None = None,
        entries: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Parameters of the likelihood for every entry, or for some.

        Parameters
        ----------
        counts : Tensor, (cell, gene), raw counts
        size_factor : Tensor, (cell, 1), from visible counts only
        hidden : Tensor, (cell, gene), optional
            1 where an entry must not be seen; its count is then ignored.
        entries : Tensor, (entry,), optional
            Row-major index of the only entries that are wanted.
        batch : Tensor, (cell,), int64, optional
            Index of each cell's batch; the first one where it is not given.

        Returns
        -------
        dict of Tensor, each broadcastable to (cell, gene), or to (entry,)
        """
        raw = self.head_values(counts, size_factor, hidden, batch)
        if entries is not None:
            raw = {name: at(value, entries, counts.shape[1]) for name, value in raw.items()}
            size_factor = at(size_factor, entries, counts.shape[1])
        return self.likelihood.constrain(raw, size_factor)

    def head_values(
        self,
        counts: Tensor,
        size_factor: Tensor,
        hidden: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Values of the heads, (cell, gene) or (gene,); arguments as of ``forward``."""
        decoded = self.decoder(self.encode(counts, size_factor, hidden))
        raw = {name: head(decoded) for name, head in self.entry_heads.items()}
        for name, value in self.gene_heads.items():
            per_batch = self.likelihood.heads[name] == "batch"
            rows = counts.new_zeros(len(counts), dtype=torch.long) if batch is None else batch
            raw[name] = value[rows] if per_batch else value
        return raw


def _layer(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    """Linear, LayerNorm, ReLU, dropout."""
    return nn.Sequential(
        nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU(), nn.Dropout(dropout)
    )


def _head(inputs: int, start: Tensor) -> nn.Linear:
    """Output layer that begins near ``start`` whatever the decoder says."""
    head = nn.Linear(inputs, len(start))
    with torch.no_grad():
        head.weight.mul_(HEAD_GAIN)
        head.bias.copy_(start)
    return head


def at(value: Tensor, entries: Tensor, n_genes: int) -> Tensor:
    """Values at row-major ``entries`` of a (cell, gene) matrix, (entry,).

    ``value`` is (cell, gene), or one per gene, (gene,), or one per cell, (cell, 1).
    """
    if value.dim() == 1:
        return value.index_select(0, entries % n_genes)
    if value.shape[1] == 1:
        return value[:, 0].index_select(0, torch.div(entries, n_genes, rounding_mode="floor"))
    return value.reshape(-1).index_select(0, entries)


def held_out_parameters(network: CountAutoencoder, tasks: Iterable[Task]) -> dict[str, Tensor]:
    """Parameters for every entry of some cells, each predicted while it was hidden.

    Parameters
    ----------
    network : CountAutoencoder
        In evaluation mode.
    tasks : iterable of Task
        ``Protocol.held_out_tasks`` of the cells.

    Returns
    -------
    dict of Tensor, (cell, gene), or (gene,) where the parameter is one per gene
    """
    kept: dict[str, Tensor] = {}
    for task in tasks:
        found = network(task.counts, task.size_factor, task.hidden, batch=task.batch)
        for name, value in found.items():
            if value.dim() == 1 or task.entries is None:
                kept[name] = value
                continue
            wide = value.expand_as(task.counts)
            if name not in kept:
                kept[name] = torch.empty_like(task.counts)
            chosen = wide.reshape(-1).index_select(0, task.entries)
            kept[name].view(-1).index_copy_(0, task.entries, chosen)
    return kept

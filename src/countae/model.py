"""CountAutoencoder: one network for every loss; the likelihood decides only what comes out."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from countae.likelihoods._base import GeneMoments, Likelihood
from countae.split import visible_size_factor

HEAD_GAIN = 0.1  # small output weights: training starts at the gene's moments, in every loss


class CountAutoencoder(nn.Module):
    """Encoder, bottleneck, decoder, and one output per head of the likelihood.

    The input is log1p(count / size factor) minus the gene's training mean, with hidden entries
    at zero, so that a hidden entry looks like an average one. Hidden layers are linear,
    LayerNorm, ReLU, dropout; the decoder mirrors the encoder. Heads per entry are linear in the
    decoder's last layer, heads per gene are free parameters; both start at the likelihood's
    ``start`` values.

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
        for name, value in likelihood.start(moments).items():
            if likelihood.heads[name] == "gene":
                self.gene_heads[name] = nn.Parameter(value.float())
            else:
                self.entry_heads[name] = _head(widths[-1], value.float())

    def encode(self, counts: Tensor, size_factor: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Latent coordinates, (cell, latent), of raw counts; ``hidden`` marks unseen entries."""
        features = torch.log1p(counts / size_factor) - self.input_mean
        return self.encoder(features if hidden is None else features * (1 - hidden))

    def forward(
        self, counts: Tensor, size_factor: Tensor, hidden: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Parameters of the likelihood for every entry.

        Parameters
        ----------
        counts : Tensor, (cell, gene), raw counts
        size_factor : Tensor, (cell, 1), from visible counts only
        hidden : Tensor, (cell, gene), optional
            1 where an entry must not be seen; its count is then ignored.

        Returns
        -------
        dict of Tensor, each broadcastable to (cell, gene)
        """
        decoded = self.decoder(self.encode(counts, size_factor, hidden))
        raw = {name: head(decoded) for name, head in self.entry_heads.items()}
        return self.likelihood.constrain(raw | dict(self.gene_heads.items()), size_factor)


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


def hidden_parameters(
    network: CountAutoencoder,
    *,
    counts: Tensor,
    fold: Tensor,
    n_folds: int,
    library_size: Tensor,
    gene_share: Tensor,
    reference_size: float,
) -> dict[str, Tensor]:
    """Parameters for every entry, each predicted while it was hidden from the network.

    One pass per fold: the fold's entries are hidden from the input and from the library size,
    and only their parameters are kept.

    Parameters
    ----------
    network : CountAutoencoder
        In evaluation mode.
    counts, fold : Tensor, (cell, gene); raw counts, and the fold of each entry
    n_folds : int
    library_size : Tensor, (cell, 1)
    gene_share : Tensor, (gene,)
    reference_size : float

    Returns
    -------
    dict of Tensor, (cell, gene), or (gene,) where the parameter is one per gene
    """
    kept: dict[str, Tensor] = {}
    for k in range(n_folds):
        in_fold = fold == k
        hidden = in_fold.to(counts.dtype)
        size_factor = visible_size_factor(
            counts=counts,
            hidden=hidden,
            library_size=library_size,
            gene_share=gene_share,
            reference_size=reference_size,
        )
        for name, value in network(counts, size_factor, hidden).items():
            if value.dim() == 1:
                kept[name] = value
            else:
                before = kept.get(name, torch.empty_like(counts))
                kept[name] = torch.where(in_fold, value, before)
    return kept

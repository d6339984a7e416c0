"""CountAutoencoder: one network for every loss; the likelihood decides only what comes out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from countae.layers import Look, Sampled, head, hidden_layers, mirrored_head, mirrored_layers
from countae.likelihoods._base import GeneMoments, Likelihood


class CountAutoencoder(nn.Module):
    """Encoder, bottleneck, decoder, and one output per head of the likelihood.

    The input is log1p(count / size factor) minus the gene's training mean, with hidden entries
    at zero, so that a hidden entry looks like an average one. Hidden layers are linear, norm,
    activation, dropout; the decoder mirrors the encoder. Heads per entry are linear in the
    decoder's last layer, heads per gene, or per batch and gene, are free parameters; all start at
    the likelihood's ``start`` values, or at better ones that the moments hold.

    Parameters
    ----------
    likelihood : Likelihood
    moments : GeneMoments
        Of the training cells.
    hidden : list of int
        Widths of the encoder's hidden layers.
    latent : int
        Width of the bottleneck.
    dropout : float in [0, 1)
    norm : str
        ``layer``, ``batch`` or ``none``.
    activation : str
        ``relu`` or ``linear``.
    weights : str
        ``free``, or ``tied``: each of the decoder's layers, and the likelihood's first head, has
        the weights of its mirror image in the encoder, transposed, and a bias of its own.
    bottleneck : str
        ``plain`` or ``variational``.
    kl_weight : float
        Of a variational bottleneck's divergence; see :meth:`penalty`.
    kl_warm_up : int
        Epochs over which that weight rises.
    conditions : list of str
        Columns of obs whose categories encoder and decoder are told.
    library : str
        ``observed``, or ``predicted``: the mean is multiplied by a size that the encoder finds
        in log1p(count) of what it sees, in place of the size factor. A likelihood with
        ``size_in_target`` keeps the observed one.
    latent_steps : int
        At most so many steps move a cell that is predicted (:mod:`countae.placing`); training
        sets the attribute of this name to how many do. 0 leaves it where the encoder puts it.
    levels : dict of list of str, optional
        Categories of each condition (:func:`countae.protocols._conditions.levels_of`).
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
        norm: str,
        activation: str,
        weights: str,
        bottleneck: str,
        kl_weight: float,
        kl_warm_up: int,
        conditions: list[str],
        library: str,
        latent_steps: int = 0,
        levels: dict[str, list[str]] | None = None,
        n_batches: int = 1,
    ) -> None:
        super().__init__()
        self.likelihood, n_genes = likelihood, len(moments.mean)
        self.latent_steps = latent_steps
        self.levels = {column: (levels or {})[column] for column in conditions}
        told = sum(map(len, self.levels.values()))
        look = Look(norm, activation, dropout)
        self.draws = look.draws
        self.register_buffer("input_mean", moments.log1p_mean.float())
        widths = [n_genes + told, *hidden]
        inputs = widths[-1]
        self.encoder = nn.Sequential(*hidden_layers(widths, look), nn.Linear(inputs, latent))
        linears = [part for part in self.encoder.modules() if isinstance(part, nn.Linear)]
        twins = linears if weights == "tied" else []
        widths = [latent + told, *reversed(hidden)]
        self.decoder = nn.Sequential(
            *(mirrored_layers(twins[:0:-1], look) if twins else hidden_layers(widths, look))
        )
        self.entry_heads, self.gene_heads = nn.ModuleDict(), nn.ParameterDict()
        for name, value in (likelihood.start(moments) | moments.heads).items():
            if likelihood.heads[name] == "gene":
                self.gene_heads[name] = nn.Parameter(value.float())
            elif likelihood.heads[name] == "batch":
                self.gene_heads[name] = nn.Parameter(value.float().repeat(n_batches, 1))
            elif twins and not self.entry_heads:
                self.entry_heads[name] = mirrored_head(twins[0], value.float())
            else:
                self.entry_heads[name] = head(widths[-1], value.float())
        self.sampled = Sampled(inputs, latent, self.draws) if bottleneck == "variational" else None
        self.kl_weight, self.kl_warm_up = kl_weight, kl_warm_up if self.sampled else 0
        predicted = library == "predicted" and not likelihood.size_in_target
        self.log_size = head(inputs, torch.zeros(1)) if predicted else None

    def features(self, counts: Tensor, size_factor: Tensor, hidden: Tensor | None) -> Tensor:
        """What the encoder is given of the counts, (cell, gene)."""
        seen = counts / size_factor if self.log_size is None else counts
        centred = torch.log1p(seen) - self.input_mean
        return centred if hidden is None else centred * (1 - hidden)

    def decode(self, features: Tensor) -> Tensor:
        """The decoder's last layer, (cell, width), from which all entry heads are linear.

        ``features`` may be anything that answers :func:`torch.nn.functional.linear`.
        """
        return self.decoder(self._latent(self._last(features, None)))

    def forward(
        self,
        counts: Tensor,
        size_factor: Tensor,
        hidden: Tensor | None = None,
        entries: Tensor | None = None,
        condition: Tensor | None = None,
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
        condition : Tensor, (cell, category), optional
            1 at each cell's categories; None if the network has no ``conditions``.
        batch : Tensor, (cell,), int64, optional
            Index of each cell's batch; the first one where it is not given.

        Returns
        -------
        dict of Tensor, each broadcastable to (cell, gene), or to (entry,)
        """
        raw, size_factor = self.head_values(counts, size_factor, hidden, condition, batch)
        if entries is not None:
            raw = {name: at(value, entries, counts.shape[1]) for name, value in raw.items()}
            size_factor = at(size_factor, entries, counts.shape[1])
        return self.likelihood.constrain(raw, size_factor)

    def head_values(
        self,
        counts: Tensor,
        size_factor: Tensor,
        hidden: Tensor | None = None,
        condition: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Head values, (cell, gene) or (gene,), and what multiplies the mean, (cell, 1)."""
        latent, size_factor = self.encoded(counts, size_factor, hidden, condition)
        return self.values_at(latent, condition, batch), size_factor

    def encoded(
        self,
        counts: Tensor,
        size_factor: Tensor,
        hidden: Tensor | None = None,
        condition: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Latent coordinates, (cell, latent), and what multiplies the mean, (cell, 1).

        ``hidden`` marks unseen entries of the raw counts. Coordinates of a variational bottleneck
        are the posterior mean, or in training a draw.
        """
        last = self._last(self.features(counts, size_factor, hidden), condition)
        with torch.autocast(counts.device.type, enabled=False):
            size_factor = self._size(last.to(counts.dtype), size_factor)
        return self._latent(last), size_factor

    def values_at(
        self, latent: Tensor, condition: Tensor | None = None, batch: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Head values of cells at given latent coordinates, (cell, gene) or (gene,)."""
        decoded = self.decoder(_joined(latent, condition))
        # bfloat16 has two to three digits: enough within a network, not for the log of a mean
        with torch.autocast(latent.device.type, enabled=False):
            decoded = decoded.to(self.input_mean.dtype)
            raw = {name: layer(decoded) for name, layer in self.entry_heads.items()}
            for name, value in self.gene_heads.items():
                per_batch = self.likelihood.heads[name] == "batch"
                rows = batch
                if batch is None:
                    rows = torch.zeros(len(latent), dtype=torch.long, device=latent.device)
                raw[name] = value[rows] if per_batch else value
            return raw

    def penalty(self, epoch: int, n_entries: int) -> Tensor | float:
        """What the last cells seen in training add to their mean loss over ``n_entries``.

        With a variational bottleneck it is their divergence over ``n_entries``, so that at a
        weight of 1 and for a loss in nats the sum is the negative evidence bound of the entries
        that were predicted, per entry. The weight rises linearly and is whole from epoch
        ``kl_warm_up`` on.
        """
        if self.sampled is None:
            return 0.0
        return self.penalty_weight(epoch) * self.sampled.divergence.sum() / n_entries

    def penalty_weight(self, epoch: int) -> float:
        """What the divergence is multiplied by in an epoch."""
        return min(1.0, (epoch + 1) / (self.kl_warm_up + 1)) * self.kl_weight

    def _last(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """The encoder's last hidden layer, (cell, width)."""
        return self.encoder[:-1](_joined(features, condition))

    def _latent(self, last: Tensor) -> Tensor:
        mean = self.encoder[-1](last)
        return mean if self.sampled is None else self.sampled(mean, last)

    def _size(self, last: Tensor, size_factor: Tensor) -> Tensor:
        return size_factor if self.log_size is None else self.log_size(last).exp()


def _joined(values: Tensor, condition: Tensor | None) -> Tensor:
    """Values with the condition's columns behind them, where there are any."""
    return values if condition is None else torch.cat([values, condition], dim=1)


def at(value: Tensor, entries: Tensor, n_genes: int) -> Tensor:
    """Values at row-major ``entries`` of a (cell, gene) matrix, (entry,).

    ``value`` is (cell, gene), or one per gene, (gene,), or one per cell, (cell, 1).
    """
    if value.dim() == 1:
        return value.index_select(0, entries % n_genes)
    if value.shape[1] == 1:
        return value[:, 0].index_select(0, torch.div(entries, n_genes, rounding_mode="floor"))
    return value.reshape(-1).index_select(0, entries)

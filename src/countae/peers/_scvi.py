"""scvi-tools' SCVI: trained as it ships, asked about hidden entries."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from countae import likelihoods
from countae.baselines._base import Seen, hold_out
from countae.baselines._file import Predictions
from countae.counts import CountMatrix
from countae.peers._base import Peer, quiet


class SCVI(Peer):
    r"""SCVI with one of its likelihoods, at scvi-tools' own defaults.

    It is trained on the whole counts of our training cells, of which it keeps a tenth for its own
    validation, for as many epochs as its heuristic says (400 below 20,000 cells) and without early
    stopping, since it ships so.

    Of a cell with hidden entries it sees what our networks see: visible counts, and an average
    entry where one is hidden, here :math:`\hat l q_j` of the gene's share q; its library is
    :math:`\hat l = \sum_{visible} x / (1 - \sum_{hidden} q)`, over the modelled genes as in its
    training. The latent position is the posterior mean.
    Reference: Lopez et al. 2018, doi:10.1038/s41592-018-0229-2.
    """

    package, module = "scvi-tools", "scvi"
    gene_likelihood: ClassVar[str]
    likelihood: ClassVar[str]  # ours, that says the same
    own_names: ClassVar[dict[str, str]]  # our parameter: attribute of its distribution

    def train(self, matrix: CountMatrix, cells: np.ndarray, *, seed: int) -> dict[str, Any]:
        with quiet():
            import anndata
            import scvi

            scvi.settings.seed = seed
            adata = anndata.AnnData(matrix.rows(cells).astype(np.float32))
            scvi.model.SCVI.setup_anndata(adata)
            model = scvi.model.SCVI(adata, gene_likelihood=self.gene_likelihood)
            model.train(
                enable_progress_bar=False, logger=False, enable_checkpointing=False,
                enable_model_summary=False,
            )  # fmt: skip
        self._module = model.module.eval()
        return {"epochs": model.trainer.current_epoch, "device": str(model.device)}

    def predict(self, matrix: CountMatrix, cells: np.ndarray) -> Predictions:
        data, member = hold_out(matrix), likelihoods.get(self.likelihood)()
        parts: list[dict[str, np.ndarray]] = []
        points: list[np.ndarray] = []
        for block in data.blocks(cells):
            found: dict[str, np.ndarray] = {}
            for task in data.held_out_tasks(block):
                seen = Seen.of(task)
                for name, value in self._parameters(seen, matrix.gene_share).items():
                    whole = found.setdefault(name, np.empty(value.shape, dtype=np.float32))
                    np.copyto(whole, value, where=True if task.mask is None else seen.hidden)
            parts.append(found)
            points.append(self._latent(Seen.of(data.whole(block)), matrix.gene_share)[0])
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        mean = member.mean(**{name: torch.as_tensor(value) for name, value in joined.items()})
        return Predictions(
            matrix.cell_id[cells], mean.numpy().astype(np.float32), self.likelihood, joined,
            np.concatenate(points),
        )  # fmt: skip

    @torch.no_grad()
    def _parameters(self, seen: Seen, gene_share: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters of our likelihood for every entry, (cell, gene)."""
        point, library = self._latent(seen, gene_share)
        batch = torch.zeros(len(point), 1)
        px = self._module.generative(_tensor(point), _tensor(np.log(library)), batch)["px"]
        own = {ours: getattr(px, theirs) for ours, theirs in self.own_names.items()}
        if "size_factor" in likelihoods.get(self.likelihood).parameters:
            own["size_factor"] = _tensor(seen.size_factor)
        wide = torch.broadcast_tensors(*own.values())
        return {name: value.cpu().numpy() for name, value in zip(own, wide, strict=True)}

    @torch.no_grad()
    def _latent(self, seen: Seen, gene_share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean of each cell, (cell, latent), and its library over all its genes."""
        share = gene_share / gene_share.sum()
        library = visible_library(seen, share)
        shown = np.where(seen.hidden, library * share, seen.counts)
        found = self._module.inference(_tensor(shown), torch.zeros(len(shown), 1))
        return found["qz"].loc.cpu().numpy(), library


def visible_library(seen: Seen, share: np.ndarray) -> np.ndarray:
    """Total that a cell's visible counts imply over all modelled genes, (cell, 1), > 0."""
    visible = seen.counts.sum(axis=1, keepdims=True)
    unseen = (seen.hidden * share).sum(axis=1, keepdims=True)
    return np.maximum(visible, 1.0) / np.maximum(1.0 - unseen, share.min())


def _tensor(values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)

"""Negative binomial count splitting: halves that are independent if the dispersion is right."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix

from countae.counts import CountMatrix
from countae.errors import CountMatrixError
from countae.protocols import register
from countae.protocols._molecules import HiddenMolecules


@register("nb_splitting")
class NBSplitting(HiddenMolecules):
    r"""The visible half is beta-binomial, :math:`BB(x, θ/2, θ/2)`, with the gene's θ.

    If x ~ NB(μ, θ), the halves are independent NB(μ/2, θ/2). The inverse dispersion is
    cross-fitted: that of a cell's split comes from other cells (``countae hide``). With a θ that
    is wrong by a factor of two the halves correlate by about ±0.1.
    """

    name = "nb_splitting"
    title = "NB count splitting"
    question = "The same as thinning, with halves made independent under an NB?"
    reference = "10.48550/arXiv.2307.12985"

    def __init__(
        self,
        matrix: CountMatrix,
        device: torch.device | str = "cpu",
        levels: dict[str, list[str]] | None = None,
        dtype: torch.dtype = torch.float32,
        loader: str = "mapped",
    ) -> None:
        super().__init__(matrix, device, levels, dtype, loader)
        missing = {"countae_theta_train", "countae_theta_validation"} - {*matrix.adata.var}
        if missing:
            raise CountMatrixError(
                f"{matrix.source}: the protocol 'nb_splitting' needs cross-fitted inverse "
                f"dispersions, but var has no {sorted(missing)}. Fix: make the file with "
                "`countae hide COUNTS OUTPUT --protocol nb_splitting --model MODEL`."
            )
        self._trained_on = matrix.part == "train"
        # training cells are split with the θ of the validation cells, all others with theirs
        self._theta = {
            part: matrix.adata.var[f"countae_theta_{part}"].to_numpy(np.float64)
            for part in ("train", "validation")
        }

    def split(self, counts: csr_matrix, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        in_training = np.repeat(self._trained_on[cells], np.diff(counts.indptr))
        theta = np.where(
            in_training,
            self._theta["validation"][counts.indices],
            self._theta["train"][counts.indices],
        )
        share = rng.beta(theta / 2, theta / 2)
        return rng.binomial(counts.data, share).astype(counts.dtype)

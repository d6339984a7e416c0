"""The oracle: the distribution that made simulated counts; no network should beat it."""

from __future__ import annotations

import numpy as np
import torch
from scipy import special
from torch import Tensor

from countae import likelihoods
from countae.baselines import baseline
from countae.baselines._base import Baseline
from countae.counts import CountMatrix
from countae.errors import ScoreError
from countae.predict import Prediction

# how a head's value follows from the truth that a simulator writes
OF_HEAD = {
    "log_inverse_dispersion": ("inverse_dispersion", np.log),
    "zero_logit": ("zero_probability", special.logit),
}


@baseline("oracle")
class Oracle(Baseline):
    """True mean and true noise of simulated data, where their family is a likelihood."""

    title = "Oracle (simulated truth)"
    native = True

    def mean(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
        """True expected raw counts, (cell, gene)."""
        return np.asarray(matrix.adata.layers["true_mean"][cells], dtype=np.float64)

    def prediction(self, matrix: CountMatrix, cells: np.ndarray) -> Prediction:
        """The generating distribution of every entry.

        Raises
        ------
        ScoreError
            When the family that made the counts is no registered likelihood.
        """
        truth = matrix.adata.uns["truth"]
        if not truth["likelihood"]:
            raise ScoreError(
                f"{matrix.source}: the oracle needs counts that follow a likelihood, but "
                f"those of {truth['family']!r} follow none. Fix: remove `oracle` from "
                "`baselines`; simulated data that have an oracle get it by themselves."
            )
        likelihood = likelihoods.get(truth["likelihood"])()
        known = {"size_factor": torch.as_tensor(matrix.size_factor[cells, None])}
        rest = [name for name in likelihood.parameters if name not in known]
        if all(_is_known(name, matrix) for name in rest):
            known |= {name: torch.as_tensor(_true(name, matrix, cells)) for name in rest}
            return Prediction.of(likelihood, {name: known[name] for name in likelihood.parameters})
        mean = torch.as_tensor(self.mean(matrix, cells))
        heads = {name: _head(name, matrix, cells) for name in likelihood.noise_heads}
        return Prediction.of(likelihood, likelihood.from_mean(mean, **heads))


def _head(name: str, matrix: CountMatrix, cells: np.ndarray) -> Tensor:
    """Value of a noise head from the true parameter behind it."""
    parameter, transform = OF_HEAD[name]
    return torch.as_tensor(transform(_true(parameter, matrix, cells)))


def _is_known(parameter: str, matrix: CountMatrix) -> bool:
    """Whether the truth names a parameter as such."""
    name = f"true_{parameter}"
    return name in matrix.adata.layers or name in matrix.adata.var


def _true(parameter: str, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
    """A true parameter, (cell, gene) where it differs between entries, else (gene,)."""
    name = f"true_{parameter}"
    if name in matrix.adata.layers:
        return np.asarray(matrix.adata.layers[name][cells], dtype=np.float64)
    return matrix.adata.var[name].to_numpy(np.float64)

"""The oracle: the distribution that made simulated counts; no network should beat it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from countae import likelihoods
from countae.baselines import baseline
from countae.counts import CountMatrix
from countae.predict import Prediction


@baseline("oracle")
class Oracle:
    """True mean and true noise of simulated data."""

    title = "Oracle (simulated truth)"
    native = True

    def mean(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
        """True expected raw counts, (cell, gene)."""
        return np.asarray(matrix.adata.layers["true_mean"][cells], dtype=np.float64)

    def prediction(self, matrix: CountMatrix, cells: np.ndarray) -> Prediction:
        """The generating distribution of every entry."""
        truth = matrix.adata.uns["truth"]
        likelihood, var = likelihoods.get(truth["likelihood"])(), matrix.adata.var
        as_head: dict[str, tuple[str, Callable]] = {
            "log_inverse_dispersion": ("true_inverse_dispersion", np.log),
            "zero_logit": ("true_zero_probability", lambda p: np.log(p) - np.log1p(-p)),
        }
        heads = {}
        for name in likelihood.noise_heads:
            column, transform = as_head[name]
            heads[name] = torch.as_tensor(transform(var[column].to_numpy(np.float64)))
        mean = torch.as_tensor(self.mean(matrix, cells))
        return Prediction.of(likelihood, likelihood.from_mean(mean, **heads))

"""Principal components of log1p counts: the linear autoencoder in closed form."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from countae import likelihoods
from countae.baselines import baseline
from countae.baselines._base import Learner, Predictor, Seen, hold_out, some
from countae.baselines._log_space import LogSpace
from countae.counts import CountMatrix
from countae.noise import noise_cells
from countae.predict import Prediction

LOSS = "mse_log1p"


@baseline("log1p_pca")
class Log1pPCA(Learner):
    r"""Reconstruction of log1p(count / size factor) by its principal components.

    No linear autoencoder has a smaller squared error on log1p counts of the cells that it is
    fitted to (Baldi & Hornik 1989, doi:10.1016/0893-6080(89)90014-2), so what the network of
    ``mse_log1p`` gains over this is what its curvature, and its training on hidden entries, are
    worth. Axes are those of training cells; a cell with hidden entries lies where its visible
    genes put it by least squares. Its own distribution is that of the loss ``mse_log1p``, with
    one spread per gene from train and validation entries predicted while hidden.
    """

    title = "PCA of log1p counts"
    native = True
    settings = (2, 5, 10, 20, 40)  # components

    def learn(self, reference: Seen, setting: int) -> Predictor:
        return LogSpace.of(reference, setting).location

    def to_mean(self, matrix: CountMatrix, cells: np.ndarray, values: np.ndarray) -> np.ndarray:
        return hold_out(matrix).size_factor(cells) * np.expm1(np.maximum(values, 0.0))

    def prediction(self, matrix: CountMatrix, cells: np.ndarray) -> Prediction:
        likelihood, fitted = likelihoods.get(LOSS)(), noise_cells(matrix)
        counts = torch.as_tensor(matrix.target(fitted).toarray(), dtype=torch.float64)
        unseen = torch.as_tensor(matrix.part[fitted] == "validation")
        found = likelihood.calibrate(counts, self._parameters(matrix, fitted), unseen)
        scale = found["log_scale"].exp()
        return Prediction.of(likelihood, self._parameters(matrix, cells) | {"scale": scale})

    def _parameters(self, matrix: CountMatrix, cells: np.ndarray) -> dict[str, Tensor]:
        location = torch.as_tensor(self.values(matrix, cells))
        size = torch.as_tensor(hold_out(matrix).size_factor(cells))
        return {"location": location, "scale": torch.ones_like(location), "size_factor": size}

    def latent(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
        data = hold_out(matrix)
        train = some(np.flatnonzero(matrix.part == "train"))
        space = LogSpace.of(Seen.of(data.whole(train)), self.setting(matrix))
        return space.scores(Seen.of(data.whole(cells)))

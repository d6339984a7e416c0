"""Negative binomial factor model: principal components of counts on the scale of logarithms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from countae.baselines import baseline
from countae.baselines._base import Learner, Predictor, Seen, hold_out, some
from countae.baselines._log_space import LogSpace
from countae.baselines._nb_regression import fitted, log_likelihood
from countae.counts import CountMatrix
from countae.noise import fit_noise

FACTORS = 10
SWEEPS, STEPS, ENOUGH = 30, 2, 1e-4


@baseline("glm_pca")
class GlmPCA(Learner):
    r"""NB counts whose log means are linear in a few factors of the cell.

    .. math:: x_{ij} \sim NB(s_i\, e^{b_j + u_i^T v_j}, θ_j), \quad
              u_i, v_j, b_j - \bar b_j \sim N(0, 1/λ)

    fitted to training cells by maximum a posteriori, cells and genes in turn, by Fisher scoring.
    :math:`θ_j` is fitted around the gene's mean and once again around the factors' means. Of a
    cell that is asked about only :math:`u_i` is fitted, to its visible counts alone: hidden ones
    have no weight. The validation cells choose λ; a larger one leaves fewer factors.
    Reference: Townes et al. 2019, doi:10.1186/s13059-019-1861-6.
    """

    title = "NB factor model (GLM-PCA)"
    settings = (1.0, 3.0, 10.0)  # λ

    def learn(self, reference: Seen, setting: float) -> Predictor:
        model = FactorModel.of(reference, FACTORS, setting)
        return lambda seen: model.mean(seen, model.factors(seen))

    def latent(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
        data = hold_out(matrix)
        train = some(np.flatnonzero(matrix.part == "train"))
        model = FactorModel.of(Seen.of(data.whole(train)), FACTORS, self.setting(matrix))
        return model.factors(Seen.of(data.whole(cells)))


@dataclass(frozen=True)
class FactorModel:
    """Fitted genes: log rate ``level``, (gene,), ``loading``, (gene, factor), ``theta``, (gene,).

    ``shrinkage`` is λ.
    """

    level: np.ndarray
    loading: np.ndarray
    theta: np.ndarray
    shrinkage: float

    @classmethod
    def of(cls, reference: Seen, n_factors: int, shrinkage: float) -> FactorModel:
        """The model of cells of which nothing is hidden."""
        space = LogSpace.of(reference, n_factors)
        scores = space.scores(reference)
        factors = scores / np.maximum(scores.std(axis=0), 1e-3)
        start = np.zeros((len(reference.rate), factors.shape[1]))
        model = cls(np.log(reference.rate), start, np.ones(len(start)), shrinkage)
        for _ in range(2):
            theta = inverse_dispersion(reference, model.mean(reference, factors))
            model = cls(model.level, model.loading, theta, shrinkage)
            model, factors = model._refitted(reference, factors)
        return model

    def _refitted(self, seen: Seen, factors: np.ndarray) -> tuple[FactorModel, np.ndarray]:
        """Genes and cells fitted in turn until the posterior hardly rises."""
        model, before = self, -np.inf
        for _ in range(SWEEPS):
            model = model._with_genes(seen, factors)
            factors = model.factors(seen, factors)
            value = model.log_posterior(seen, factors)
            if value - before < ENOUGH * abs(value):
                break
            before = value
        return model, factors

    def _with_genes(self, seen: Seen, factors: np.ndarray) -> FactorModel:
        """Levels and loadings fitted to given factors."""
        average = np.log(seen.rate)
        design = np.column_stack([np.ones(len(factors)), factors])
        found = fitted(
            seen.counts.T, design, offset=average[:, None] + np.log(seen.size_factor).T,
            theta=self.theta[:, None], shrinkage=self.shrinkage, steps=STEPS,
            start=np.column_stack([self.level - average, self.loading]),
        )  # fmt: skip
        return FactorModel(average + found[:, 0], found[:, 1:], self.theta, self.shrinkage)

    def factors(self, seen: Seen, start: np.ndarray | None = None) -> np.ndarray:
        """Factors of cells from their visible counts, (cell, factor)."""
        return fitted(
            seen.counts, self.loading, offset=self.level + np.log(seen.size_factor),
            theta=self.theta, shrinkage=self.shrinkage, visible=~seen.hidden,
            start=start, steps=20 if start is None else STEPS,
        )  # fmt: skip

    def mean(self, seen: Seen, factors: np.ndarray) -> np.ndarray:
        """Expected counts, (cell, gene)."""
        return seen.size_factor * np.exp(self.level + factors @ self.loading.T)

    def log_posterior(self, seen: Seen, factors: np.ndarray) -> float:
        """Log posterior of all coefficients, up to a constant."""
        offset = self.level + np.log(seen.size_factor)
        of_cells = log_likelihood(
            seen.counts, offset + factors @ self.loading.T, self.theta, ~seen.hidden
        ).sum()
        deviation = self.level - np.log(seen.rate)
        squares = sum(np.square(part).sum() for part in (factors, self.loading, deviation))
        return float(of_cells - 0.5 * self.shrinkage * squares)


def inverse_dispersion(seen: Seen, mean: np.ndarray) -> np.ndarray:
    """Inverse dispersion of each gene around given means, (gene,)."""
    noise = fit_noise("nb", counts=seen.counts, mean=mean, size_factor=seen.size_factor)
    return np.exp(noise.raw["log_inverse_dispersion"].numpy())

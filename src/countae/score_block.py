"""One block of genes under one distribution: what metrics may ask for by name, made when asked."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit

from countae import metrics
from countae.errors import ScoreError
from countae.kernels.recursion import mass_to
from countae.metrics.dispersion_standard_error import IDENTIFIABLE
from countae.predict import Prediction


class Block:
    """Held-out counts of some genes, their predicted distribution, and the truth where known.

    Parameters
    ----------
    prediction : Prediction, (cell, gene)
    observed : ndarray, (cell, gene), raw counts, float64
    null_mean : ndarray, (cell, gene)
        Expected counts of the gene mean.
    library_size : ndarray, (cell,)
    n_fitted : int
        Cells on which noise was fitted.
    stream : list of int
        Seed of the randomised PIT: the same for every contestant, so that PITs are paired.
    truth : dict of ndarray
        ``true_mean``, ``true_inverse_dispersion`` and ``extra_zero`` of simulated data that have
        them; empty otherwise.
    of_cells : dict of ndarray
        What belongs to the cells and is the same for all genes, such as ``latent``.
    """

    def __init__(
        self,
        prediction: Prediction,
        *,
        observed: np.ndarray,
        null_mean: np.ndarray,
        library_size: np.ndarray,
        n_fitted: int,
        stream: list[int],
        truth: dict[str, np.ndarray],
        of_cells: dict[str, np.ndarray],
    ) -> None:
        self.prediction, self.observed, self.null_mean = prediction, observed, null_mean
        self.library_size, self.n_fitted = library_size, n_fitted
        self._stream = stream
        self.__dict__.update(truth | of_cells)
        if "inverse_dispersion" in prediction.parameters:
            self.inverse_dispersion = prediction.parameters["inverse_dispersion"][0].numpy()
        if "zero_logit" in prediction.parameters:
            self.zero_probability = expit(prediction.parameters["zero_logit"].numpy())

    @cached_property
    def mean(self) -> np.ndarray:
        return self.prediction.mean

    @cached_property
    def variance(self) -> np.ndarray:
        return self.prediction.variance

    @cached_property
    def prob_zero(self) -> np.ndarray:
        return self.prediction.prob_zero

    @cached_property
    def log_prob(self) -> np.ndarray:
        return self.prediction.log_pmf(self.observed)

    @cached_property
    def recursion(self) -> tuple[np.ndarray, ...] | None:
        return self.prediction.recursion

    @cached_property
    def pit(self) -> np.ndarray:
        below, within = self._mass()
        drawn = np.random.default_rng(self._stream).random(below.shape)
        return np.clip(below + drawn * within, 0, 1)

    def _mass(self) -> tuple[np.ndarray, np.ndarray]:
        """P(X < observed) and P(X = observed), (cell, gene)."""
        x = self.observed.reshape(-1)
        if self.recursion is None:
            below, within, left = np.empty(x.size), np.empty(x.size), np.arange(x.size)
        else:
            prob_zero, prob_one, a, b = self.recursion
            below, within, done = mass_to(x, prob_zero, prob_one, a, b)
            left = np.flatnonzero(~done)
        if left.size:
            below[left] = self.cdf(x[left] - 1, left)
            within[left] = self.cdf(x[left], left) - below[left]
        return below.reshape(self.observed.shape), within.reshape(self.observed.shape)

    @cached_property
    def identifiable(self) -> np.ndarray:
        error = metrics.get("dispersion_standard_error")(
            mean=self.mean, inverse_dispersion=self.inverse_dispersion, n_fitted=self.n_fitted
        )
        return error <= IDENTIFIABLE

    def step_score(self, counts: np.ndarray, tail: float) -> tuple[np.ndarray, np.ndarray]:
        return self.prediction.step_score(counts, tail)

    def cdf(self, counts: np.ndarray, entries: np.ndarray) -> np.ndarray:
        return self.prediction.at(entries).cdf(counts)

    def has(self, metric: metrics.Metric) -> bool:
        """Whether the data and the distribution can meet the metric's needs."""
        if metric.name == "dispersion_log_error" and not hasattr(self, "inverse_dispersion"):
            return False
        return all(hasattr(self, name) for name in metric.needs)

    def of(self, metric: metrics.Metric) -> Any:
        """The metric's value; ScoreError when it leaves its bounds."""
        value = metric(**{name: getattr(self, name) for name in metric.needs})
        if metric.level == "gene histogram":
            for shares in value.values():
                _check_bounds(metric, shares)
        elif metric.level != "dataset":
            _check_bounds(metric, value)
        return value


def _check_bounds(metric: metrics.Metric, value: np.ndarray) -> None:
    low, high = metric.bounds
    slack = 1e-9 * max(1.0, abs(low) if np.isfinite(low) else 1.0)
    wrong = (value < low - slack) | (value > high + slack)
    if wrong.any():
        raise ScoreError(
            f"Metric {metric.name} must lie in [{low}, {high}], but {wrong.sum():,} values do "
            f"not; first: {value[wrong].flat[0]:.6g}. This is a defect of countae: please report "
            "it."
        )

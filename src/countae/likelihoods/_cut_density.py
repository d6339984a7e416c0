"""Losses of a residual: the density that one claims, on some scale, cut into integers."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from countae.kernels.around_trend import WIDE, most_probable
from countae.kernels.newton import Derivatives, by_differences
from countae.kernels.precision import widened
from countae.kernels.special import log_interval
from countae.kernels.unseen import blocks, widening
from countae.likelihoods._base import GeneMoments, Likelihood, to_numpy, to_tensor

DIFFERENCE = 0.01  # of the log scale, for derivatives
LOWEST_LEVEL = 1e-6  # expected count of a gene that a loss says is never seen


class CutDensity(Likelihood):
    r"""A loss of the residual g(x) − m, read as the symmetric density whose logarithm it is.

    With F the distribution function of that density, ``location`` m and spread s, the integer k
    gets the mass between k − ½ and k + ½; all mass below ½ is a zero:
    :math:`P(k) = F((g(k+½)-m)/s) - F((g(k-½)-m)/s)`, :math:`P(0) = F((g(½)-m)/s)`.
    These are exact masses, so no Jacobian is needed and none is used.

    ``mean`` and ``variance`` are those of the density before it is cut, transformed back: what a
    user of the loss asserts and reports. ``log_pmf``, ``cdf`` and ``prob_zero`` are exact.

    ``location`` is (cell, gene); ``scale`` > 0 is one per gene, from entries predicted while
    hidden, because the loss itself says nothing of it; ``size_factor`` is (cell, 1).
    """

    complexity = 1
    heads = {"location": "entry", "log_scale": "gene"}
    parameters: ClassVar[tuple[str, ...]] = ("location", "scale", "size_factor")

    @abstractmethod
    def transform(self, counts: Tensor, size_factor: Tensor) -> Tensor:
        """The scale on which residuals are taken, increasing in ``counts``."""

    @abstractmethod
    def inverse(self, value: Tensor, size_factor: Tensor) -> Tensor:
        """Count whose transform is ``value``."""

    @abstractmethod
    def penalty(self, residual: Tensor) -> Tensor:
        """Loss of a residual on the transformed scale, ≥ 0."""

    @abstractmethod
    def log_scale_of(self, mean_loss: Tensor) -> Tensor:
        """Logarithm of the scale at which the expected loss is ``mean_loss``, (gene,).

        This is the scale's maximum of likelihood before the density is cut.
        """

    @abstractmethod
    def log_below(self, value: Tensor, spread: Tensor) -> Tensor:
        """Log of F at a residual over its spread, with all its digits left of zero.

        ``spread`` is for densities whose shape depends on it.
        """

    @abstractmethod
    def unit_variance(self, spread: Tensor) -> Tensor:
        """Variance of a residual over its spread."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, spread: np.ndarray) -> np.ndarray:
        """A residual over its spread for each entry, of the shape of ``spread``."""

    def below(self, value: Tensor, spread: Tensor) -> Tensor:
        """F itself."""
        return self.log_below(value, spread).exp()

    def spread(self, **parameters: Tensor) -> Tensor:
        """Spread of each entry's density, broadcastable to (cell, gene)."""
        return parameters["scale"]

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        return {
            "location": raw["location"],
            "scale": raw["log_scale"].exp(),
            "size_factor": size_factor,
        }

    def loss(self, counts: Tensor, **parameters: Tensor) -> Tensor:
        transformed = self.transform(counts, parameters["size_factor"])
        return self.penalty(transformed - parameters["location"])

    def calibrate(
        self, counts: Tensor, parameters: dict[str, Tensor], unseen: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Scale per gene, (gene,): the most probable one of the counts as they are scored.

        The maximum of likelihood of a cut density is not the size of its residuals: one count in
        a hundred zeros needs more. Genes are drawn towards the trend of scales against means, by
        the recipe of noise families, so that a gene of which little is seen is given what
        others of its level have. As with these, all are widened by what ``unseen`` cells show
        that scales are too narrow for cells that were not learnt from.
        """
        x, *values = widened(counts, *parameters.values())
        wide = dict(zip(parameters, values, strict=True))
        guess = to_numpy(self._guess(x, wide))[None]
        level = to_numpy(self.mean(**wide).mean(dim=0).clamp(min=LOWEST_LEVEL))
        best, _ = most_probable(self._scale_fits(x, wide), guess, np.full_like(guess, WIDE), level)
        if unseen is not None and unseen.any():
            rows = [unseen.nonzero()[b, 0] for b in blocks(int(unseen.sum()))]
            best = best + widening([self._scale_fits(*_rows(r, x, wide)) for r in rows], best)
        return {"log_scale": to_tensor(best[0], counts)}

    def _scale_fits(self, counts: Tensor, parameters: dict[str, Tensor]) -> Derivatives:
        """Log-likelihood of genes at given log scales, with derivatives."""

        def log_likelihood(log_scale: np.ndarray, genes: np.ndarray) -> np.ndarray:
            of_genes = {name: _columns(value, genes) for name, value in parameters.items()}
            of_genes["scale"] = torch.as_tensor(log_scale).to(counts).exp()
            return to_numpy(self.log_pmf(counts[:, genes], **of_genes).sum(dim=0))

        return by_differences(log_likelihood, DIFFERENCE, cells=len(counts))

    def _guess(self, counts: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """Log scale of a gene's mean loss, to which that of one count beside a zero is added."""
        none = self.transform(torch.zeros_like(counts), parameters["size_factor"])
        one = self.loss(torch.ones_like(counts), **(parameters | {"location": none})).mean(dim=0)
        total = self.loss(counts, **parameters).sum(dim=0)
        return self.log_scale_of((total + one) / (len(counts) + 1))

    def variants(self, parameters: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """``single_scale``: one s for all genes, which is what the plain loss asserts."""
        scale = parameters["scale"]
        return {
            "single_scale": parameters | {"scale": scale.square().mean().sqrt().expand_as(scale)}
        }

    def log_pmf(self, counts: Tensor, **parameters: Tensor) -> Tensor:
        # the ends of a narrow interval differ in digits that float32 does not have
        x, *values = widened(counts, *parameters.values())
        wide = dict(zip(parameters, values, strict=True))
        upper, spread = self._residual(x + 0.5, **wide)
        below, _ = self._residual((x - 0.5).clamp(min=0), **wide)
        lower = torch.where(x > 0, below, torch.full_like(below, -torch.inf))
        value = log_interval(partial(self.log_below, spread=spread), lower, upper)
        return value.to(parameters["location"].dtype)

    def cdf(self, counts: Tensor, **parameters: Tensor) -> Tensor:
        value = self.below(*self._residual(counts.clamp(min=0) + 0.5, **parameters))
        return torch.where(counts < 0, torch.zeros_like(value), value)

    def mean(self, **parameters: Tensor) -> Tensor:
        """Back-transformed location, what a user of the loss reports; a negative one is zero."""
        return self.inverse(parameters["location"].clamp(min=0), parameters["size_factor"])

    def sample(self, rng: np.random.Generator, **parameters: Tensor) -> Tensor:
        location = parameters["location"]
        spread = self.spread(**parameters).expand_as(location)
        value = location + spread * to_tensor(self.draw(rng, to_numpy(spread)), location)
        return torch.ceil(self.inverse(value, parameters["size_factor"]) - 0.5).clamp(min=0)

    def _residual(self, counts: Tensor, **parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals over their spread, and the spread."""
        transformed = self.transform(counts, parameters["size_factor"])
        spread = self.spread(**parameters)
        return (transformed - parameters["location"]) / spread, spread


class OnCounts(CutDensity):
    """A cut density of raw counts: g is the identity and m = size factor × exp(network output).

    That is the same output as of every loss of counts, so that losses differ in nothing else.
    """

    heads = {"log_location": "entry", "log_scale": "gene"}

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        return {"log_location": moments.mean.log(), "log_scale": 0.5 * moments.mean.log()}

    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        location = size_factor * raw["log_location"].exp()
        return super().constrain(raw | {"location": location}, size_factor)

    def transform(self, counts: Tensor, size_factor: Tensor) -> Tensor:
        return counts

    def inverse(self, value: Tensor, size_factor: Tensor) -> Tensor:
        return value

    def variance(self, **parameters: Tensor) -> Tensor:
        spread = self.spread(**parameters)
        variance = spread.square() * self.unit_variance(spread)
        return variance.expand_as(parameters["location"])


def _rows(
    cells: Tensor, counts: Tensor, parameters: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Counts and parameters of some cells."""
    return counts[cells], {n: v[cells] if v.dim() > 1 else v for n, v in parameters.items()}


def _columns(value: Tensor, genes: np.ndarray) -> Tensor:
    """Some genes of a parameter that is (cell, gene), (gene,), or one per cell, (cell, 1)."""
    return value if value.dim() > 1 and value.shape[1] == 1 else value[..., genes]

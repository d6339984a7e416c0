"""What a loss is: a training objective, and the distribution of a count that it claims."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from countae.kernels.autograd import by_autograd
from countae.kernels.newton import Derivatives
from countae.kernels.recursion import step_score as along_recursion


@dataclass(frozen=True)
class GeneMoments:
    """Per-gene moments of the training counts, from which every loss starts alike.

    All are (gene,), float64 tensors. ``mean`` is the expected count at size factor 1,
    ``log1p_mean`` the mean of log1p(count / size factor), ``inverse_dispersion`` and
    ``zero_probability`` the method-of-moments values described in ``_moments.py``.
    """

    mean: Tensor
    log1p_mean: Tensor
    inverse_dispersion: Tensor
    zero_probability: Tensor


@dataclass(frozen=True)
class CompiledLoss:
    """A loss with its slopes, compiled: what training on a CPU computes in place of ``loss``.

    ``run(count, lanes)`` takes ``count``, (entry,), and ``lanes``, (1 + head, entry), both
    float32: the size factor, then the value of each of ``heads``. In place, the size factor
    becomes the loss and each head value the loss's slope in it.
    """

    heads: tuple[str, ...]
    run: Callable[[np.ndarray, np.ndarray], None]


class Likelihood(ABC):
    """A loss and the probability mass function on 0, 1, 2 … that it stands for.

    A network has one *head* per name in ``heads``: an unconstrained number per entry of the
    matrix (``"entry"``) or per gene (``"gene"``). ``constrain`` turns them into ``parameters``,
    the keyword arguments that every other method takes; all broadcast to (cell, gene).

    ``noise_heads`` is set by the families that can be put around any mean (see ``from_mean``);
    ``noise_from_residuals`` by those that can, with a spread that needs no search.
    ``size_in_target`` is set by losses whose target is divided or weighted by the size factor: a
    network that chose it could make any residual small, so they always get the observed one.
    The first of ``heads`` is that of the mean.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reference: ClassVar[str]
    complexity: ClassVar[int]
    heads: ClassVar[dict[str, str]]
    parameters: ClassVar[tuple[str, ...]]
    noise_heads: ClassVar[tuple[str, ...] | None] = None
    noise_from_residuals: ClassVar[bool] = False
    size_in_target: ClassVar[bool] = False

    @abstractmethod
    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        """Value of each head, (gene,), at which training starts."""

    @abstractmethod
    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        """Parameters from head values; ``size_factor`` is (cell, 1), > 0."""

    @abstractmethod
    def log_pmf(self, counts: Tensor, **parameters: Tensor) -> Tensor:
        """Log-probability of each raw count, in nats, (cell, gene); ≤ 0 and never NaN."""

    @abstractmethod
    def cdf(self, counts: Tensor, **parameters: Tensor) -> Tensor:
        """P(X ≤ count), in [0, 1]; 0 below zero, continued smoothly between the integers."""

    @abstractmethod
    def mean(self, **parameters: Tensor) -> Tensor:
        """Expected raw count, ≥ 0."""

    @abstractmethod
    def variance(self, **parameters: Tensor) -> Tensor:
        """Variance of the raw count, > 0."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, **parameters: Tensor) -> Tensor:
        """One raw count per entry, drawn from the distribution."""

    def loss(self, counts: Tensor, **parameters: Tensor) -> Tensor:
        """Training loss per entry, (cell, gene); by default the negative log-probability."""
        return -self.log_pmf(counts, **parameters)

    def compiled_loss(self) -> CompiledLoss | None:
        """``loss`` after ``constrain``, compiled, or None: then training differentiates ``loss``.

        It is taken only from the class itself, since a subclass may have another loss.
        """
        return None

    def prob_zero(self, **parameters: Tensor) -> Tensor:
        """P(count = 0), in [0, 1]."""
        shape = torch.broadcast_shapes(*(value.shape for value in parameters.values()))
        any_parameter = next(iter(parameters.values()))
        return self.log_pmf(any_parameter.new_zeros(shape), **parameters).exp()

    def recursion(self, **parameters: Tensor) -> tuple[Tensor, ...] | None:
        """P(0), P(1), a and b with P(k) = (a + b/k) P(k−1) from k = 2 on; None where none exists.

        See :mod:`countae.kernels.recursion`; it makes cumulative probabilities cheap.
        """
        return None

    def calibrate(self, counts: Tensor, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """Values for gene heads that the loss leaves open, from entries predicted while hidden.

        A likelihood learns all its parameters, so the default returns nothing; a squared error
        says nothing of its spread and returns it here.
        """
        return {}

    def variants(self, parameters: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Other readings of the same fit that are worth a column of their own, by name."""
        return {}

    def from_mean(self, mean: Tensor, **raw: Tensor) -> dict[str, Tensor]:
        """Parameters of this family with expected count ``mean`` and the given ``noise_heads``."""
        raise TypeError(f"{self.name} cannot be put around another network's mean")

    def step_score(
        self, counts: np.ndarray, tail: float, **parameters: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        """Summed squared gaps between predicted and observed steps, and where that is finished.

        By a compiled walk up the distribution; by default along ``recursion``, if there is one.

        Parameters
        ----------
        counts : ndarray, (entry,), float64
            Raw counts, row by row.
        tail : float
            The walk ends behind the count where less than this probability is left.
        parameters : Tensor
            Broadcastable to (cell, gene).

        Returns
        -------
        ndarray, (entry,), float64; ndarray, (entry,), bool
        """
        steps = self.recursion(**parameters)
        if steps is None:
            return np.zeros(counts.size), np.zeros(counts.size, dtype=bool)
        shape = torch.broadcast_shapes(*(value.shape for value in parameters.values()))
        return along_recursion(counts, *flattened(steps, shape), tail)

    def residual_noise(self, counts: Tensor, mean: Tensor) -> dict[str, Tensor]:
        """Arguments of ``from_mean`` from residuals, (gene,), if ``noise_from_residuals``."""
        raise TypeError(f"{self.name} has no noise that residuals alone determine")

    def noise_derivatives(self, counts: np.ndarray, mean: np.ndarray) -> Derivatives:
        """Log-likelihood of genes around ``mean``, with derivatives in their ``noise_heads``.

        ``counts`` and ``mean`` > 0 are (cell, gene). The default asks ``log_pmf`` and autograd;
        a family with formulas of its own replaces it.
        """
        x, m = torch.as_tensor(counts, dtype=torch.float64), torch.as_tensor(mean)
        names = self.noise_heads or ()

        def log_likelihood(raw: Tensor, genes: Tensor) -> Tensor:
            parameters = self.from_mean(m[:, genes], **dict(zip(names, raw, strict=True)))
            return self.log_pmf(x[:, genes], **parameters).sum(dim=0)

        return by_autograd(log_likelihood)


def flattened(values: Iterable[Tensor], shape: Sequence[int]) -> list[np.ndarray]:
    """Tensors broadcast to a shape, as float64 arrays of entries."""
    return [np.ascontiguousarray(to_numpy(v.expand(tuple(shape)))).reshape(-1) for v in values]


def to_numpy(tensor: Tensor) -> np.ndarray:
    """Tensor as a float64 array, for SciPy."""
    return tensor.detach().cpu().numpy().astype(np.float64, copy=False)


def to_tensor(array: np.ndarray, like: Tensor) -> Tensor:
    """Array as a tensor of the dtype and device of ``like``."""
    return torch.as_tensor(array, dtype=like.dtype, device=like.device)

"""What a loss is: a training objective, and the distribution of a count that it claims."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from countae.kernels.autograd import by_autograd
from countae.kernels.newton import Derivatives
from countae.kernels.recursion import step_score as along_recursion

if TYPE_CHECKING:
    from countae.likelihoods._distribution import CountDistribution

Loss = TypeVar("Loss", bound="Likelihood")


@dataclass(frozen=True)
class GeneMoments:
    """Per-gene moments of the training counts, from which every loss starts alike.

    All are (gene,), float64 tensors. ``mean`` is the expected count at size factor 1,
    ``log1p_mean`` the mean of log1p(count / size factor), ``inverse_dispersion`` and
    ``zero_probability`` the method-of-moments values described in ``_moments.py``. ``heads`` are
    head values that were found better than those that follow from the moments.
    """

    mean: Tensor
    log1p_mean: Tensor
    inverse_dispersion: Tensor
    zero_probability: Tensor
    heads: dict[str, Tensor] = field(default_factory=dict)


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
    matrix (``"entry"``), per gene (``"gene"``) or per batch and gene (``"batch"``). ``constrain``
    turns them into ``parameters``, the keyword arguments that every other method takes; all
    broadcast to (cell, gene).

    ``noise_heads`` is set by the families that can be put around any mean (see ``from_mean``).
    ``size_in_target`` is set by losses whose target is divided or weighted by the size factor: a
    network that chose it could make any residual small, so they always get the observed one.
    The first of ``heads`` is that of the mean.

    Where training starts: ``start`` turns moments into heads. ``start_noise`` names the noise
    family from whose best constants the moments' θ and π are taken, and ``best_start`` may better
    heads by a look at the counts.

    ``fixed_heads`` are set before training and not learnt; they are one per gene.

    ``by_cell`` is set by losses of a cell's hidden counts taken together; see ``loss_of_cells``.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reference: ClassVar[str]
    complexity: ClassVar[int]
    heads: ClassVar[dict[str, str]]
    parameters: ClassVar[tuple[str, ...]]
    noise_heads: ClassVar[tuple[str, ...] | None] = None
    size_in_target: ClassVar[bool] = False
    start_noise: ClassVar[str | None] = None
    by_cell: ClassVar[bool] = False
    fixed_heads: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        """Value of each head, (gene,), at which training starts."""

    @abstractmethod
    def constrain(self, raw: dict[str, Tensor], size_factor: Tensor) -> dict[str, Tensor]:
        """Parameters from head values; ``size_factor`` is (cell, 1), > 0.

        Heads of some entries, (entry,), give parameters of these, unless ``by_cell``.
        """

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

    def loss_of_cells(
        self, counts: Tensor, wanted: Tensor, raw: dict[str, Tensor], size_factor: Tensor
    ) -> Tensor:
        """Training loss of the wanted counts of each cell together, if ``by_cell``.

        Parameters
        ----------
        counts : Tensor, (cell, gene), raw counts
        wanted : Tensor, (cell, gene)
            1 where a count is to be predicted; all others must not matter.
        raw : dict of Tensor, (cell, gene) or (gene,)
            Head values.
        size_factor : Tensor, (cell, 1)

        Returns
        -------
        Tensor, (cell, gene)
            Parts that add up to the loss of each cell; of interest where ``wanted``.
        """
        raise TypeError(f"{self.name} is a loss of single counts")

    def best_start(
        self, counts: np.ndarray, size_factor: np.ndarray, moments: GeneMoments
    ) -> dict[str, Tensor]:
        """Heads at which training starts, by a look at raw ``counts``, (cell, gene).

        ``size_factor`` is (cell, 1). The default is ``start``.
        """
        return self.start(moments)

    def prob_zero(self, **parameters: Tensor) -> Tensor:
        """P(count = 0), in [0, 1]."""
        shape = torch.broadcast_shapes(*(value.shape for value in parameters.values()))
        any_parameter = next(iter(parameters.values()))
        return self.log_pmf(any_parameter.new_zeros(shape), **parameters).exp()

    def distribution(
        self, *, validate_args: bool | None = None, **parameters: Tensor | float
    ) -> CountDistribution:
        """What this loss claims at given parameters, as a ``torch.distributions.Distribution``.

        >>> import torch
        >>> from countae.likelihoods import NegativeBinomial
        >>> nb = NegativeBinomial().distribution(
        ...     mean=torch.tensor([1.0, 4.0]), inverse_dispersion=torch.tensor(2.0)
        ... )
        >>> nb.variance
        tensor([ 1.5000, 12.0000])
        >>> nb.log_prob(torch.tensor([0.0, 3.0])).exp()
        tensor([0.4444, 0.1317])
        """
        from countae.likelihoods._distribution import CountDistribution

        return CountDistribution(self, parameters, validate_args)

    def recursion(self, **parameters: Tensor) -> tuple[Tensor, ...] | None:
        """P(0), P(1), a and b with P(k) = (a + b/k) P(k−1) from k = 2 on; None where none exists.

        See :mod:`countae.kernels.recursion`; it makes cumulative probabilities cheap.
        """
        return None

    def calibrate(
        self, counts: Tensor, parameters: dict[str, Tensor], unseen: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Values for gene heads that the loss leaves open, from entries predicted while hidden.

        ``unseen``, (cell,), bool, are cells that nothing was learnt from. A likelihood learns all
        its parameters, so the default returns nothing; a squared error says nothing of its spread
        and returns it here.
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

    def noise_guess(self, counts: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Where the search for the first of ``noise_heads`` begins, (gene,)."""
        return np.zeros(counts.shape[1])

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


def no_noise(member: type[Loss]) -> type[Loss]:
    """Class decorator of a loss that is made of a noise family, but is none itself."""
    for name in ("noise_heads", "from_mean", "noise_guess", "noise_derivatives"):
        setattr(member, name, getattr(Likelihood, name))
    return member


def flattened(values: Iterable[Tensor], shape: Sequence[int]) -> list[np.ndarray]:
    """Tensors broadcast to a shape, as float64 arrays of entries."""
    return [np.ascontiguousarray(to_numpy(v.expand(tuple(shape)))).reshape(-1) for v in values]


def to_numpy(tensor: Tensor) -> np.ndarray:
    """Tensor as a float64 array, for SciPy."""
    return tensor.detach().cpu().numpy().astype(np.float64, copy=False)


def to_tensor(array: np.ndarray, like: Tensor) -> Tensor:
    """Array as a tensor of the dtype and device of ``like``."""
    return torch.as_tensor(array, dtype=like.dtype, device=like.device)

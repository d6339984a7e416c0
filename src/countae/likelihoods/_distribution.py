"""A likelihood at given parameters as a distribution of Torch's kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

if TYPE_CHECKING:
    from countae.likelihoods._base import Likelihood

REAL = ("location", "_logit")  # ends of names of parameters that may be negative
WHOLE = ("trials",)
WANTED = {
    constraints.real: "a real number",
    constraints.positive: "a finite number > 0",
    constraints.positive_integer: "a whole number > 0",
}


class CountDistribution(Distribution):
    """What a loss claims of counts, with the interface of ``torch.distributions``.

    ``log_prob``, ``cdf``, ``sample``, ``mean``, ``variance``, ``stddev``, ``expand`` and
    ``prob_zero``. Parameters are kept in ``parameters`` under the loss's own names and broadcast
    to ``batch_shape``; the mean of this distribution is that of the count, which for a
    zero-inflated loss is not its parameter ``mean``. Samples depend on ``torch.manual_seed``.

    Of a loss of a residual (MSE, L1, Huber …) ``mean`` is the location on the scale of counts and
    ``variance`` that of the density *before* it is cut into integers, as users of such losses
    report them; ``log_prob``, ``cdf``, ``prob_zero`` and ``sample`` are those of the counts, whose
    moments differ where the location is within a few spreads of zero.

    Parameters
    ----------
    likelihood : Likelihood
    parameters : dict of Tensor or number
        All of ``likelihood.parameters``, broadcastable to one another.
    validate_args : bool, optional
        Whether to check parameters and counts; Torch's own default where it is not given.

    Raises
    ------
    TypeError
        When parameters are missing or unknown.
    ValueError
        When a parameter is outside its range.
    """

    support = constraints.nonnegative_integer
    has_rsample = False
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}  # see `ranges`

    def __init__(
        self,
        likelihood: Likelihood,
        parameters: Mapping[str, Tensor | float],
        validate_args: bool | None = None,
    ) -> None:
        if set(parameters) != set(likelihood.parameters):
            raise TypeError(
                f"{likelihood.name} needs the parameters {', '.join(likelihood.parameters)}, but "
                f"was given {', '.join(parameters) or 'none'}"
            )
        self.likelihood = likelihood
        wide = torch.broadcast_tensors(*_real(parameters.values()))
        self.parameters = dict(zip(parameters, wide, strict=True))
        super().__init__(wide[0].shape, validate_args=validate_args)
        if self._validate_args:
            for name, constraint in self.ranges(likelihood).items():
                held = self.parameters[name].detach()
                good = constraint.check(held) & held.isfinite()
                if not bool(good.all()):
                    raise ValueError(
                        f"{likelihood.name}: `{name}` must be {WANTED[constraint]}, but holds "
                        f"{float(held[~good].reshape(-1)[0]):g}"
                    )

    @staticmethod
    def ranges(likelihood: Likelihood) -> dict[str, constraints.Constraint]:
        """Range of each parameter: real for locations and logits, whole for trials, else > 0."""
        return {
            name: constraints.real
            if name.endswith(REAL)
            else constraints.positive_integer
            if name in WHOLE
            else constraints.positive
            for name in likelihood.parameters
        }

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of raw counts, in nats."""
        counts = self._counts(value)
        return self.likelihood.log_pmf(counts, **self._expanded(counts))

    def cdf(self, value: Tensor) -> Tensor:
        """P(X ≤ count)."""
        counts = self._counts(value)
        return self.likelihood.cdf(counts, **self._expanded(counts))

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Raw counts, (sample, batch), drawn by NumPy with a seed from Torch."""
        seed = int(torch.randint(2**62, ()).item())
        shape = self._extended_shape(torch.Size(sample_shape))
        wide = {name: value.expand(shape) for name, value in self.parameters.items()}
        with torch.no_grad():
            return self.likelihood.sample(np.random.default_rng(seed), **wide)

    def expand(
        self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: object = None
    ) -> CountDistribution:
        """The same distribution with its parameters expanded."""
        wide = {name: value.expand(batch_shape) for name, value in self.parameters.items()}
        return CountDistribution(self.likelihood, wide, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Expected raw count."""
        return self.likelihood.mean(**self.parameters).expand(self.batch_shape)

    @property
    def variance(self) -> Tensor:
        """Variance of the raw count."""
        return self.likelihood.variance(**self.parameters).expand(self.batch_shape)

    @property
    def prob_zero(self) -> Tensor:
        """P(count = 0)."""
        return self.likelihood.prob_zero(**self.parameters).expand(self.batch_shape)

    def __repr__(self) -> str:
        names = ", ".join(self.parameters)
        return f"{type(self.likelihood).__name__}({names}; batch_shape={tuple(self.batch_shape)})"

    def _counts(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape, self.batch_shape)
        return value.to(next(iter(self.parameters.values())).dtype).expand(shape)

    def _expanded(self, counts: Tensor) -> dict[str, Tensor]:
        return {name: value.expand(counts.shape) for name, value in self.parameters.items()}


def _real(values: Iterable[Tensor | float]) -> list[Tensor]:
    """Numbers and tensors as tensors of one floating-point type, whole numbers too."""
    tensors = [torch.as_tensor(value) for value in values]
    kinds = [value.dtype for value in tensors if value.is_floating_point()]
    kind = reduce(torch.promote_types, kinds) if kinds else torch.get_default_dtype()
    return [value.to(kind) for value in tensors]

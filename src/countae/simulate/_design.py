"""What a simulator starts from: expected counts, and the noise a fit may have found for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from countae.errors import CountMatrixError


@dataclass(frozen=True)
class Design:
    """Expected counts of cells before any noise, invented or fitted to a user's matrix.

    Attributes
    ----------
    mean : ndarray, (cell, gene), float, > 0
        Expected raw counts, the size factor included.
    label : ndarray, (cell,), str, optional
        Cell types.
    batch : ndarray, (cell,), str, optional
        Batches.
    inverse_dispersion : ndarray, (gene,), float, > 0, optional
        Inverse dispersion θ found by a fit; without it a family draws its own.
    zero_probability : ndarray, (gene,), float in [0, 1), optional
        Probability π of an extra zero found by a fit; without it a family draws its own.

    Raises
    ------
    CountMatrixError
        When one of the numbers is outside its range.
    """

    mean: np.ndarray
    label: np.ndarray | None = None
    batch: np.ndarray | None = None
    inverse_dispersion: np.ndarray | None = None
    zero_probability: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check("mean", self.mean, self.mean > 0, "finite and above zero")
        if (theta := self.inverse_dispersion) is not None:
            _check("inverse_dispersion", theta, theta > 0, "finite and above zero")
        if (zero := self.zero_probability) is not None:
            _check("zero_probability", zero, (zero >= 0) & (zero < 1), "in [0, 1)")

    def inverse_dispersions(self, rng: np.random.Generator) -> np.ndarray:
        """θ per gene: the fit's, or log-normal around 2 (log standard deviation 0.7)."""
        if self.inverse_dispersion is not None:
            return self.inverse_dispersion
        return rng.lognormal(np.log(2.0), 0.7, self.mean.shape[1:])

    def zero_probabilities(self, rng: np.random.Generator) -> np.ndarray:
        """π per gene: the fit's, or Beta(2, 3), 0.4 on average."""
        if self.zero_probability is not None:
            return self.zero_probability
        return rng.beta(2, 3, self.mean.shape[1:])


def random_design(
    *,
    cells: int,
    genes: int,
    types: int,
    depth: float,
    rng: np.random.Generator,
    batches: int = 1,
) -> Design:
    r"""Means :math:`μ_{ij} = l_i \exp(b_j + t_{kj} + u_i \cdot v_j + a_{bj})` of invented cells.

    Gene levels b are normal with standard deviation 1.2 (log scale), so that genes span three
    orders of magnitude; a quarter of the genes differ in each type by a normal of 1.0; two
    continuous factors add 0.3 each; batches, where there are several, shift every gene by a normal
    of 0.3; library sizes are log-normal (0.35) around ``depth``.

    Parameters
    ----------
    cells, genes, types : int
    depth : float
        Mean library size in counts.
    rng : numpy.random.Generator
    batches : int

    Returns
    -------
    Design
        With labels, and with batches where there are several.
    """
    label = rng.integers(types, size=cells)
    marker = rng.random((types, genes)) < 0.25
    log_mean = rng.normal(0, 1.2, genes) + (rng.normal(0, 1.0, (types, genes)) * marker)[label]
    log_mean += rng.normal(0, 0.3, (cells, 2)) @ rng.normal(0, 1.0, (2, genes))
    batch = rng.integers(batches, size=cells) if batches > 1 else None
    if batch is not None:
        log_mean += rng.normal(0, 0.3, (batches, genes))[batch]
    library = depth * rng.lognormal(-0.5 * 0.35**2, 0.35, cells)
    level = np.exp(log_mean)
    # one constant for all cells: a cell's library is what its genes make it, up to its depth
    mean = library[:, None] * level / level.sum(axis=1).mean()
    return Design(mean, label=numbered("type", label), batch=numbered("batch", batch))


def numbered(word: str, index: np.ndarray | None) -> np.ndarray | None:
    """Names such as ``type 1`` from numbers that start at zero."""
    if index is None:
        return None
    return np.array([f"{word} {k + 1}" for k in range(index.max() + 1)])[index]


def _check(name: str, value: np.ndarray, allowed: np.ndarray, rule: str) -> None:
    """Raise CountMatrixError for the first value of a design that breaks its rule."""
    wrong = ~(np.isfinite(value) & allowed)
    if wrong.any():
        place = tuple(map(int, np.argwhere(wrong)[0]))
        raise CountMatrixError(
            f"design: {name} must be {rule}, but {wrong.sum():,} of {wrong.size:,} values are "
            f"not; first: {value[place]:.4g} at index {place}. Fix: leave out genes without "
            "counts before the fit, and check that the fit ended."
        )

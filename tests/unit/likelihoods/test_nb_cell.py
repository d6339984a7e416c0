"""NB with a dispersion per gene and cell against SciPy, and its limit, NB per gene."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from countae import likelihoods

MEAN, THETA = np.array([[0.3, 2.0], [9.0, 150.0]]), np.array([[0.2, 40.0], [3.0, 1e4]])


@pytest.fixture
def nb_cell():
    return likelihoods.get("nb_cell")()


@pytest.fixture
def made(nb_cell, t64):
    raw = {"log_mean": t64(np.log(MEAN)), "log_inverse_dispersion": t64(np.log(THETA))}
    return nb_cell.constrain(raw, t64([[1.0], [2.0]]))


def test_every_entry_has_its_own_spread(nb_cell, t64, made):
    """Oracle: scipy.stats.nbinom with θ of the entry; depth multiplies the mean only."""
    mean = MEAN * [[1.0], [2.0]]
    nb, counts = stats.nbinom(THETA, THETA / (THETA + mean)), np.array([[0, 3], [7, 280]])
    np.testing.assert_allclose(nb_cell.log_pmf(t64(counts), **made), nb.logpmf(counts), rtol=1e-8)
    np.testing.assert_allclose(nb_cell.cdf(t64(counts), **made), nb.cdf(counts), rtol=1e-8)
    np.testing.assert_allclose(nb_cell.variance(**made), nb.var(), rtol=1e-9)


def test_one_dispersion_for_all_cells_is_nb(nb_cell, t64):
    """Limit: the same θ in each cell gives the numbers of ``nb``."""
    nb, size, counts = likelihoods.get("nb")(), t64([[0.5], [3.0]]), t64([[0, 3], [7, 280]])
    raw = {"log_mean": t64(np.log(MEAN)), "log_inverse_dispersion": t64([0.4, 2.0])}
    wide = raw | {"log_inverse_dispersion": raw["log_inverse_dispersion"].expand(2, 2)}
    one, other = nb.constrain(raw, size), nb_cell.constrain(wide, size)
    assert (nb_cell.loss(counts, **other) == nb.loss(counts, **one)).all()


def test_no_column_of_noise_is_made_of_it(nb_cell):
    """Its θ is the network's, not a gene's."""
    assert nb_cell.noise_heads is None
    assert nb_cell.start_noise == "nb"

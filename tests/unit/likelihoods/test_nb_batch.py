"""NB with a dispersion per gene and batch against SciPy; how batches reach it: test_model.py."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from countae import likelihoods


@pytest.fixture
def nb_batch():
    return likelihoods.get("nb_batch")()


def test_each_batch_has_its_own_spread(nb_batch, t64):
    """Oracle: scipy.stats.nbinom with θ of the cell's batch; a head has a row for each cell."""
    theta = np.array([[0.3, 5.0], [20.0, 1.0]])[[1, 0, 1]]
    raw = {"log_mean": t64(np.full((3, 2), 0.7)), "log_inverse_dispersion": t64(np.log(theta))}
    made = nb_batch.constrain(raw, t64([[1.0], [2.0], [0.5]]))
    mean, counts = (
        np.exp(0.7) * np.array([[1.0], [2.0], [0.5]]),
        np.array([[0, 1], [4, 2], [1, 0]]),
    )
    expected = stats.nbinom(theta, theta / (theta + mean)).logpmf(counts)
    np.testing.assert_allclose(nb_batch.log_pmf(t64(counts), **made), expected, rtol=1e-9)


def test_one_batch_is_nb(nb_batch, t64):
    """Limit: without batches the numbers are those of ``nb``."""
    nb, counts, size = likelihoods.get("nb")(), t64([[0, 3], [7, 280]]), t64([[0.5], [3.0]])
    raw = {"log_mean": t64([[0.1, 2.0], [1.0, 4.0]]), "log_inverse_dispersion": t64([0.4, 2.0])}
    wide = raw | {"log_inverse_dispersion": raw["log_inverse_dispersion"].expand(2, 2)}
    one, other = nb.constrain(raw, size), nb_batch.constrain(wide, size)
    assert (nb_batch.loss(counts, **other) == nb.loss(counts, **one)).all()

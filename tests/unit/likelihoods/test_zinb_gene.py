"""ZINB with a zero probability per gene against a mixture in SciPy, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from countae import likelihoods


@pytest.fixture
def zinb_gene():
    return likelihoods.get("zinb_gene")()


@pytest.fixture
def raw(t64):
    return {
        "log_mean": t64([[0.1, 2.0], [1.0, 4.0]]),
        "log_inverse_dispersion": t64([0.4, 2.0]),
        "zero_logit": t64([-1.0, 0.5]),
    }


def test_zeros_fall_on_all_cells_alike(zinb_gene, t64, raw):
    """Oracle: π + (1 − π) scipy.stats.nbinom, π = 1/(1 + e^−logit) of the gene at any depth."""
    size, counts = np.array([[0.5], [3.0]]), np.array([[0, 3], [7, 0]])
    mean, theta = size * np.exp(raw["log_mean"].numpy()), np.exp([0.4, 2.0])
    pi = 1 / (1 + np.exp([1.0, -0.5]))
    nb = (1 - pi) * stats.nbinom(theta, theta / (theta + mean)).pmf(counts)
    made = zinb_gene.constrain(raw, t64(size))
    actual = zinb_gene.log_pmf(t64(counts), **made)
    np.testing.assert_allclose(actual, np.log(nb + pi * (counts == 0)), rtol=1e-9)
    assert made["zero_logit"].shape == (2,)


def test_it_is_zinb_with_equal_logits(zinb_gene, t64, raw):
    """Limit: ``zinb`` whose network says the same of all cells."""
    zinb, size, counts = likelihoods.get("zinb")(), t64([[0.5], [3.0]]), t64([[0, 3], [7, 0]])
    wide = raw | {"zero_logit": raw["zero_logit"].expand(2, 2)}
    one, other = zinb.constrain(wide, size), zinb_gene.constrain(raw, size)
    assert (zinb.loss(counts, **one) == zinb_gene.loss(counts, **other)).all()


def test_without_extra_zeros_it_is_nb(zinb_gene, t64, raw):
    """Limit π → 0: ``nb``."""
    nb, size, counts = likelihoods.get("nb")(), t64([[0.5], [3.0]]), t64([[0, 3], [7, 0]])
    none = raw | {"zero_logit": t64([-700.0, -700.0])}
    expected = nb.loss(counts, **nb.constrain(raw, size))
    actual = zinb_gene.loss(counts, **zinb_gene.constrain(none, size))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)

"""Expected share of zeros."""

from __future__ import annotations

import numpy as np

from countae import metrics


def test_is_the_mean_over_cells():
    """Oracle: by hand."""
    prob_zero = np.array([[0.2, 0.0], [0.4, 1.0], [0.9, 0.5]])
    value = metrics.get("expected_zero_fraction")(prob_zero=prob_zero)
    np.testing.assert_allclose(value, [0.5, 0.5])

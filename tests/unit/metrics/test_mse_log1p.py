"""Mean squared error on log1p counts per ten thousand."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import mean_squared_error

from countae import metrics

mse_log1p = metrics.get("mse_log1p")


def test_agrees_with_scikit_learn():
    """Oracle: sklearn's mean_squared_error of log(1 + 10⁴ x / library), gene by gene."""
    rng = np.random.default_rng(6)
    observed, mean = rng.poisson(1.0, (40, 3)).astype(float), rng.gamma(1.0, 1.0, (40, 3))
    library = rng.uniform(500, 5_000, 40)
    given = [np.log(1 + 1e4 * (matrix.T / library).T) for matrix in (observed, mean)]
    expected = mean_squared_error(*given, multioutput="raw_values")
    value = mse_log1p(observed=observed, mean=mean, library_size=library)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_by_hand():
    """Oracle: (log 3 − log 2)² by hand: two against one count per ten thousand."""
    value = mse_log1p(
        observed=np.array([[2.0]]), mean=np.array([[1.0]]), library_size=np.array([1e4])
    )
    np.testing.assert_allclose(value, [np.log(1.5) ** 2])

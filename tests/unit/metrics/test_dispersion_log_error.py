"""Error of the inverse dispersion against the truth."""

from __future__ import annotations

import numpy as np

from countae import metrics


def test_by_hand():
    """Oracle: log(fitted/true), by hand; NaN where it cannot be identified."""
    value = metrics.get("dispersion_log_error")(
        inverse_dispersion=np.array([2.0, 1.0, 7.0]),
        true_inverse_dispersion=np.array([1.0, 4.0, 1.0]),
        identifiable=np.array([True, True, False]),
    )
    np.testing.assert_allclose(value, [np.log(2), -np.log(4), np.nan], rtol=1e-12)

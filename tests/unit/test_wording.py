"""Names as people write them."""

from __future__ import annotations

import pytest

from countae.wording import short


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nb", "NB"), ("zip", "ZIP"), ("l1", "L1"), ("poisson", "Poisson"), ("huber", "Huber"),
        ("mse_log1p", "MSE log1p"), ("mse_counts", "MSE counts"), ("hurdle_nb", "Hurdle NB"),
        ("weighted_mse", "Weighted MSE"),
    ],
)  # fmt: skip
def test_short_names_keep_their_acronyms(name, expected):
    """Acronyms stand in capitals wherever they stand."""
    assert short(name) == expected

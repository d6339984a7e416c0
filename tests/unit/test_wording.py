"""Names as people write them."""

from __future__ import annotations

import pytest

from countae.wording import fixed, short


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


@pytest.mark.parametrize(
    ("value", "sign", "expected"),
    [
        (0.12345, False, "0.1235"), (-0.00026, False, "−0.0003"), (0.02, True, "+0.0200"),
        (-0.00001, False, "−0.00001"), (0.0000034, True, "+0.000003"), (0.00003, True, "+0.00003"),
        (-1e-9, False, "0.0000"), (-1e-9, True, "0.0000"), (1e-9, True, "0.0000"),
    ],
)  # fmt: skip
def test_numbers_have_a_minus_and_zero_has_no_sign(value, sign, expected):
    assert fixed(value, sign=sign) == expected

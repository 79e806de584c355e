"""How numbers are written in tables and sentences."""

import numpy as np
import pytest

from analysis.report import format


def test_nan_and_none_are_written_as_not_defined():
    assert format.number(float("nan")) == format.number(None) == format.number(np.inf) == "not defined"
    assert format.number(0.12345, 3) == "0.123"
    assert format.number(679.0) == "679"


def test_shares_are_written_in_per_cent_and_small_numbers_as_powers_of_ten():
    assert [format.percent(v) for v in (0.05, 1, -0.3, -0.001)] == ["5 %", "100 %", "−30 %", "0 %"]
    assert format.percent(0.0234, 1) == "2.3 %"
    assert [format.scientific(v) for v in (0.0088, 1.24e-5, -2e-6, 0)] == [
        "0.0088",
        "1.2×10⁻⁵",
        "−2×10⁻⁶",
        "0.0000",
    ]
    assert format.scientific(float("nan")) == "not defined"


def test_numbers_have_a_true_minus_sign_and_infinity_a_symbol():
    assert format.number(-0.123) == "−0.12"
    assert format.number(-0.001) == "0.00"
    assert format.number(-np.inf) == "−∞"


@pytest.mark.parametrize(
    ("number", "coverage"),
    [(1, "no interval for"), (2, "50 % interval over"), (4, "88 % interval over"), (8, "95 % interval over")],
)
def test_an_interval_is_labelled_with_its_coverage(number, coverage):
    assert format.interval_label(number).startswith(coverage)

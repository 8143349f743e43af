"""Figures read as a person writes them."""

import math

import pytest

from greenbatch import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01234, "12.3 mJ"),
        (1234.0, "1.23 kJ"),
        (999.6, "1 kJ"),
        (0.0, "0 J"),
        (None, "–"),
        (math.nan, "–"),
        (-0.5, "-500 mJ"),
    ],
)
def test_si_uses_the_prefix_that_fits(value: float | None, text: str) -> None:
    assert units.si(value, "J") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1956, "200 mJ"), (234.0, "230 J"), (996.0, "1 kJ"), (0.0631, "63 mJ"), (-0.234, "-230 mJ")],
)
def test_si_writes_few_digits_without_an_exponent(value: float, text: str) -> None:
    assert units.si(value, "J", 2) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_use_two_units_at_most(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text

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


@pytest.mark.parametrize(
    ("number", "text", "subject"),
    [
        (0, "0 batches", "0 batches are"),
        (1, "1 batch", "1 batch is"),
        (2, "2 batches", "2 batches are"),
        (1200, "1,200 batches", "1,200 batches are"),
    ],
)
def test_a_number_of_things_agrees_with_its_noun(number: int, text: str, subject: str) -> None:
    assert units.count(number, "batch", "batches") == text
    assert units.are(number, "batch", "batches") == subject
    assert units.count(number, "image").endswith("image" if number == 1 else "images")


@pytest.mark.parametrize(
    ("number", "total", "verb", "text"),
    [
        (0, 3, "are", "0 of 3 cells are"),
        (1, 3, "are", "1 of 3 cells is"),
        (1, 1, "were", "1 of 1 cell was"),
        (1, 1200, "have", "1 of 1,200 cells has"),
        (1100, 1200, "have", "1,100 of 1,200 cells have"),
    ],
)
def test_a_verb_follows_the_number_of_the_part(
    number: int, total: int, verb: str, text: str
) -> None:
    assert units.part(number, total, "cell", verb) == text

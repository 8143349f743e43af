"""What becomes of a counter's values: wraps, steps back, resets, and time in which nobody read."""

import pytest

from greenbatch.runners.metering import Reading
from greenbatch.runners.metering.sampling.unwrapping import Series

pytestmark = [pytest.mark.alone, pytest.mark.numeric]

EVERY_S = 0.01


def _collect(values_j: list[float], range_j: float | None = None) -> Series:
    series = Series(range_j)
    for index, value_j in enumerate(values_j):
        at_s = index * EVERY_S
        series.append(at_s, at_s + 1e-4, Reading(energy_j=value_j))
    return series


@pytest.mark.parametrize("first", [0, 1, 37, 96, 97, 98, 99])
def test_a_wrap_at_any_phase_adds_what_is_left_of_the_range(first: int) -> None:
    truth_j = [first + 3.0 * n for n in range(200)]
    history = _collect([value_j % 100.0 for value_j in truth_j], range_j=100.0).history()
    assert history.energy_j - history.energy_j[0] == pytest.approx([t - first for t in truth_j])
    assert history.faults == ()


def test_a_step_back_of_a_few_ticks_is_waited_out_and_stays_in_doubt() -> None:
    history = _collect([10.0, 11.0, 12.0, 10.5, 11.5, 12.5, 13.5]).history()
    assert history.energy_j.tolist() == [10.0, 11.0, 12.0, 12.0, 12.0, 12.5, 13.5]
    assert history.back_j.tolist() == [1.5]
    assert history.back_s == pytest.approx([3 * EVERY_S + 1e-4])
    assert history.faults == ()


@pytest.mark.parametrize("range_j", [None, 1000.0])
def test_a_reset_is_broken_and_the_scale_goes_on(range_j: float | None) -> None:
    history = _collect([400.0, 401.0, 402.0, 0.5, 1.5], range_j).history()
    (fault,) = history.faults
    assert fault.broken
    assert "fell from 402.000 J to 0.500 J, which is no wrap" in fault.reason
    assert (fault.from_s, fault.to_s) == pytest.approx((2 * EVERY_S, 3 * EVERY_S + 1e-4))
    assert history.energy_j.tolist() == [400.0, 401.0, 402.0, 402.0, 403.0]


def test_a_fall_without_a_known_range_is_never_guessed_to_be_a_wrap() -> None:
    assert _collect([90.0, 95.0, 4.0], range_j=None).history().faults[0].broken
    assert _collect([90.0, 95.0, 4.0], range_j=100.0).history().faults == ()


def test_too_long_without_a_read_a_wrap_may_have_been_missed() -> None:
    series = _collect([10.0, 11.0, 12.0], range_j=100.0)  # 100 W
    series.append(0.2, 0.2001, Reading(energy_j=30.0))
    assert series.history().faults == ()
    series.append(0.7, 0.7001, Reading(energy_j=80.0))
    (fault,) = series.history().faults
    assert fault.broken
    assert "may have wrapped unseen" in fault.reason


def test_a_reading_without_a_value_begins_a_fault_that_the_next_good_one_ends() -> None:
    series = _collect([10.0, 11.0])
    series.append(0.02, 0.0201, Reading(reason="the sensor is asleep"))
    series.append(0.03, 0.0301, Reading(reason="it is still asleep"))
    series.append(0.04, 0.0401, Reading(energy_j=14.0))
    (fault,) = series.history().faults
    assert (fault.from_s, fault.to_s) == pytest.approx((0.01, 0.0401))
    assert fault.reason == "the sensor is asleep"
    assert not fault.broken

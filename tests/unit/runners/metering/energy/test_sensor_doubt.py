"""What a sensor may have missed: steps at a window's ends, and loads that alternate in step."""

import numpy as np
import pytest

from greenbatch.runners.metering.energy.sensor_doubt import counter_doubt_j, sensor_doubt_j
from greenbatch.runners.metering.sensors import Sensor

WHOLE = Sensor(period_s=0.1, window_s=0.1)
PART_TIME = Sensor(period_s=0.1, window_s=0.025)
T_S = np.arange(0.0, 12.0, 0.02)


def _step(at_s: float) -> np.ndarray:
    return np.where(at_s <= T_S, 300.0, 100.0)


def _wandering(period_s: float) -> np.ndarray:
    return 200.0 + 60.0 * np.sin(2 * np.pi * T_S / period_s)


@pytest.mark.parametrize("sensor", [WHOLE, PART_TIME])
def test_a_steady_load_leaves_nothing_in_doubt(sensor: Sensor) -> None:
    steady_w = np.full_like(T_S, 250.0)
    assert sensor_doubt_j(sensor, T_S, steady_w, 4.0, 6.0) == 0.0
    assert counter_doubt_j(sensor, T_S, steady_w, 4.0, 6.0) == 0.0


@pytest.mark.parametrize("sensor", [WHOLE, PART_TIME])
def test_a_step_counts_where_it_is_near_an_end_or_between_the_ends(sensor: Sensor) -> None:
    at_the_end = sensor_doubt_j(sensor, T_S, _step(6.02), 4.0, 6.0)
    inside = sensor_doubt_j(sensor, T_S, _step(5.0), 4.0, 6.0)
    far = sensor_doubt_j(sensor, T_S, _step(8.0), 4.0, 6.0)
    assert at_the_end >= sensor.blur_s * 200.0
    assert sensor.blur_s * 200.0 <= inside <= 3 * sensor.blur_s * 200.0
    assert far < 0.1 * inside


def test_a_counter_that_is_a_period_late_moves_by_that_times_the_difference_of_its_ends() -> None:
    assert counter_doubt_j(WHOLE, T_S, _step(5.0), 4.0, 6.0) == pytest.approx(0.1 * 200.0)


def test_readings_that_wander_are_doubted_by_a_sensor_that_looks_part_of_the_time_alone() -> None:
    wandering_w = _wandering(3.4)
    whole_j = sensor_doubt_j(WHOLE, T_S, wandering_w, 4.0, 5.0)
    assert sensor_doubt_j(PART_TIME, T_S, wandering_w, 4.0, 5.0) > 3 * whole_j
    high = 200.0 + 60.0  # the window lies at the top of the wandering: its mean is 200 W
    top_s = 3.4 * 1.25
    seen_j = np.interp([top_s - 0.25, top_s + 0.25], T_S, np.cumsum(wandering_w) * 0.02)
    error_j = float(np.diff(seen_j)[0]) - 200.0 * 0.5
    assert 0.9 * (high - 200.0) * 0.5 < error_j
    assert sensor_doubt_j(PART_TIME, T_S, wandering_w, top_s - 0.25, top_s + 0.25) > error_j


def test_a_longer_window_holds_more_of_the_wandering_and_is_doubted_less() -> None:
    wandering_w = _wandering(1.0)
    short_w = sensor_doubt_j(PART_TIME, T_S, wandering_w, 5.0, 5.5) / 0.5
    long_w = sensor_doubt_j(PART_TIME, T_S, wandering_w, 4.0, 8.0) / 4.0
    assert long_w < short_w / 2


def test_a_steady_stretch_after_a_load_that_decays_is_not_taken_for_wandering() -> None:
    """Idle power after a load, on a sensor that looks part of the time."""
    decaying_w = 100.0 + 200.0 * np.exp(-np.maximum(T_S - 2.0, 0.0) / 1.0)
    assert sensor_doubt_j(PART_TIME, T_S, decaying_w, 6.0, 8.0) < 0.04 * 100.0 * 2.0
    assert sensor_doubt_j(PART_TIME, T_S, decaying_w, 7.5, 8.0) < 0.04 * 100.0 * 0.5

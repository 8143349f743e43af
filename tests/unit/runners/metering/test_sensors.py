"""The sensor behind NVML's power: by architecture and reading, and as a card was seen to be."""

import pytest

from greenbatch.runners.metering.sensors import Sensor, of_nvidia

PASCAL, VOLTA, TURING, AMPERE, ADA, HOPPER, BLACKWELL = 4, 5, 6, 7, 8, 9, 10


@pytest.mark.parametrize(
    ("architecture", "ga100", "instant", "period_s", "window_s"),
    [
        (PASCAL, False, False, 0.02, 0.01),
        (VOLTA, False, True, 0.02, 0.01),
        (TURING, False, False, 0.1, 0.1),
        (AMPERE, True, False, 0.1, 0.025),  # GA100 does not average, whatever is read
        (AMPERE, True, True, 0.1, 0.025),
        (AMPERE, False, False, 0.1, 1.0),
        (AMPERE, False, True, 0.1, 0.1),
        (ADA, False, True, 0.1, 0.1),
        (HOPPER, False, False, 0.1, 1.0),
        (HOPPER, False, True, 0.1, 0.025),
        (BLACKWELL, False, True, 0.1, 0.025),
        (None, False, True, 0.1, 0.025),
        (None, False, False, 0.1, 1.0),
    ],
)
def test_a_sensor_is_that_of_the_architecture_and_of_the_reading(
    architecture: int | None, ga100: bool, instant: bool, period_s: float, window_s: float
) -> None:
    sensor = of_nvidia(architecture, ga100=ga100, instant=instant)
    assert (sensor.period_s, sensor.window_s) == (period_s, window_s)


def test_a_reading_is_as_old_as_the_middle_of_its_window_and_half_a_period() -> None:
    sensor = Sensor(period_s=0.1, window_s=0.025)
    assert sensor.age_s == pytest.approx(0.0625)
    assert sensor.unseen == pytest.approx(0.75)
    assert Sensor(period_s=0.1, window_s=1.0).unseen == 0.0


def test_a_card_that_is_seen_to_refresh_much_faster_has_another_sensor() -> None:
    part_time = Sensor(period_s=0.1, window_s=0.025)
    fast = part_time.refreshed(0.02)
    assert (fast.period_s, fast.window_s, fast.unseen) == (0.02, 0.02, 0.0)
    assert part_time.refreshed(0.09) == part_time
    assert part_time.refreshed(1.0) == part_time  # its power did not change: nothing was seen
    averaged = Sensor(period_s=0.1, window_s=1.0)
    assert averaged.refreshed(0.02) == averaged

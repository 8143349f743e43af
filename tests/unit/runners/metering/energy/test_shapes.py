"""Power lies the energy of a counter's tick out only where it is much fresher than the tick."""

from dataclasses import replace

import numpy as np
import pytest

from greenbatch.records import EnergySource
from greenbatch.runners.metering import Domain, Reading
from greenbatch.runners.metering.energy.figures import energy_figure, shapes_ticks
from greenbatch.runners.metering.sampling.unwrapping import Series
from greenbatch.runners.metering.sensors import Sensor

TICK_S = 0.1
GPU = Domain(name="gpu-0", source=EnergySource.COUNTER, tick_s=TICK_S)


@pytest.mark.parametrize(
    ("refresh_s", "sensor", "shapes"),
    [
        (None, None, False),  # never seen to change: nothing is known of it
        (0.1, None, False),
        (0.04, None, False),
        (0.03, None, True),
        (0.03, Sensor(period_s=0.03, window_s=0.03), True),
        (0.03, Sensor(period_s=0.1, window_s=1.0), False),
    ],
)
def test_power_shapes_a_tick_if_it_was_seen_to_change_three_times_in_it(
    refresh_s: float | None, sensor: Sensor | None, shapes: bool
) -> None:
    assert shapes_ticks(replace(GPU, refresh_s=refresh_s, sensor=sensor)) is shapes


def _measured_j(refresh_s: float, step_s: float, end_s: float) -> tuple[float, float]:
    """Measure 300 W up to a step and 100 W from then on, from 1 s to ``end_s``.

    Power is held between refreshes, 30 ms after whole ones.

    Returns:
        The energy by counter and power, and the truth.
    """
    series = Series(None, TICK_S)

    def energy_j(t_s: float) -> float:
        return 300.0 * min(t_s, step_s) + 100.0 * max(t_s - step_s, 0.0)

    for t_s in np.arange(0.0, 3.0, 0.001):
        ticked_s = (t_s + 1e-9) // TICK_S * TICK_S
        shown_s = (t_s - 0.03 + 1e-9) // refresh_s * refresh_s + 0.03
        power_w = 300.0 if shown_s < step_s else 100.0
        series.append(t_s, t_s, Reading(energy_j=energy_j(ticked_s), power_w=power_w))
    domain = replace(GPU, lag_s=refresh_s, refresh_s=refresh_s)
    figure = energy_figure(domain, series.history(), 1.0, end_s, 0.001)
    assert figure.energy_j is not None
    return figure.energy_j, energy_j(end_s) - energy_j(1.0)


def test_fresh_power_shows_a_step_inside_a_tick() -> None:
    measured_j, truth_j = _measured_j(0.01, step_s=1.55, end_s=1.55)
    assert measured_j == pytest.approx(truth_j, rel=0.01)


def test_stale_power_does_not_put_a_step_into_the_next_tick() -> None:
    """The load falls at 1.37 s; power that is held for 100 ms shows it at 1.43 s."""
    measured_j, truth_j = _measured_j(0.1, step_s=1.37, end_s=1.45)
    assert measured_j == pytest.approx(truth_j, rel=0.005)

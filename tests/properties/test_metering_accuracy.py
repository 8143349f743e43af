"""Energy against the exact integral: simulated counters, read as the recorder reads them.

Time is simulated, so that thousands of windows are measured: reads are planned by the recorder's
own `Schedule`, go through its `Series` and are answered by `energy_figure`.

Half a percent holds for twenty ticks where the window's end is announced. Where it comes as a
surprise, the last reads before it are far apart: then it holds from 2 s on. A counter that ticks
every 100 ms and has no power beside it cannot see a load that beats within a tick: its band says
so.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from greenbatch.records import EnergyFigure, EnergySource
from greenbatch.runners.metering import Domain, Reading
from greenbatch.runners.metering.energy.figures import energy_figure
from greenbatch.runners.metering.sampling.read_schedule import Schedule
from greenbatch.runners.metering.sampling.sampler import focus_s
from greenbatch.runners.metering.sampling.unwrapping import Series
from greenbatch.runners.metering.sensors import Sensor, of_nvidia
from tests.fakes.piecewise import PiecewisePower
from tests.thorough import examples

LEAD_S = 1.0
INTERVAL_S = 0.2
POWER_INTERVAL_S = 0.0191
FOCUS_INTERVAL_S = 0.001


@dataclass(frozen=True)
class Hardware:
    """A counter and the machine that reads it.

    Attributes:
        tick_s: Period of the counter, in s.
        step_j: Resolution of the counter, in J.
        power: Whether the device states its power, too.
        sensor: How it measures that; ``None``: at once.
        counter: Whether it has a counter.
        lag_s: How late the counter is.
        gain: What counter and power are of the truth.
        range_j: Where the counter wraps; ``None``: never.
        jitter: Each tick comes early or late by up to this share of the period.
        seed: Of jitter, of the reads' lengths and delays, and of the counter's first value.
    """

    tick_s: float
    step_j: float
    power: bool
    sensor: Sensor | None = None
    counter: bool = True
    lag_s: float = 0.0
    gain: float = 1.0
    range_j: float | None = None
    jitter: float = 0.0
    seed: int = 0


def measure(
    curve: PiecewisePower,
    hardware: Hardware,
    t0_s: float,
    t1_s: float,
    *,
    announced: bool = True,
    lead_s: float = LEAD_S,
) -> EnergyFigure:
    """Read the counter through a window and a while on either side; return the figure.

    The window's end is announced where a study measures, and comes as a surprise to `Meter`.
    """
    rng = np.random.default_rng(hardware.seed)
    age_s = hardware.sensor.age_s if hardware.sensor else 0.0
    end_s = t1_s + focus_s(hardware.tick_s) + age_s + 0.3
    count = int(end_s / hardware.tick_s) + 2
    shake = rng.uniform(-hardware.jitter, hardware.jitter, count)
    ticks_s = (np.arange(count) + rng.uniform() + shake) * hardware.tick_s
    origin_j = rng.uniform(0.0, hardware.range_j or 1e6)
    interval_s = INTERVAL_S if hardware.counter else POWER_INTERVAL_S
    schedule = Schedule(interval_s, FOCUS_INTERVAL_S)
    for instant_s in (t0_s, t1_s):
        around_s = focus_s(hardware.tick_s)
        before_s = around_s if announced or instant_s == t0_s else 0.0
        schedule.focus(instant_s - before_s, instant_s + around_s)
    series = Series(hardware.range_j)
    due_s = now_s = t0_s - lead_s
    most = int((end_s - now_s) / FOCUS_INTERVAL_S)
    overslept_s = rng.uniform(5e-5, 3e-4, most)
    late = rng.uniform(size=most) < 0.01  # the machine was busy
    overslept_s += late * rng.uniform(0.0, 0.003, most)
    length_s, part = rng.uniform(1e-5, 2e-4, most), rng.uniform(size=most)
    for read in range(most):
        before_s = max(now_s, due_s) + overslept_s[read]
        after_s = before_s + length_s[read]
        seen_s = before_s + part[read] * length_s[read]
        ticked = int(np.searchsorted(ticks_s, seen_s, side="right")) - 1
        counted_s = max(ticks_s[ticked] - hardware.lag_s, 0.0) if ticked >= 0 else 0.0
        energy_j = origin_j + curve.energy_j(0.0, counted_s) * hardware.gain
        energy_j = energy_j // hardware.step_j * hardware.step_j
        reading = Reading(
            energy_j=_wrapped(energy_j, hardware) if hardware.counter else None,
            power_w=_shown_w(curve, hardware, seen_s) if hardware.power else None,
        )
        series.append(before_s, after_s, reading)
        now_s = after_s
        due_s = schedule.next_s(due_s, now_s)
        if now_s >= end_s:
            break
    sensor = hardware.sensor
    domain = Domain(
        name="simulated-0",
        source=EnergySource.COUNTER if hardware.counter else EnergySource.INTEGRATED,
        tick_s=hardware.tick_s,
        sensor=sensor,
        refresh_s=sensor.period_s if sensor else FOCUS_INTERVAL_S,
        band_relative=sensor.gain if sensor else 0.0,
        band_power_w=sensor.offset_w if sensor else 0.0,
    )
    return energy_figure(domain, series.history(), t0_s, t1_s, interval_s)


def _wrapped(energy_j: float, hardware: Hardware) -> float:
    return energy_j % hardware.range_j if hardware.range_j else energy_j


def _shown_w(curve: PiecewisePower, hardware: Hardware, t_s: float) -> float:
    if not (sensor := hardware.sensor):
        return curve.power_w(t_s) * hardware.gain
    phase_s = hardware.seed % 97 / 97 * sensor.period_s
    updated_s = (t_s - phase_s) // sensor.period_s * sensor.period_s + phase_s
    seen_j = curve.energy_j(updated_s - sensor.window_s, updated_s)
    return seen_j / sensor.window_s * hardware.gain


@st.composite
def curves(draw: st.DrawFn, length_s: float) -> PiecewisePower:
    kind = draw(st.sampled_from(["constant", "square", "ramp", "walk"]))
    low_w, high_w = draw(st.floats(80.0, 150.0)), draw(st.floats(150.0, 350.0))
    event(kind)
    if kind == "constant":
        return PiecewisePower.constant(high_w, length_s)
    if kind == "square":
        return PiecewisePower.square(low_w, high_w, draw(st.floats(0.03, 3.0)), length_s)
    if kind == "ramp":
        return PiecewisePower.ramp(low_w, high_w, length_s)
    step_s = draw(st.floats(0.02, 0.5))
    return PiecewisePower.walk(low_w, high_w, step_s, length_s, draw(st.integers(0, 2**32)))


PACKAGE = Hardware(tick_s=0.001, step_j=6.1e-5, power=False, range_j=400.0)
GPU_20 = Hardware(tick_s=0.02, step_j=1e-3, power=True)
GPU_100 = Hardware(tick_s=0.1, step_j=1e-3, power=True)
COUNTER_ALONE = Hardware(tick_s=0.1, step_j=1e-3, power=False)


@pytest.mark.slow
@given(
    data=st.data(),
    device=st.sampled_from([PACKAGE, GPU_20, GPU_100, COUNTER_ALONE]),
    window_s=st.sampled_from([0.5, 2.0, 10.0]),
    announced=st.booleans(),
    phase_s=st.floats(0.0, 1.0),
    jitter=st.floats(0.0, 0.2),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=examples(100, 2000), derandomize=True)
def test_the_error_is_in_the_band_and_half_a_percent_for_twenty_ticks(
    data: st.DataObject,
    device: Hardware,
    window_s: float,
    announced: bool,
    phase_s: float,
    jitter: float,
    seed: int,
) -> None:
    t0_s = 1.5 * LEAD_S + phase_s
    t1_s = t0_s + window_s
    curve = data.draw(curves(t1_s + 2.0))
    hardware = replace(device, jitter=jitter, seed=seed)
    figure = measure(curve, hardware, t0_s, t1_s, announced=announced)
    truth_j = curve.energy_j(t0_s, t1_s)
    assert figure.source is EnergySource.COUNTER, figure.reason
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert abs(figure.energy_j - truth_j) <= figure.uncertainty_j
    enough = window_s >= 20 * device.tick_s and (announced or window_s >= 2.0)
    if enough and device is not COUNTER_ALONE:
        assert abs(figure.energy_j / truth_j - 1) <= 0.005


PART_TIME = of_nvidia(7, ga100=True, instant=True)
WHOLE = of_nvidia(7, ga100=False, instant=True)
AVERAGED = of_nvidia(7, ga100=False, instant=False)
FAST = of_nvidia(5, ga100=False, instant=False)


@pytest.mark.slow
@pytest.mark.parametrize("counter", [True, False], ids=["counter", "power alone"])
@pytest.mark.parametrize("sensor", [PART_TIME, WHOLE, AVERAGED, FAST])
def test_with_a_real_sensor_the_truth_is_in_the_band(sensor: Sensor, counter: bool) -> None:
    """Readings are held, old, means of a part of the time, off by 4 %; the counter is late."""
    draw = np.random.default_rng(7)
    inside = []
    for case in range(examples(12, 400)):
        t0_s, window_s = 4.0 + draw.uniform(), float(draw.choice([0.5, 2.0, 4.0]))
        t1_s = t0_s + window_s
        curve = _any_curve(draw, t1_s + 4.0)
        hardware = Hardware(
            tick_s=sensor.period_s,
            step_j=1e-3,
            power=True,
            sensor=sensor,
            counter=counter,
            lag_s=draw.uniform(0.0, sensor.period_s),
            gain=draw.uniform(0.96, 1.04),
            seed=case,
        )
        figure = measure(curve, hardware, t0_s, t1_s, lead_s=3.0)
        assert figure.energy_j is not None, figure.reason
        assert figure.uncertainty_j is not None
        truth_j = curve.energy_j(t0_s, t1_s)
        inside.append(abs(figure.energy_j - truth_j) <= figure.uncertainty_j)
    assert np.mean(inside) >= 0.95


def _any_curve(draw: np.random.Generator, length_s: float) -> PiecewisePower:
    low_w, high_w = draw.uniform(50.0, 150.0), draw.uniform(150.0, 600.0)
    match draw.integers(4):
        case 0:
            return PiecewisePower.constant(high_w, length_s)
        case 1:
            return PiecewisePower.square(low_w, high_w, draw.uniform(0.03, 3.0), length_s)
        case 2:
            return PiecewisePower.ramp(low_w, high_w, length_s)
    return PiecewisePower.walk(
        low_w, high_w, draw.uniform(0.02, 0.5), length_s, int(draw.integers(999))
    )

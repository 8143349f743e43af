"""What the recorder answers for a window, and what becomes of a meter that fails."""

import time
from collections.abc import Callable, Mapping
from typing import Self

import numpy as np
import pytest

from greenbatch.records import EnergyFigure, EnergySource
from greenbatch.runners.metering import (
    DeviceState,
    Domain,
    EnergyMeter,
    MeterLost,
    MeterOptions,
    Reading,
    Recorder,
)
from greenbatch.runners.metering.conditions import over_window
from tests.fakes.powercap_curve import PowerCurve

pytestmark = pytest.mark.alone


TICK_S = 0.01


class SimulatedMeter(EnergyMeter):
    """A counter (and a power) of a known curve in this process; ``fault`` may raise or replace."""

    name = "simulated"
    interval_s = 0.004

    def __init__(
        self,
        curve: PowerCurve,
        *,
        source: EnergySource = EnergySource.COUNTER,
        counter: bool = True,
        power: bool = False,
        fault: Callable[[float, Reading], Reading] = lambda _, reading: reading,
    ) -> None:
        self.domains = (Domain(name="simulated-0", source=source, tick_s=TICK_S, device="none"),)
        self._curve, self._counter, self._power, self._fault = curve, counter, power, fault

    def read(self) -> Mapping[str, Reading]:
        now_s = time.perf_counter()
        energy_j = self._curve.energy_j(0.0, now_s // TICK_S * TICK_S) if self._counter else None
        power_w = self._curve.energy_j(now_s, now_s + 1e-6) * 1e6 if self._power else None
        reading = Reading(energy_j=energy_j, power_w=power_w)
        return {"simulated-0": self._fault(now_s, reading)}

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        return cls(PowerCurve(80.0))


def _record(meter: EnergyMeter, window_s: float = 0.4) -> tuple[EnergyFigure, float, float]:
    with Recorder([meter]) as recorder:
        time.sleep(0.1)
        t0_s = time.perf_counter()
        time.sleep(window_s)
        t1_s = time.perf_counter()
        recorder.settle(t1_s)
        (figure,) = recorder.energy(t0_s, t1_s)
    return figure, t0_s, t1_s


def test_a_counter_gives_the_energy_of_the_window_within_its_band() -> None:
    figure, t0_s, t1_s = _record(SimulatedMeter(PowerCurve(80.0)))
    assert figure.source is EnergySource.COUNTER
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert abs(figure.energy_j - 80.0 * (t1_s - t0_s)) <= figure.uncertainty_j
    assert figure.power_mean_w == pytest.approx(80.0, rel=0.05)
    assert figure.power_max_w == pytest.approx(80.0, rel=0.25)
    assert figure.other_energy_j is None


def test_where_power_is_read_too_both_ways_are_kept() -> None:
    figure, t0_s, t1_s = _record(SimulatedMeter(PowerCurve(80.0), power=True))
    assert figure.source is EnergySource.COUNTER
    assert figure.other_source is EnergySource.INTEGRATED
    assert figure.other_energy_j == pytest.approx(80.0 * (t1_s - t0_s), rel=1e-3)
    assert figure.disagreement is not None


def test_a_counter_that_fails_in_the_window_leaves_the_integral_with_the_reason() -> None:
    end_s = time.perf_counter() + 0.3

    def fail(now_s: float, reading: Reading) -> Reading:
        return Reading(power_w=reading.power_w) if now_s > end_s else reading

    figure, t0_s, t1_s = _record(SimulatedMeter(PowerCurve(80.0), power=True, fault=fail))
    assert figure.source is EnergySource.INTEGRATED
    assert figure.energy_j == pytest.approx(80.0 * (t1_s - t0_s), rel=1e-3)
    assert figure.reason is not None
    assert "as the counter failed" in figure.reason


def test_a_counter_that_is_reset_in_the_window_is_missing() -> None:
    reset_s = time.perf_counter() + 0.3

    def reset(now_s: float, reading: Reading) -> Reading:
        assert reading.energy_j is not None
        return Reading(energy_j=reading.energy_j - 1e4) if now_s > reset_s else reading

    figure, *_ = _record(SimulatedMeter(PowerCurve(80.0), fault=reset))
    assert figure.energy_j is None
    assert figure.source is EnergySource.MISSING
    assert figure.reason is not None
    assert "was reset" in figure.reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MeterLost("the meter is unplugged"), "the meter is unplugged"),
        (ZeroDivisionError("a defect"), "the meter simulated failed: ZeroDivisionError: a defect"),
        (SystemExit("enough"), "the reading thread ended: SystemExit: enough"),
    ],
)
def test_whatever_a_meter_raises_is_the_reason_of_the_missing_figure(
    error: BaseException, words: str
) -> None:
    end_s = time.perf_counter() + 0.3

    def fail(now_s: float, reading: Reading) -> Reading:
        if now_s > end_s:
            raise error
        return reading

    figure, *_ = _record(SimulatedMeter(PowerCurve(80.0), fault=fail))
    assert figure.source is EnergySource.MISSING
    assert figure.energy_j is None
    assert figure.reason is not None
    assert words in figure.reason


def test_a_meter_that_comes_back_is_read_again_and_only_the_stretch_is_missing() -> None:
    start_s = time.perf_counter()

    def fail(now_s: float, reading: Reading) -> Reading:
        if 0.2 < now_s - start_s < 1.0:
            raise MeterLost("the meter is away")
        return reading

    with Recorder([SimulatedMeter(PowerCurve(80.0), fault=fail)]) as recorder:
        time.sleep(max(0.0, start_s + 1.4 - time.perf_counter()))
        t0_s = time.perf_counter()
        time.sleep(0.2)
        t1_s = time.perf_counter()
        recorder.settle(t1_s)
        (through,) = recorder.energy(start_s + 0.1, t1_s)
        (after,) = recorder.energy(t0_s, t1_s)
    assert through.energy_j is None
    assert through.reason == "simulated-0: the meter is away"
    assert after.energy_j == pytest.approx(80.0 * (t1_s - t0_s), rel=0.2)


def test_a_window_before_the_recording_or_after_it_is_missing_not_zero() -> None:
    figure, t0_s, t1_s = _record(SimulatedMeter(PowerCurve(80.0)), window_s=0.1)
    assert figure.energy_j
    with Recorder([SimulatedMeter(PowerCurve(80.0))]) as recorder:
        time.sleep(0.1)
        (early,) = recorder.energy(t0_s, t1_s)
        (late,) = recorder.energy(time.perf_counter(), time.perf_counter() + 60)
    assert early.energy_j is None
    assert "before the first" in str(early.reason)
    assert late.energy_j is None
    assert "after the last" in str(late.reason)


def test_a_domain_the_meter_leaves_out_is_missing_with_the_reason() -> None:
    def nothing(_: float, __: Reading) -> Reading:
        return Reading(reason="the sensor is asleep")

    figure, *_ = _record(SimulatedMeter(PowerCurve(80.0), fault=nothing), window_s=0.05)
    assert figure.reason == "simulated-0: the sensor is asleep"


def test_settling_ends_with_a_tick_after_the_instant_and_gives_up_in_time() -> None:
    with Recorder([SimulatedMeter(PowerCurve(80.0))]) as recorder:
        now_s = time.perf_counter()
        assert recorder.settle(now_s)
        assert recorder.energy(now_s - 0.001, now_s)
        assert not recorder.settle(now_s + 60, timeout_s=0.05)


def test_no_meters_give_no_figures() -> None:
    with Recorder([]) as recorder:
        assert recorder.settle(time.perf_counter())
        assert recorder.energy(0.0, 1.0) == ()
        assert recorder.trace(0.0, 1.0) == {}
        assert recorder.conditions(0.0, 1.0) == ()


def test_idle_power_is_the_mean_of_the_window() -> None:
    with Recorder([SimulatedMeter(PowerCurve(12.0), power=True)]) as recorder:
        time.sleep(0.05)
        t0_s = time.perf_counter()
        time.sleep(0.4)
        t1_s = time.perf_counter()
        recorder.settle(t1_s)
        (idle,) = recorder.idle(t0_s, t1_s)
        (never,) = recorder.idle(t1_s + 10, t1_s + 11)
        with pytest.raises(ValueError, match="no length"):
            recorder.idle(t1_s, t1_s)
    assert idle.source is EnergySource.COUNTER
    assert idle.power_w is not None
    assert idle.uncertainty_w is not None
    assert abs(idle.power_w - 12.0) <= idle.uncertainty_w
    assert never.power_w is None
    assert never.reason


def test_a_trace_is_relative_to_the_window_and_reaches_over_its_ends() -> None:
    with Recorder([SimulatedMeter(PowerCurve(80.0), power=True)]) as recorder:
        time.sleep(0.05)
        t0_s = time.perf_counter()
        time.sleep(0.2)
        t1_s = time.perf_counter()
        recorder.settle(t1_s)
        trace = recorder.trace(t0_s, t1_s)
    t_s, energy_j = trace["simulated-0_t_s"], trace["simulated-0_energy_j"]
    assert t_s[0] <= 0 <= t_s[1]
    assert t_s[-2] <= t1_s - t0_s <= t_s[-1]
    assert energy_j[0] == 0
    assert np.all(np.diff(energy_j) >= 0)
    assert trace["simulated-0_power_w"] == pytest.approx(80.0, rel=1e-4)
    assert t_s.shape == energy_j.shape == trace["simulated-0_power_w"].shape


class SlowlyHeating(SimulatedMeter):
    """Tells a state as well: warmer each time, and a process that comes later."""

    looks = 0

    def conditions(self) -> Mapping[str, DeviceState]:
        self.looks += 1
        return {
            "simulated-0": DeviceState(
                temperature_c=39.0 + self.looks,
                clock_hz=1e9 * self.looks,
                throttle_reasons=("sw_power_cap",) if self.looks == 2 else (),
                memory_bytes=1000 * self.looks,
                pids=(7, 8),
            )
        }


def test_in_a_container_whoever_came_after_the_first_look_is_the_measured_process() -> None:
    at_first, later = DeviceState(pids=(40,)), DeviceState(pids=(40, 71))
    states = [(0.0, at_first), (1.0, later), (2.0, later)]

    def foreign(same_pids: bool) -> tuple[int, ...]:
        conditions = over_window("gpu-0", states, 0.5, 2.0, own_pids=[8], same_pids=same_pids)
        assert conditions
        return conditions.foreign_pids

    assert foreign(same_pids=True) == (40, 71)
    assert foreign(same_pids=False) == (40,)


def test_conditions_are_summed_up_over_the_window() -> None:
    with Recorder([SlowlyHeating(PowerCurve(80.0))]) as recorder:
        t0_s = time.perf_counter() + 0.05
        time.sleep(0.7)
        (seen,) = recorder.conditions(t0_s, time.perf_counter(), own_pids=[8])
        nothing_yet = recorder.conditions(t0_s - 60, t0_s - 50)
    assert seen.device == "simulated-0"
    assert seen.temperature_c == 40.0
    assert seen.clock_hz is not None
    assert 2e9 <= seen.clock_hz <= 3e9
    assert seen.throttle_reasons == ("sw_power_cap",)
    assert seen.memory_bytes in (2000, 3000)
    assert seen.foreign_pids == (7,)
    assert nothing_yet == ()

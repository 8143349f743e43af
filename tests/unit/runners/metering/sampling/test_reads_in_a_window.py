"""How a window is left alone: few reads, no look at its ends, the process list outside of it."""

import time
from collections.abc import Callable, Mapping

import pytest

from greenbatch.records import EnergySource
from greenbatch.runners.metering import DeviceState, Domain, EnergyMeter, MeterOptions, Reading
from greenbatch.runners.metering.conditions import over_window
from greenbatch.runners.metering.processes import Processes
from greenbatch.runners.metering.sampling.read_schedule import Schedule
from greenbatch.runners.metering.sampling.sampler import Recorder
from greenbatch.runners.metering.sensors import Sensor

pytestmark = pytest.mark.alone


class CountedMeter(EnergyMeter):
    """A GPU with a slow counter, which remembers when it was asked for what."""

    name = "counted"
    interval_s = 0.0679
    focus_interval_s = 0.001

    def __init__(
        self,
        tick_s: float = 0.1,
        read_s: float = 0.0,
        look_s: float = 0.0,
        source: EnergySource = EnergySource.COUNTER,
        processes: Callable[[], Processes] = Processes,
    ) -> None:
        sensor = Sensor(period_s=0.1, window_s=0.1)
        self.domains = (Domain(name="gpu-0", source=source, tick_s=tick_s, sensor=sensor),)
        self._tick_s, self._read_s, self._look_s = tick_s, read_s, look_s
        self._found = processes
        self.reads_s: list[float] = []
        self.looks_s: list[tuple[float, float]] = []
        self.lists_s: list[float] = []

    @classmethod
    def open(cls, options: MeterOptions) -> "CountedMeter":
        return cls()

    def read(self) -> Mapping[str, Reading]:
        time.sleep(self._read_s)
        now_s = time.perf_counter()
        self.reads_s.append(now_s)
        if self.domains[0].source is EnergySource.INTEGRATED:
            return {"gpu-0": Reading(power_w=100.0)}
        return {"gpu-0": Reading(energy_j=100.0 * (now_s // self._tick_s * self._tick_s))}

    def conditions(self) -> Mapping[str, DeviceState]:
        began_s = time.perf_counter()
        time.sleep(self._look_s)
        self.looks_s.append((began_s, time.perf_counter()))
        return {"gpu-0": DeviceState(temperature_c=50.0)}

    def processes(self) -> Mapping[str, Processes]:
        self.lists_s.append(time.perf_counter())
        return {"gpu-0": self._found()}


def _focused(meter: CountedMeter, length_s: float) -> tuple[float, float]:
    """Read often for a while; return its begin and end."""
    with Recorder([meter]) as recorder:
        time.sleep(0.3)
        start_s = time.perf_counter() + 0.2
        end_s = start_s + length_s
        recorder.focus(start_s, end_s)
        time.sleep(end_s - time.perf_counter() + 4 * meter.interval_s)  # a look comes with a read
        return start_s, end_s


def _inside(instants_s: list[float], stretch: tuple[float, float]) -> int:
    return sum(stretch[0] <= instant_s <= stretch[1] for instant_s in instants_s)


def test_a_slow_counter_is_read_often_only_when_it_is_due_and_every_tick_is_seen_sharply() -> None:
    meter = CountedMeter(tick_s=0.1)
    start_s, end_s = _focused(meter, 1.0)
    assert _inside(meter.reads_s, (start_s, end_s)) < 300
    for tick in range(int(start_s / 0.1) + 2, int(end_s / 0.1)):
        near = sorted(abs(read_s - tick * 0.1) for read_s in meter.reads_s)[:2]
        assert near[0] < 0.01


def test_power_alone_is_read_no_more_often_than_a_sensor_has_something_new() -> None:
    meter = CountedMeter(source=EnergySource.INTEGRATED)
    assert _inside(meter.reads_s, _focused(meter, 1.0)) < 80


def test_a_driver_whose_calls_are_slow_is_left_alone_most_of_the_time() -> None:
    meter = CountedMeter(tick_s=0.005, read_s=0.004)
    assert _inside(meter.reads_s, _focused(meter, 0.5)) < 0.5 / 0.004 / 3


def test_nobody_looks_at_the_device_while_ticks_are_to_be_seen() -> None:
    meter = CountedMeter(look_s=0.03)
    start_s, end_s = _focused(meter, 1.2)
    assert len(meter.looks_s) >= 2  # before, and when it was over
    for began_s, ended_s in meter.looks_s:
        assert ended_s < start_s or began_s >= end_s


def test_processes_are_listed_when_it_is_asked_for_and_not_in_the_window() -> None:
    meter = CountedMeter()
    with Recorder([meter]) as recorder:
        time.sleep(0.1)
        recorder.list_processes()
        start_s = recorder.begin()
        time.sleep(0.8)
        end_s = recorder.end()
        recorder.list_processes()
    assert len(meter.looks_s) >= 2
    assert _inside(meter.lists_s, (start_s, end_s)) == 0
    assert len(meter.lists_s) == 3


def test_another_process_before_or_after_a_window_is_foreign() -> None:
    lists = [
        (0.0, Processes(pids=(1, 2))),
        (1.0, Processes(pids=(7,))),
        (4.0, Processes(pids=(7, 9))),
        (8.0, Processes(pids=(7, 11))),
    ]
    states = [(0.5, DeviceState()), (2.0, DeviceState())]
    seen = over_window("gpu-0", states, 1.5, 3.0, own_pids=[7], lists=lists)
    assert seen
    assert seen.foreign_pids == (9,)
    assert seen.processes_unknown is None


def _refuse() -> Processes:
    raise RuntimeError("the driver hung up")


@pytest.mark.parametrize(
    ("processes", "words"),
    [
        (lambda: Processes(reason="cannot list the processes: too old"), "too old"),
        (_refuse, "RuntimeError: the driver hung up"),
    ],
)
def test_processes_that_cannot_be_listed_are_unknown_not_none(
    processes: Callable[[], Processes], words: str
) -> None:
    with Recorder([CountedMeter(processes=processes)]) as recorder:
        now_s = time.perf_counter()
        (seen,) = recorder.conditions(now_s, now_s + 0.1)
    assert seen.foreign_pids == ()
    assert seen.processes_unknown
    assert words in seen.processes_unknown


def test_a_schedule_reads_at_its_usual_rate_at_the_least() -> None:
    schedule = Schedule(0.1, 0.001)
    schedule.focus(0.0, 10.0)
    assert schedule.next_s(1.0, 1.0, quiet_until_s=5.0) == pytest.approx(1.1)
    assert schedule.next_s(1.0, 1.0, quiet_until_s=1.05) == pytest.approx(1.05)
    assert schedule.next_s(1.0, 1.0, read_s=0.01) == pytest.approx(1.03)
    assert schedule.next_s(1.0, 1.0) == pytest.approx(1.001)

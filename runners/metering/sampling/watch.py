"""One meter, the thread that reads it, and what it has read."""

import contextlib
import threading
import time

from greenbatch.processes import signals_for_this_thread
from greenbatch.records import EnergySource
from greenbatch.runners.metering.conditions import Conditioned, DeviceState
from greenbatch.runners.metering.energy.figures import shapes_ticks
from greenbatch.runners.metering.meter import Clock, Domain, EnergyMeter, MeterLost
from greenbatch.runners.metering.processes import ListsProcesses, Processes
from greenbatch.runners.metering.sampling.read_schedule import Schedule
from greenbatch.runners.metering.sampling.unwrapping import History, Series

_CONDITIONS_EVERY_S = 0.5
_JOIN_S = 5.0
_LIST_TIMEOUT_S = 1.0
_READS_A_PERIOD = 5  # of a sensor whose readings are integrated
_SURELY_NOT_YET = 0.8  # of a period after its last tick, a counter does not tick
_WORTH_WAITING_S = 0.01  # a counter that ticks faster is read all the time


class Watch:
    """Reads a meter from a thread of its own, from `start` to `stop`; used by `Recorder`.

    Args:
        meter: Stays the caller's to close.
        clock: Returns the time in s.
        interval_s: How often to read, in s; ``None``: as often as the meter asks for.
    """

    def __init__(self, meter: EnergyMeter, clock: Clock, interval_s: float | None) -> None:
        self.meter = meter
        self.interval_s = interval_s or meter.interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._series = {
            domain.name: Series(
                domain.range_j,
                domain.tick_s,
                domain.source is not EnergySource.INTEGRATED,
                domain.sensor.age_s if domain.sensor else 0.0,
                domain.power_most_w,
            )
            for domain in meter.domains
        }
        self._states: dict[str, list[tuple[float, DeviceState]]] = {}
        self._lists: dict[str, list[tuple[float, Processes]]] = {}
        self._list_wanted = threading.Event()
        self._listed = threading.Event()
        self._look_s = self._read_s = 0.0
        self._schedule = Schedule(self.interval_s, meter.focus_interval_s)
        self._stopping = False
        self._wake = threading.Lock()  # held; given back to wake the thread: cheaper than an Event
        self._wake.acquire()
        self.first_read = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"greenbatch-meter-{meter.name}", daemon=True
        )

    def start(self) -> None:
        with signals_for_this_thread():
            self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._rouse()
        self._thread.join(_JOIN_S)  # a read that hangs in a driver must not hang the run

    @property
    def cpu_s(self) -> float:
        """CPU time of the reading thread, in s."""
        assert self._thread.ident is not None
        return time.clock_gettime(time.pthread_getcpuclockid(self._thread.ident))

    def focus(self, from_s: float, to_s: float) -> None:
        """Read often between two instants, where the meter allows it."""
        if self.meter.focus_interval_s is not None:
            with self._lock:
                self._schedule.focus(from_s, to_s)
            self._rouse()

    def _rouse(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was roused already
            self._wake.release()

    def histories(self) -> list[tuple[Domain, History]]:
        with self._lock:
            return [(d, self._series[d.name].history()) for d in self.meter.domains]

    def states(self) -> dict[str, list[tuple[float, DeviceState]]]:
        with self._lock:
            return {device: list(states) for device, states in self._states.items()}

    def lists(self) -> dict[str, list[tuple[float, Processes]]]:
        with self._lock:
            return {device: list(lists) for device, lists in self._lists.items()}

    def list_processes(self) -> None:
        """Have the processes listed; `wait_for_list` returns when they are."""
        if isinstance(self.meter, ListsProcesses):
            self._listed.clear()
            self._list_wanted.set()
            self._rouse()

    def wait_for_list(self) -> None:
        if isinstance(self.meter, ListsProcesses):
            self._listed.wait(_LIST_TIMEOUT_S)

    def settled(self, t_s: float) -> bool:
        """Return whether every domain has changed after ``t_s``, or fails, or is stuck."""
        with self._lock:
            return all(series.reaches(t_s) for series in self._series.values())

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:  # the thread's end must show in every later figure
            self._fail(self._clock(), f"the reading thread ended: {_described(error)}")
        finally:
            self.first_read.set()
            self._listed.set()

    def _loop(self) -> None:
        due_s = conditions_due_s = self._clock()
        self.list_processes()
        while not self._stopping:
            good = self._read()
            now_s = self._clock()
            if self._list_wanted.is_set():
                self._list()
                now_s = self._clock()
            if now_s >= conditions_due_s and self._may_look(now_s):
                self._look()
                self._look_s = self._clock() - now_s
                self.first_read.set()
                conditions_due_s = self._clock() + _CONDITIONS_EVERY_S
            with self._lock:
                now_s, quiet_s = self._clock(), self._quiet_until_s()
                due_s = self._schedule.next_s(due_s, now_s, good, quiet_s, self._read_s)
            self._wake.acquire(timeout=max(due_s - self._clock(), 0.0))

    def _may_look(self, now_s: float) -> bool:
        """Return whether a look would end before ticks are to be seen; the first one may begin."""
        if not self.first_read.is_set():
            return True
        with self._lock:
            return not self._schedule.focuses(now_s, now_s + 2 * self._look_s)

    def _quiet_until_s(self) -> float:
        """Return until when no counter ticks, and no sensor has another reading."""
        until_s = []
        for domain in self.meter.domains:
            if domain.source is EnergySource.INTEGRATED and domain.sensor:
                until_s.append(self._clock() + domain.sensor.period_s / _READS_A_PERIOD)
            elif domain.tick_s >= _WORTH_WAITING_S and not shapes_ticks(domain):
                ticked_s = self._series[domain.name].ticked_s
                until_s.append(ticked_s + _SURELY_NOT_YET * domain.tick_s)
            else:
                return 0.0
        return min(until_s, default=0.0)

    def _read(self) -> bool:
        before_s = self._clock()
        try:
            readings = self.meter.read()
        except MeterLost as error:
            self._fail(before_s, str(error))
            return False
        except Exception as error:
            self._fail(before_s, f"the meter {self.meter.name} failed: {_described(error)}")
            return False
        after_s = self._clock()
        self._read_s = after_s - before_s
        with self._lock:
            for name, series in self._series.items():
                if (reading := readings.get(name)) is not None:
                    series.append(before_s, after_s, reading)
                else:
                    series.fail(before_s, after_s, "the meter left it out of its reading")
        return True

    def _fail(self, before_s: float, reason: str) -> None:
        with self._lock:
            for series in self._series.values():
                series.fail(before_s, self._clock(), reason)

    def _look(self) -> None:
        if not isinstance(self.meter, Conditioned):
            return
        try:
            states = self.meter.conditions()
        except Exception:  # conditions explain figures; without them the figures still hold
            return
        now_s = self._clock()
        with self._lock:
            for device, state in states.items():
                self._states.setdefault(device, []).append((now_s, state))

    def _list(self) -> None:
        self._list_wanted.clear()
        assert isinstance(self.meter, ListsProcesses)
        try:
            found = self.meter.processes()
        except Exception as error:  # as with conditions; but that it failed is to be known
            reason = f"cannot list the processes: {_described(error)}"
            found = {domain.name: Processes(reason=reason) for domain in self.meter.domains}
        now_s = self._clock()
        with self._lock:
            for device, processes in found.items():
                self._lists.setdefault(device, []).append((now_s, processes))
        self._listed.set()


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

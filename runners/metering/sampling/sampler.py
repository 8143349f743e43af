"""Reads meters from threads of their own while something runs, and answers for a window."""

import contextlib
import threading
import time
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self

from greenbatch.records import EnergyFigure, EnergySource, IdleFigure
from greenbatch.runners.metering.conditions import (
    Conditioned,
    DeviceConditions,
    DeviceState,
    numbers_processes_as_the_host,
    over_window,
)
from greenbatch.runners.metering.energy.energy_function import FloatArray
from greenbatch.runners.metering.energy.figures import energy_figure, trace
from greenbatch.runners.metering.energy.idle_power import idle_figure
from greenbatch.runners.metering.meter import Clock, Domain, EnergyMeter, MeterLost
from greenbatch.runners.metering.sampling.read_schedule import Schedule
from greenbatch.runners.metering.sampling.unwrapping import History, Series

_CONDITIONS_EVERY_S = 0.5
_FIRST_READ_S = 2.0
_JOIN_S = 5.0
_SETTLE_PAUSE_S = 0.005
_TICK_TIMEOUT_PERIODS = 3
_LEAST_TICK_TIMEOUT_S = 2.0
# Around a window's end every tick is to be seen: for so many periods, and no shorter than this.
_FOCUS_PERIODS = 2.5
_FOCUS_LEAST_S = 0.03


class _Watch:
    """One meter, the thread that reads it, and what it has read."""

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
            )
            for domain in meter.domains
        }
        self._states: dict[str, list[tuple[float, DeviceState]]] = {}
        self._schedule = Schedule(self.interval_s, meter.focus_interval_s)
        self._stopping = False
        self._wake = threading.Lock()  # held; given back to wake the thread: cheaper than an Event
        self._wake.acquire()
        self.first_read = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"greenbatch-meter-{meter.name}", daemon=True
        )

    def start(self) -> None:
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

    def _loop(self) -> None:
        due_s = conditions_due_s = self._clock()
        while not self._stopping:
            good = self._read()
            now_s = self._clock()
            if now_s >= conditions_due_s:
                self._look()
                self.first_read.set()
                now_s = self._clock()
                conditions_due_s = now_s + _CONDITIONS_EVERY_S
            with self._lock:
                due_s = self._schedule.next_s(due_s, now_s, good)
            self._wake.acquire(timeout=max(due_s - self._clock(), 0.0))

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


def focus_s(tick_s: float) -> float:
    """Return how long before and after a window's end a counter is to be read often, in s."""
    return max(_FOCUS_LEAST_S, _FOCUS_PERIODS * tick_s)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


class Recorder:
    """Samples meters from entering to leaving its context; its windows are read then or later.

    Every instant is of ``clock``. Nothing a meter does raises here: what could not be read is a
    missing figure with the reason.

    Args:
        meters: The meters to read, one thread for each; they stay the caller's to close.
        clock: Returns the time in s.
        interval_s: How often to read every meter, in s; ``None``: as often as each asks for.
    """

    def __init__(
        self,
        meters: Sequence[EnergyMeter],
        clock: Clock = time.perf_counter,
        interval_s: float | None = None,
    ) -> None:
        self._clock = clock
        self._watches = [_Watch(meter, clock, interval_s) for meter in meters]

    def __enter__(self) -> Self:
        """Start to read; return when every meter has been read once."""
        for watch in self._watches:
            watch.start()
        for watch in self._watches:
            watch.first_read.wait(_FIRST_READ_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop to read."""
        for watch in self._watches:
            watch.stop()

    @property
    def focus_s(self) -> float:
        """How long before and after a window's end meters are to be read often, in s."""
        ticks_s = [w.meter.tick_s for w in self._watches if w.meter.focus_interval_s is not None]
        return focus_s(max(ticks_s, default=0.0))

    @property
    def cpu_s(self) -> float:
        """CPU time that reading has taken so far, in s; to be read while it goes on."""
        return sum(watch.cpu_s for watch in self._watches)

    def focus(self, from_s: float, to_s: float) -> None:
        """Read meters as often as they allow between two instants, as around a window's ends."""
        for watch in self._watches:
            watch.focus(from_s, to_s)

    def begin(self) -> float:
        """Wait until every domain has ticked, and return the time: a window's start.

        Where nothing ticks, it returns after a while all the same.
        """
        self.settle(self._clock(), self.tick_timeout_s)
        return self.mark()

    def mark(self) -> float:
        """Return the time, an end of a window, and read often from it on for a while."""
        now_s = self._clock()
        self.focus(now_s, now_s + self.focus_s)
        return now_s

    def end(self) -> float:
        """Return the time, a window's end, once every domain has ticked after it."""
        now_s = self.mark()
        self.settle(now_s, self.tick_timeout_s)
        return now_s

    @property
    def tick_timeout_s(self) -> float:
        """How long to wait for a tick before it is taken for missing, in s."""
        news_s = [max(watch.meter.tick_s, watch.interval_s) for watch in self._watches]
        return _LEAST_TICK_TIMEOUT_S + _TICK_TIMEOUT_PERIODS * max(news_s, default=0.0)

    def settle(self, t_s: float, timeout_s: float = 1.0) -> bool:
        """Wait until every domain has ticked after ``t_s``, reading often.

        Returns:
            Whether all did before ``timeout_s`` had passed.
        """
        end_s = self._clock() + timeout_s
        self.mark()
        while not all(watch.settled(t_s) for watch in self._watches):
            if self._clock() >= end_s:
                return False
            time.sleep(_SETTLE_PAUSE_S)
        return True

    def energy(self, t0_s: float, t1_s: float) -> tuple[EnergyFigure, ...]:
        """Return the energy from ``t0_s`` to ``t1_s``, a figure for each domain of each meter."""
        return tuple(
            energy_figure(domain, history, t0_s, t1_s, watch.interval_s)
            for watch in self._watches
            for domain, history in watch.histories()
        )

    def idle(self, t0_s: float, t1_s: float) -> tuple[IdleFigure, ...]:
        """Return the mean power from ``t0_s`` to ``t1_s``, a figure for each domain.

        Raises:
            ValueError: The window has no length.
        """
        if t1_s <= t0_s:
            raise ValueError(f"an idle window from {t0_s} s to {t1_s} s has no length")
        return tuple(idle_figure(figure, t1_s - t0_s) for figure in self.energy(t0_s, t1_s))

    def trace(self, t0_s: float, t1_s: float) -> dict[str, FloatArray]:
        """Return what was read in the window, with one read on either side of it.

        Returns:
            For each domain that was read: ``<domain>_t_s``, the middle of each read relative to
            ``t0_s``; with a counter ``<domain>_energy_j``, its value at that read since the first
            one returned; with a power sensor ``<domain>_power_w``. Shape (n,), NaN where a read
            did not have one of the two.
        """
        columns: dict[str, FloatArray] = {}
        for watch in self._watches:
            for domain, history in watch.histories():
                columns |= trace(domain.name, history, t0_s, t1_s)
        return columns

    def conditions(
        self, t0_s: float, t1_s: float, own_pids: Collection[int] = ()
    ) -> tuple[DeviceConditions, ...]:
        """Return the state of each device over a window.

        Args:
            t0_s, t1_s: The window.
            own_pids: The measured processes, which are not foreign.
        """
        same_pids = numbers_processes_as_the_host()
        summed = [
            over_window(device, states, t0_s, t1_s, own_pids, same_pids)
            for watch in self._watches
            for device, states in watch.states().items()
        ]
        return tuple(conditions for conditions in summed if conditions is not None)

"""Reads meters from threads of their own while something runs, and answers for a window."""

import time
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self

from greenbatch.records import EnergyFigure, IdleFigure
from greenbatch.runners.metering.conditions import (
    DeviceConditions,
    numbers_processes_as_the_host,
    over_window,
)
from greenbatch.runners.metering.energy.energy_function import FloatArray
from greenbatch.runners.metering.energy.figures import energy_figure, trace
from greenbatch.runners.metering.energy.idle_power import (
    SPAN_S,
    alike,
    idle_figure,
    settles_slowly,
)
from greenbatch.runners.metering.meter import Clock, EnergyMeter
from greenbatch.runners.metering.sampling.watch import Watch

_FIRST_READ_S = 2.0
_SETTLE_PAUSE_S = 0.005
_IDLE_PAUSE_S = 0.1
_TICK_TIMEOUT_PERIODS = 3
_LEAST_TICK_TIMEOUT_S = 2.0
# Around a window's end every tick is to be seen: for so many periods, and no shorter than this.
_FOCUS_PERIODS = 2.5
_FOCUS_LEAST_S = 0.03


def focus_s(tick_s: float) -> float:
    """Return how long before and after a window's end a counter is to be read often, in s."""
    return max(_FOCUS_LEAST_S, _FOCUS_PERIODS * tick_s)


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
        self._watches = [Watch(meter, clock, interval_s) for meter in meters]

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

    def list_processes(self) -> None:
        """List the processes on each device now: before a window and after it, not inside.

        The list takes a driver milliseconds, in which it keeps others waiting.
        """
        for watch in self._watches:
            watch.list_processes()
        for watch in self._watches:
            watch.wait_for_list()

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

    def wait_until_idle(self, timeout_s: float = 10.0) -> bool:
        """Wait until the power of each GPU that counts has settled after a load; see `alike`.

        Returns:
            Whether it has, before ``timeout_s`` had passed; a domain without power has not.
        """
        slow = [
            domain
            for watch in self._watches
            for domain in watch.meter.domains
            if domain.counts and settles_slowly(domain)
        ]
        if not slow:
            return True
        names = {domain.name for domain in slow}

        def figures(t0_s: float, t1_s: float) -> list[EnergyFigure]:
            return [each for each in self.energy(t0_s, t1_s) if each.domain in names]

        span_s = max(SPAN_S, *(domain.tick_s for domain in slow))
        began_s = now_s = self._clock()
        while now_s < began_s + timeout_s:
            time.sleep(_IDLE_PAUSE_S)
            now_s = self._clock()
            end_s = now_s - max(domain.tick_s + domain.lag_s for domain in slow) - _IDLE_PAUSE_S
            if end_s - 2 * span_s < began_s:
                continue
            middle_s = end_s - span_s
            earlier, later = figures(middle_s - span_s, middle_s), figures(middle_s, end_s)
            if all(map(alike, earlier, later)):
                return True
        return False

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
        summed = []
        for watch in self._watches:
            lists = watch.lists()
            for device, states in watch.states().items():
                named = lists.get(device, [])
                summed.append(over_window(device, states, t0_s, t1_s, own_pids, same_pids, named))
        return tuple(conditions for conditions in summed if conditions is not None)

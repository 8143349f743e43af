"""The state of a device around a window: what explains a figure that stands out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Protocol, runtime_checkable

from greenbatch.runners.metering.processes import Processes, around, pids_of

_INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO in the kernel's proc_ns.h


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """One look at a device; ``None`` is 'this device does not report it'.

    Attributes:
        temperature_c: In degrees Celsius.
        clock_hz, memory_clock_hz: Of the processors and of the memory, in Hz.
        power_limit_w: The limit in force, in W.
        throttle_reasons: Why the clock is lower than it could be, by name; the power limit is not
            among them.
        power_capped: Whether the power limit holds the clock down, as it does at full load.
        utilization: Share of the time in which the processors had work, from 0 to 1.
        memory_utilization: Share of the time in which the device memory was read or written.
        memory_bytes: Device memory in use by anybody.
        pids: Processes that compute on it, where a look lists them at no cost; others are listed
            apart, see `greenbatch.runners.metering.processes`.
    """

    temperature_c: float | None = None
    clock_hz: float | None = None
    memory_clock_hz: float | None = None
    power_limit_w: float | None = None
    throttle_reasons: tuple[str, ...] = ()
    power_capped: bool | None = None
    utilization: float | None = None
    memory_utilization: float | None = None
    memory_bytes: int | None = None
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConditions:
    """A device over a window.

    Attributes:
        device: Its domain's name.
        temperature_c, temperature_end_c: When the window began and when it ended, in degrees
            Celsius.
        temperature_mean_c: Mean over the window.
        clock_hz, memory_clock_hz: Means over the window, in Hz.
        power_limit_w: The lowest limit that was in force in the window, in W.
        throttle_reasons: All that were given in the window, sorted.
        power_capped: Share of the looks at which the power limit held the clock down.
        utilization, memory_utilization: Means over the window, from 0 to 1.
        memory_bytes: The most in use at a time.
        foreign_pids: Processes that computed on it and are not the measured one's, sorted.
        processes_unknown: Why its processes are not known, one sentence; ``None`` where they are.
    """

    device: str
    temperature_c: float | None = None
    temperature_mean_c: float | None = None
    temperature_end_c: float | None = None
    clock_hz: float | None = None
    memory_clock_hz: float | None = None
    power_limit_w: float | None = None
    throttle_reasons: tuple[str, ...] = ()
    power_capped: float | None = None
    utilization: float | None = None
    memory_utilization: float | None = None
    memory_bytes: int | None = None
    foreign_pids: tuple[int, ...] = ()
    processes_unknown: str | None = None


@runtime_checkable
class Conditioned(Protocol):
    """A meter that can also report the state of its devices."""

    def conditions(self) -> Mapping[str, DeviceState]:
        """Look at every device now, by its domain's name."""


def over_window(
    device: str,
    states: Sequence[tuple[float, DeviceState]],
    t0_s: float,
    t1_s: float,
    own_pids: Collection[int] = (),
    same_pids: bool = True,
    lists: Sequence[tuple[float, Processes]] = (),
) -> DeviceConditions | None:
    """Sum up the states of a device from ``t0_s`` to ``t1_s``.

    Args:
        device: Its name.
        states: Instant (s) and state, in order of time.
        t0_s, t1_s: The window; a short one that holds no state takes the last one before it.
        own_pids: Processes that are not foreign.
        same_pids: Whether the device numbers processes as this one does, see
            `numbers_processes_as_the_host`. Where it does not, those that it named at the first
            look are foreign, and so is every later one but the first.
        lists: Instant (s) and processes, in order of time, of a device that lists them apart.

    Returns:
        The conditions; ``None`` where no state was seen up to the window's end.
    """
    seen = [(t_s, state) for t_s, state in states if t_s <= t1_s]
    if not seen:
        return None
    inside = [state for t_s, state in seen if t_s >= t0_s] or [seen[-1][1]]
    earlier = [state for t_s, state in seen if t_s <= t0_s]
    at_start = earlier[-1] if earlier else inside[0]
    limits_w = [state.power_limit_w for state in inside if state.power_limit_w is not None]
    memory = [state.memory_bytes for state in inside if state.memory_bytes is not None]
    listed = around(lists, t0_s, t1_s)
    pids = {pid for state in inside for pid in state.pids} | pids_of(listed)
    own = set(own_pids)
    if not same_pids and not pids & own:
        first = set(states[0][1].pids) | pids_of(found for _, found in lists[:1])
        own = set(sorted(pids - first)[:1])
    return DeviceConditions(
        device=device,
        temperature_c=at_start.temperature_c,
        temperature_mean_c=_mean(state.temperature_c for state in inside),
        temperature_end_c=seen[-1][1].temperature_c,
        clock_hz=_mean(state.clock_hz for state in inside),
        memory_clock_hz=_mean(state.memory_clock_hz for state in inside),
        power_limit_w=min(limits_w, default=None),
        throttle_reasons=tuple(sorted({r for state in inside for r in state.throttle_reasons})),
        power_capped=_mean(state.power_capped for state in inside),
        utilization=_mean(state.utilization for state in inside),
        memory_utilization=_mean(state.memory_utilization for state in inside),
        memory_bytes=max(memory) if memory else None,
        foreign_pids=tuple(sorted(pids - own)),
        processes_unknown=next((found.reason for found in listed if found.reason), None),
    )


def numbers_processes_as_the_host() -> bool:
    """Return whether this process sees the host's process numbers, which drivers use too.

    In a container with a process namespace of its own they differ.
    """
    try:
        return Path("/proc/self/ns/pid").readlink().name == f"pid:[{_INITIAL_PID_NAMESPACE}]"
    except OSError:
        return True


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None

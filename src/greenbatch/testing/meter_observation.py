"""A meter, watched once: opened, read, recorded, closed, and opened again."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from greenbatch.records import EnergyFigure
from greenbatch.runners.metering import Domain, EnergyMeter, MeterOptions, Reading, Recorder

OpenMeter: TypeAlias = Callable[[MeterOptions], EnergyMeter]

_WATCHED_TICKS, _LEAST_S, _LONGEST_S = 4, 0.3, 20.0
_PAUSE_LEAST_S = 0.005
_FEWEST_LOOKS = 4
_CLOSING_S = 2.0  # in which what was left open must be closed
_CPU_PER_THREAD_W, _CPU_LEAST_W = 100.0, 500.0
_GPU_W, _MEMORY_W = 3000.0, 2000.0


@dataclass(frozen=True, slots=True)
class Look:
    """One read.

    Attributes:
        before_s, after_s: When it began and ended, in s.
        readings: What it gave; empty where it raised.
        error: What it raised.
    """

    before_s: float
    after_s: float
    readings: Mapping[str, Reading]
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of a meter.

    Attributes:
        name: By which it was opened.
        meter: It is closed.
        domains: As they were when it was open.
        looks: Reads in order of time.
        whole, halves: Energy of a window by the recorder, and of its two halves.
        faults: What other calls raised, by what was tried.
        reopened: The names of its domains when it was opened again.
        descriptors: How many more files are open after it was opened and closed once more; 0
            where that is not known.
        most_w: More than each domain can plausibly draw, in W, by name.
    """

    name: str
    meter: EnergyMeter
    domains: tuple[Domain, ...]
    looks: tuple[Look, ...]
    whole: tuple[EnergyFigure, ...]
    halves: tuple[tuple[EnergyFigure, ...], ...]
    faults: Mapping[str, Exception]
    reopened: tuple[str, ...]
    descriptors: int
    most_w: Mapping[str, float]

    @property
    def counted(self) -> tuple[Domain, ...]:
        """The domains that count."""
        return tuple(domain for domain in self.domains if domain.counts)

    def of(self, domain: Domain) -> Iterator[tuple[Look, Reading]]:
        """Go through the readings of a domain."""
        for look in self.looks:
            if domain.name in look.readings:
                yield look, look.readings[domain.name]

    def counts_j(self, domain: Domain) -> list[tuple[float, float]]:
        """Return when a domain's counter was read, in s, and its values, in J."""
        return [
            (look.before_s, reading.energy_j)
            for look, reading in self.of(domain)
            if reading.energy_j is not None
        ]

    def powers_w(self, domain: Domain) -> list[float]:
        """Return the powers that a domain stated, in W."""
        return [r.power_w for _, r in self.of(domain) if r.power_w is not None]

    @property
    def pause_s(self) -> float:
        """How far reads were apart, in s."""
        begun_s = [look.before_s for look in self.looks]
        return statistics.median(b - a for a, b in pairwise(begun_s))


def observe(
    name: str, open_meter: OpenMeter, options: MeterOptions, most_w: float | None = None
) -> Observation:
    """Watch a meter for a few of its ticks.

    Args:
        name: By which ``--meter`` knows it.
        open_meter: Opens it.
        options: What opening depends on.
        most_w: More than a domain can draw, in W; ``None``: by its part, and this machine's size.

    Raises:
        GreenbatchError: It cannot be opened.
    """
    faults: dict[str, Exception] = {}
    meter = open_meter(options)
    domains = tuple(meter.domains)
    _try(faults, "follow(pid)", lambda: meter.follow(os.getpid()))
    looks = _watched(meter)
    whole, halves = _recorded(meter, faults)
    _try(faults, "follow(None)", lambda: meter.follow(None))
    for which in ("first", "second"):
        _try(faults, f"the {which} close()", meter.close)
    before = _descriptors()
    reopened: list[str] = []
    _try(faults, "opening it again", lambda: reopened.extend(_names(open_meter(options))))
    left = _left_open(before)
    with tempfile.TemporaryDirectory() as empty:
        elsewhere = MeterOptions(
            environ={**options.environ, "GB_SYSFS": empty}, argument=options.argument
        )
        _try(faults, "opening it elsewhere", lambda: _names(open_meter(elsewhere)))
    return Observation(
        name=name,
        meter=meter,
        domains=domains,
        looks=looks,
        whole=whole,
        halves=halves,
        faults=faults,
        reopened=tuple(reopened),
        descriptors=left,
        most_w={domain.name: most_w or _most_w(domain) for domain in domains},
    )


def _watched(meter: EnergyMeter) -> tuple[Look, ...]:
    pause_s = max(meter.focus_interval_s or meter.interval_s, _PAUSE_LEAST_S)
    end_s = time.perf_counter() + _window_s(meter)
    looks: list[Look] = []
    while time.perf_counter() < end_s or len(looks) < _FEWEST_LOOKS:
        before_s = time.perf_counter()
        try:
            readings, error = dict(meter.read()), None
        except Exception as raised:  # another author's code
            readings, error = {}, raised
        looks.append(Look(before_s, time.perf_counter(), readings, error))
        time.sleep(pause_s)
    return tuple(looks)


def _recorded(
    meter: EnergyMeter, faults: dict[str, Exception]
) -> tuple[tuple[EnergyFigure, ...], tuple[tuple[EnergyFigure, ...], ...]]:
    """Record a window as a run does, and ask for it and its halves."""
    try:
        with Recorder([meter]) as recorder:
            time.sleep(_window_s(meter) / 2)
            t0_s = recorder.begin()
            time.sleep(_window_s(meter) / 2)
            middle_s = time.perf_counter()
            time.sleep(_window_s(meter) / 2)
            t1_s = recorder.end()
            whole = tuple(recorder.energy(t0_s, t1_s))
            ends = ((t0_s, middle_s), (middle_s, t1_s))
            return whole, tuple(tuple(recorder.energy(*each)) for each in ends)
    except Exception as raised:
        faults["recording a window"] = raised
        return (), ()


def _window_s(meter: EnergyMeter) -> float:
    slowest_s = max([meter.interval_s, *(domain.tick_s for domain in meter.domains)])
    return min(max(_WATCHED_TICKS * slowest_s, _LEAST_S), _LONGEST_S)


def _names(meter: EnergyMeter) -> list[str]:
    with meter:
        return [domain.name for domain in meter.domains]


def _try(faults: dict[str, Exception], what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as raised:
        faults[what] = raised


def _left_open(before: int) -> int:
    """Return how many more files stay open than before.

    A thread or a server of this process may close its own a moment later.
    """
    until_s = time.monotonic() + _CLOSING_S
    while (left := _descriptors() - before) > 0 and time.monotonic() < until_s:
        time.sleep(0.01)
    return left


def _descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def _most_w(domain: Domain) -> float:
    cpu_w = max(_CPU_LEAST_W, _CPU_PER_THREAD_W * (os.cpu_count() or 1))
    gpu_w = {"gpu": _GPU_W, "npu": _GPU_W, "memory": _MEMORY_W}
    return gpu_w.get(domain.part, cpu_w)

"""What a meter is: domains that it reads, and readings of their energy or power."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeAlias

from greenbatch.errors import MeasurementError
from greenbatch.records import EnergySource

Clock: TypeAlias = Callable[[], float]
"""Tells the time in s. The same clock everywhere: `time.perf_counter`, which on Linux is the
system-wide ``CLOCK_MONOTONIC``, so that instants taken in a child process can be compared."""


class MeterLost(MeasurementError):
    """A meter that was open cannot be read at present: all of its domains are concerned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A part of the machine whose energy is told apart.

    Attributes:
        name: ``gpu-0``, ``package-0``, ``dram-0``, ...; unique over all meters of a run.
        source: How its energy is obtained as long as all goes well.
        tick_s: Period at which its counter (or its power sensor) is updated, in s.
        counts: Whether it adds to the total.
        device: What it is, for a person: the card's name and UUID, the zone's path.
        lag_s: How old a power reading may be, averaging included, in s.
        band_relative: Share of the energy by which the model behind an estimate may be wrong.
        band_power_w: The part of that band which grows with time instead, in W.
        note: What an estimate assumes; one sentence.
    """

    name: str
    source: EnergySource
    tick_s: float
    counts: bool = True
    device: str = ""
    lag_s: float = 0.0
    band_relative: float = 0.0
    band_power_w: float = 0.0
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at a domain.

    Attributes:
        energy_j: Cumulative energy since an arbitrary origin, in J; ``None`` without a counter.
        power_w: Power as the device states it, in W; ``None`` where it states none.
        reason: Why nothing could be read; then the other two are ``None``.
    """

    energy_j: float | None = None
    power_w: float | None = None
    reason: str | None = None


class Meter(Protocol):
    """Reads the energy of one or more domains; closed by leaving its context."""

    @property
    def name(self) -> str:
        """The name that ``--meter`` knows it by."""

    @property
    def domains(self) -> tuple[Domain, ...]:
        """What it reads; fixed for its life."""

    @property
    def interval_s(self) -> float:
        """How often it is to be read, in s."""

    @property
    def tick_s(self) -> float:
        """Update period of its slowest domain that counts, in s."""

    def read(self) -> Mapping[str, Reading]:
        """Read every domain now, by name; a domain that fails alone has a reading with a reason.

        Raises:
            MeterLost: Nothing can be read.
        """

    def follow(self, pid: int | None) -> None:
        """Attribute what follows to this process and its descendants; hardware ignores it."""

    def close(self) -> None:
        """Give back what was opened; a second call does nothing."""

    def __enter__(self) -> Self:
        """Return the meter."""

    def __exit__(self, *exc_info: object) -> None:
        """Close the meter."""


def _granted() -> float:
    """Count the hardware threads that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return float(len(os.sched_getaffinity(0)))
    return float(os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterOptions:
    """What opening a meter may depend on.

    Attributes:
        clock: See `Clock`.
        cores: Hardware threads granted (affinity and quota), for the estimate.
        cpu_tdp_w: Maximum power of the granted threads together, in W, where it is known better
            than the estimate's average.
        environ: The environment: ``GB_SYSFS``, ``CUDA_VISIBLE_DEVICES``.
    """

    clock: Clock = time.perf_counter
    cores: float = field(default_factory=_granted)
    cpu_tdp_w: float | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


def slowest_tick_s(domains: tuple[Domain, ...]) -> float:
    """Return the longest update period of the domains that count (of all, if none does), in s."""
    return max(domain.tick_s for domain in ([d for d in domains if d.counts] or domains))

"""What a meter is: domains that it reads, and readings of their energy or power."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeAlias

from greenbatch.errors import MeasurementError
from greenbatch.records import EnergySource
from greenbatch.runners.host.cores import granted_cores
from greenbatch.runners.metering.sensors import Sensor

BY_BUS: Mapping[str, str] = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""Environment of every process that a run starts: CUDA then numbers GPUs as NVML does."""

Clock: TypeAlias = Callable[[], float]
"""Returns the time in s. The same clock everywhere: `time.perf_counter`, which on Linux is the
system-wide ``CLOCK_MONOTONIC``, so that instants taken in a child process can be compared."""


class MeterLost(MeasurementError):
    """A meter that was open cannot be read at present: all of its domains are concerned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A part of the machine whose energy is measured by itself.

    Attributes:
        name: ``gpu-0``, ``package-0``, ``dram-0``, ...; unique over all meters of a run.
        source: How its energy is obtained as long as all goes well.
        tick_s: Period at which its counter (or its power sensor) is updated, in s.
        counts: Whether it adds to the total.
        part: Which part of the machine it reports: ``cpu``, ``memory``, ``gpu``, ``npu``,
            ``machine`` (a whole that holds others) or another word. A cell counts the GPU or NPU
            that it uses and no other, see `greenbatch.runners.metering.counting`.
        device: What it is, for a person: the card's name and UUID, the zone's path.
        vendor: Of a GPU or NPU: ``nvidia``, ``amd``, ``intel``, ``apple``; empty: not known.
        uuid: By which CUDA knows it; empty where it has none.
        range_j: Where its counter starts again from 0, in J; ``None``: never, or not known.
        power_most_w: More than it can ever draw, in W: a counter that moves faster was set anew;
            ``None``: not known.
        lag_s: How old a power reading may be, averaging included, in s.
        band_relative: Share of the energy by which the model behind an estimate, or the calibration
            of a sensor, may be wrong.
        band_power_w: The part of that band which grows with time instead, in W.
        sensor: How its power is measured; ``None``: at the instant of the reading, as far as known.
        refresh_s: How often its power was seen to change, in s; ``None``: it was not seen to.
        note: What an estimate assumes, or why the domain adds nothing; one sentence.
    """

    name: str
    source: EnergySource
    tick_s: float
    counts: bool = True
    part: str = ""
    device: str = ""
    vendor: str = ""
    uuid: str = ""
    range_j: float | None = None
    power_most_w: float | None = None
    lag_s: float = 0.0
    band_relative: float = 0.0
    band_power_w: float = 0.0
    sensor: Sensor | None = None
    refresh_s: float | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at a domain.

    Attributes:
        energy_j: The counter's value since an arbitrary origin, in J, as the hardware states it:
            wraps at `Domain.range_j`, steps back and resets are seen to later; ``None`` without
            a counter.
        power_w: Power as the device states it, in W; ``None`` where it states none.
        reason: Why nothing could be read; then the other two are ``None``.
    """

    energy_j: float | None = None
    power_w: float | None = None
    reason: str | None = None


class EnergyMeter(ABC):
    """Reads the energy of one or more domains; closed by leaving its context.

    What a meter sets: ``name``, by which ``--meter`` knows it; ``domains``, fixed for its life;
    ``interval_s``, how often it is to be read, in s; ``focus_interval_s``, how often around the
    ends of a window, where an instant decides (``None``: no more often than elsewhere). It is
    read by one thread at a time.
    """

    name: str
    domains: tuple[Domain, ...]
    interval_s: float
    focus_interval_s: float | None = None

    @classmethod
    @abstractmethod
    def open(cls, options: "MeterOptions") -> Self:
        """Find the domains.

        Raises:
            MeterUnavailable: There is nothing that it could read; why, and what mends it.
        """

    @abstractmethod
    def read(self) -> Mapping[str, Reading]:
        """Read every domain now, by name; a domain that fails alone has a reading with a reason.

        Raises:
            MeterLost: Nothing can be read.
        """

    @property
    def tick_s(self) -> float:
        """Update period of the slowest domain that counts (of all, if none does), in s."""
        counted = [domain for domain in self.domains if domain.counts]
        return max(domain.tick_s for domain in counted or self.domains)

    def follow(self, pid: int | None) -> None:  # noqa: B027  # hardware has nothing to do here
        """Attribute what follows to this process and its descendants; hardware ignores it."""

    def close(self) -> None:  # noqa: B027  # most have nothing to give back
        """Give back what was opened; a second call does nothing."""

    def __enter__(self) -> Self:
        """Return the meter."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the meter."""
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterOptions:
    """What opening a meter may depend on.

    Attributes:
        clock: See `Clock`.
        cores: Hardware threads granted (affinity and quota), for the estimate.
        cpu_tdp_w: Maximum power of the granted threads together, in W, where it is known better
            than the estimate's average.
        environ: The environment: ``GB_SYSFS``, ``CUDA_VISIBLE_DEVICES``.
        argument: What stands behind the meter's name, as in ``wall:http://plug/status#power=w``.
    """

    clock: Clock = time.perf_counter
    cores: float = field(default_factory=granted_cores)
    cpu_tdp_w: float | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    argument: str = ""

    @property
    def sysfs(self) -> Path:
        """Root of sysfs: ``$GB_SYSFS``, which a container may set, else ``/sys``."""
        return Path(self.environ.get("GB_SYSFS") or "/sys")

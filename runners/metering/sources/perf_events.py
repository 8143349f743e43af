"""CPU packages and memory through RAPL, as the kernel's perf events show it.

For users to whom powercap is closed but perf events are open: with CAP_PERFMON, or where
``kernel.perf_event_paranoid`` is 0 or less. The PMU ``power`` states below
``bus/event_source/devices/power`` its ``type``, one CPU of each package or die in ``cpumask``, and
for each event its number, scale and unit (kernel tree, arch/x86/events/rapl.c and
Documentation/ABI/testing/sysfs-bus-event_source-devices-events).
"""

import ctypes
import errno
import os
import platform
import re
import struct
from collections import Counter as Tally
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering.meter import Domain, MeterOptions
from greenbatch.runners.metering.sources.counters import RAPL_TICK_S, Counter, CounterMeter, Part

_PMU = Path("bus/event_source/devices/power")
# event: title of the domain as powercap has it, part, whether it counts
_EVENTS = {
    "energy-pkg": ("package", "cpu", True),
    "energy-ram": ("dram", "memory", True),
    "energy-cores": ("core", "cpu", False),
    "energy-gpu": ("uncore", "cpu", False),
    "energy-psys": ("psys", "machine", False),
}
_CONFIG = re.compile(r"event=(0x[0-9a-fA-F]+)")
_SYSCALLS = {"x86_64": 298, "aarch64": 241}
_ATTRIBUTES_BYTES = 64  # PERF_ATTR_SIZE_VER0
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC
_COUNT = struct.Struct("=Q")


class PerfEvent:
    """One event counted on one CPU, whatever runs there; starts at 0, 64 bits wide.

    Args:
        pmu: The PMU's type.
        config: The event's number.
        cpu: The CPU.

    Raises:
        OSError: The kernel refuses: ``EACCES`` or ``EPERM`` without the right, ``ENOENT`` or
            ``ENODEV`` where it has no such event.
    """

    def __init__(self, pmu: int, config: int, cpu: int) -> None:
        number = _SYSCALLS.get(platform.machine())
        if number is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        head = struct.pack("=IIQ", pmu, _ATTRIBUTES_BYTES, config)
        attributes = ctypes.create_string_buffer(head, _ATTRIBUTES_BYTES)
        syscall = ctypes.CDLL(None, use_errno=True).syscall
        syscall.restype = ctypes.c_long
        every_process, no_group = -1, -1
        arguments = (every_process, cpu, no_group, _CLOSE_ON_EXEC)
        self._descriptor: int = syscall(
            ctypes.c_long(number), attributes, *map(ctypes.c_long, arguments)
        )
        if self._descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def count(self) -> int:
        """Return the count.

        Raises:
            OSError: It cannot be read.
            ValueError: The kernel gives no count: the event is in error.
        """
        data = os.read(self._descriptor, _COUNT.size)
        if len(data) != _COUNT.size:
            raise ValueError("the event gives no count")
        value: int = _COUNT.unpack(data)[0]
        return value

    def close(self) -> None:
        """Stop counting."""
        os.close(self._descriptor)


class PerfCounter(Counter):
    """An energy event on one CPU; opened at the first read, and again after one that failed.

    Args:
        name: The event's, ``energy-pkg``.
        pmu, config, cpu: See `PerfEvent`.
        scale_j: The step of its count, in J.
    """

    def __init__(self, name: str, pmu: int, config: int, cpu: int, scale_j: float) -> None:
        self.where = f"perf event power/{name}/ on CPU {cpu}"
        self._key = (pmu, config, cpu)
        self._scale_j = scale_j
        self._event: PerfEvent | None = None

    def read_j(self) -> float:
        """Return the energy since the event was opened, in J."""
        if self._event is None:
            self._event = PerfEvent(*self._key)
        try:
            return self._event.count() * self._scale_j
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the event."""
        if self._event is not None:
            self._event.close()
            self._event = None

    def cure(self, error: Exception) -> str:
        """Say how to get the right, where that is what is missing."""
        if isinstance(error, PermissionError):
            return "run 'sudo sysctl kernel.perf_event_paranoid=0'"
        return ""


class PerfMeter(CounterMeter):
    """Reads the energy events of the PMU ``power``; made by `open`."""

    name = "perf"

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Find the events below ``$GB_SYSFS`` (default ``/sys``) and how often they tick.

        Raises:
            MeterUnavailable: There is no such PMU, what it states cannot be understood, one that
                counts cannot be opened or read, or a package's counter stands still.
        """
        root = options.sysfs / _PMU
        if not root.is_dir():
            raise MeterUnavailable(
                f"no energy events under {root}, as on virtual machines and Arm; on an x86 "
                "machine load them by 'sudo modprobe rapl', or pass --meter estimate"
            )
        try:
            parts = {domain.name: (domain, counter) for domain, counter in _parts(options.sysfs)}
        except (OSError, ValueError) as error:
            raise MeterUnavailable(
                f"cannot understand the energy events under {root}: {error}; pass --meter estimate"
            ) from error
        if not any(domain.counts for domain, _ in parts.values()):
            raise MeterUnavailable(
                f"neither energy-pkg nor energy-ram is among the events under {root}; "
                "pass --meter estimate"
            )
        in_order = sorted(parts.values(), key=lambda part: (not part[0].counts, part[0].name))
        return cls._probed(in_order, options.clock)


def _parts(sysfs: Path) -> Iterator[Part]:
    root = sysfs / _PMU
    pmu = int((root / "type").read_text())
    places = _places(sysfs, _cpus((root / "cpumask").read_text()))
    for event, (title, part, counts) in _EVENTS.items():
        file = root / "events" / event
        if not file.is_file():
            continue
        config = _CONFIG.fullmatch(file.read_text().strip())
        if config is None:
            raise ValueError(f"{file} holds {file.read_text().strip()!r}, wanted event=0x..")
        scale_j = _scale_j(file)
        for cpu, place in places.items():
            whole = event == "energy-psys" and len(places) == 1
            domain = Domain(
                name=title if whole else f"{title}-{place}",
                source=EnergySource.COUNTER,
                tick_s=RAPL_TICK_S,
                counts=counts,
                part=part,
                device=f"power/{event}/ on CPU {cpu}",
            )
            yield domain, PerfCounter(event, pmu, int(config[1], 16), cpu, scale_j)


def _scale_j(event: Path) -> float:
    unit = event.with_name(f"{event.name}.unit").read_text().strip()
    if unit != "Joules":
        raise ValueError(f"{event}.unit holds {unit!r}, wanted Joules")
    return float(event.with_name(f"{event.name}.scale").read_text())


def _cpus(mask: str) -> list[int]:
    """Read a list of CPUs as the kernel writes it: ``0,28`` or ``0-1``."""
    cpus: list[int] = []
    for piece in mask.strip().split(","):
        first, _, last = piece.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def _places(sysfs: Path, cpus: list[int]) -> dict[int, str]:
    """Return the package of each CPU as powercap names it: ``0``, or ``0-die-1`` of several."""
    folders = {cpu: sysfs / f"devices/system/cpu/cpu{cpu}/topology" for cpu in cpus}
    packages = {cpu: int((f / "physical_package_id").read_text()) for cpu, f in folders.items()}
    dies = Tally(packages.values())
    return {
        cpu: f"{package}-die-{int((folders[cpu] / 'die_id').read_text())}"
        if dies[package] > 1
        else f"{package}"
        for cpu, package in packages.items()
    }

"""CPU packages and memory through RAPL, as the kernel's powercap files show it.

Documentation/power/powercap in the kernel tree: each zone is a directory with ``name``,
``energy_uj`` (a counter in µJ) and ``max_energy_range_uj`` (where it wraps). A zone is known by
its name: the numbers in its path follow the order in which drivers were loaded.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering.meter import Domain, MeterOptions
from greenbatch.runners.metering.sources.counters import (
    RAPL_TICK_S,
    CounterFile,
    CounterMeter,
    Part,
)
from greenbatch.units import MICROJOULE_J

_PACKAGE = re.compile(r"package-(\d+(?:-die-\d+)?)")
_COUNTED = re.compile(r"package-.*|dram.*")
_DEPTH = 3  # the control type, a package, a part of it
_PERMISSION_CURE = "run 'gb doctor --fix-permissions'"


@dataclass(frozen=True, slots=True)
class Zone:
    """A powercap zone: the domain's name, whether it adds to the total, and where it is."""

    domain: str
    counts: bool
    path: Path

    @property
    def energy_file(self) -> Path:
        """The counter's file, in µJ."""
        return self.path / "energy_uj"

    @property
    def range_j(self) -> float | None:
        """Where the counter starts again from 0, in J; ``None`` where that cannot be read."""
        text = _text(self.path / "max_energy_range_uj")
        return int(text) * MICROJOULE_J or None if text and text.isdigit() else None

    @property
    def part(self) -> str:
        """The part of the machine that it reports."""
        title = self.domain.partition("-")[0]
        return {"dram": "memory", "psys": "machine"}.get(title, "cpu")


def find_zones(sysfs: Path) -> list[Zone]:
    """List the RAPL zones below ``sysfs``: those that count first, by name.

    ``package-N`` and the ``dram`` inside it (``dram-N``) hold energy of their own. ``core`` and
    ``uncore`` are parts of a package and ``psys`` is a whole that holds the packages: shown, not
    counted. An MMIO zone is a second door to the MSR zone of the same name, and left out. A zone
    is found where it lies inside its package or control type, or by the flat link to it.
    """
    paths = dict(_paths(sysfs / "class" / "powercap", _DEPTH))
    titles = {name: title for name, path in paths.items() if (title := _text(path / "name"))}
    zones: dict[str, Zone] = {}
    for name in sorted(titles, key=lambda name: ("mmio" in name, name)):
        domain = _domain(name, titles)
        if domain in zones:
            if "mmio" in name:
                continue
            domain = f"{domain}-{name.partition(':')[2]}"
        zones[domain] = Zone(domain, bool(_COUNTED.fullmatch(domain)), paths[name])
    return sorted(zones.values(), key=lambda zone: (not zone.counts, zone.domain))


def _paths(folder: Path, depth: int) -> Iterator[tuple[str, Path]]:
    """Walk the zones; of several ways to one, the shortest comes last."""
    for path in sorted(folder.glob("intel-rapl*")):
        if depth > 1:
            yield from _paths(path, depth - 1)
        yield path.name, path


def _domain(name: str, titles: Mapping[str, str]) -> str:
    package = _PACKAGE.fullmatch(titles.get(name.rpartition(":")[0], ""))
    return f"{titles[name]}-{package[1]}" if package else titles[name]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


class RaplMeter(CounterMeter):
    """Reads the RAPL zones of the machine, each of which is a domain; made by `open`."""

    name = "rapl"

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Find the zones below ``$GB_SYSFS`` (default ``/sys``) and how often they tick.

        Raises:
            MeterUnavailable: There is no zone, one that counts cannot be read, or a package's
                counter stands still.
        """
        zones = find_zones(options.sysfs)
        if not any(zone.counts for zone in zones):
            raise MeterUnavailable(
                f"no RAPL package under {options.sysfs / 'class' / 'powercap'}, as on virtual "
                "machines and Arm; where a container hides it, mount the host's /sys and set "
                "GB_SYSFS, or pass --meter estimate"
            )
        return cls._probed([_part(zone) for zone in zones], options.clock)


def _part(zone: Zone) -> Part:
    domain = Domain(
        name=zone.domain,
        source=EnergySource.COUNTER,
        tick_s=RAPL_TICK_S,
        counts=zone.counts,
        part=zone.part,
        device=str(zone.path),
        range_j=zone.range_j,
    )
    return domain, CounterFile(zone.energy_file, _PERMISSION_CURE)

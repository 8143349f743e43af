"""CPU packages and memory through RAPL, as the kernel's powercap files show it.

Documentation/power/powercap in the kernel tree: each zone is a directory with ``name``,
``energy_uj`` (a counter in µJ) and ``max_energy_range_uj`` (where it wraps). A zone is known by
its name: the numbers in its path follow the order in which drivers were loaded.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering.meter import Domain, EnergyMeter, MeterOptions, Reading
from greenbatch.runners.metering.ticks import probe_ticks
from greenbatch.units import MICROJOULE_J

_INTERVAL_S = 0.02
_TICK_S = 0.001  # Intel SDM volume 3B, 'RAPL interfaces': updated about every millisecond
_PROBE_LIMIT_S = 0.25
_PROBE_PAUSE_S = 0.0002
_PACKAGE = re.compile(r"package-(\d+(?:-die-\d+)?)")
_COUNTED = re.compile(r"package-.*|dram.*")


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
        range_uj = _integer(self.path / "max_energy_range_uj")
        return range_uj * MICROJOULE_J if range_uj else None

    @property
    def part(self) -> str:
        """The part of the machine that it tells."""
        title = self.domain.partition("-")[0]
        return {"dram": "memory", "psys": "machine"}.get(title, "cpu")


def find_zones(sysfs: Path) -> list[Zone]:
    """List the RAPL zones below ``sysfs``, by name.

    ``package-N`` and the ``dram`` inside it (``dram-N``) hold energy of their own. ``core`` and
    ``uncore`` are parts of a package and ``psys`` is a whole that holds the packages: shown, not
    counted. An MMIO zone is a second door to the MSR zone of the same name, and left out.
    """
    root = sysfs / "class" / "powercap"
    paths = {p.name: p for p in sorted(root.glob("intel-rapl*:*/intel-rapl*:*"))}
    paths |= {p.name: p for p in sorted(root.glob("intel-rapl*:*"))}
    zones: dict[str, Zone] = {}
    for name, path in sorted(paths.items(), key=lambda item: ("mmio" in item[0], item[0])):
        if not (path / "name").is_file():
            continue  # the control type itself has no counter
        domain = _domain(name, path, paths)
        if domain in zones:
            if "mmio" in name:
                continue
            domain = f"{domain}-{name.partition(':')[2]}"
        zones[domain] = Zone(domain, bool(_COUNTED.fullmatch(domain)), path)
    return sorted(zones.values(), key=lambda zone: (not zone.counts, zone.domain))


def _domain(name: str, path: Path, paths: Mapping[str, Path]) -> str:
    title = (path / "name").read_text().strip()
    parent = paths.get(name.rpartition(":")[0])
    if parent is None or not (parent / "name").is_file():
        return title
    package = _PACKAGE.fullmatch((parent / "name").read_text().strip())
    return f"{title}-{package[1]}" if package else title


class RaplMeter(EnergyMeter):
    """Reads the RAPL zones of the machine; made by `open`.

    Args:
        zones: The zones, each of which becomes a domain.
        ticks_s: Update period of each zone's counter by domain, in s; the hardware's 1 ms where
            it is not given.
    """

    name = "rapl"
    interval_s = _INTERVAL_S

    def __init__(self, zones: Sequence[Zone], ticks_s: Mapping[str, float] | None = None) -> None:
        self._zones = tuple(zones)
        self.domains = tuple(
            Domain(
                name=zone.domain,
                source=EnergySource.COUNTER,
                tick_s=(ticks_s or {}).get(zone.domain, _TICK_S),
                counts=zone.counts,
                part=zone.part,
                device=str(zone.path),
                range_j=zone.range_j,
            )
            for zone in zones
        )

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Find the zones below ``$GB_SYSFS`` (default ``/sys``) and how often they tick.

        Raises:
            MeterUnavailable: There is no zone, one that counts cannot be read, or a package's
                counter stands still.
        """
        sysfs = options.sysfs
        zones = find_zones(sysfs)
        if not any(zone.counts for zone in zones):
            raise MeterUnavailable(
                f"no RAPL package under {sysfs / 'class' / 'powercap'}, as on virtual machines "
                "and Arm; where a container hides it, mount the host's /sys and set GB_SYSFS, or "
                "pass --meter estimate"
            )
        readable = []
        for zone in zones:
            try:
                int(zone.energy_file.read_text())
            except (OSError, ValueError) as error:
                if zone.counts:
                    raise MeterUnavailable(_cannot_read(zone, error)) from error
                continue
            readable.append(zone)
        return cls(zones, _ticks_s(readable, options))

    def read(self) -> Mapping[str, Reading]:
        """Read every zone; one that fails has a reading with the reason."""
        return {zone.domain: _read(zone) for zone in self._zones}


def _read(zone: Zone) -> Reading:
    try:
        return Reading(energy_j=int(zone.energy_file.read_text()) * MICROJOULE_J)
    except (OSError, ValueError) as error:
        return Reading(reason=_cannot_read(zone, error))


def _ticks_s(zones: Sequence[Zone], options: MeterOptions) -> dict[str, float]:
    packages = [zone.domain for zone in zones if _PACKAGE.fullmatch(zone.domain)]
    values: dict[str, float] = {}

    def counters() -> Mapping[str, float]:
        for zone in zones:
            value_uj = _integer(zone.energy_file)
            if value_uj is not None:
                values[zone.domain] = value_uj
        return values.copy()

    periods = probe_ticks(
        counters, options.clock, _PROBE_LIMIT_S, _PROBE_PAUSE_S, wait_for=packages
    )
    for zone in zones:
        if zone.domain in packages and periods.get(zone.domain) is None:
            raise MeterUnavailable(
                f"the counter {zone.energy_file} stands still, as on virtual machines that only "
                "imitate it; pass --meter estimate"
            )
    return {domain: period_s for domain, period_s in periods.items() if period_s is not None}


def _integer(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _cannot_read(zone: Zone, error: Exception) -> str:
    path = zone.energy_file
    if isinstance(error, PermissionError):
        every = path.parents[1] / "*" / path.name
        return (
            f"cannot read {path}: permission denied; run 'sudo chmod a+r {every}' "
            "or pass --meter estimate"
        )
    cause = error.strerror if isinstance(error, OSError) else "it holds no number"
    return f"cannot read {path}: {(cause or str(error)).lower()}; pass --meter estimate"

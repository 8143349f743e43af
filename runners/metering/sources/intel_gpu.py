"""Intel's discrete GPUs (Arc, Flex, Max, Battlemage) through hwmon, drivers ``xe`` and ``i915``.

Documentation/ABI/testing/sysfs-driver-intel-xe-hwmon and ...-i915-hwmon in the kernel tree:
counters in µJ, ``energy1_input`` of the card and ``energy2_input`` of the package, which is the
chip on it; a device ``i915_gtN`` is a tile of the chip. Newer kernels label them ``card`` and
``pkg``.

The driver adds up a register of 32 bits in steps of 2^-14 J (drivers/gpu/drm/xe/xe_hwmon.c,
``xe_hwmon_energy_get``). It takes a register that falls for one that has wrapped, so a reset of
the chip adds up to 2^18 J that nobody used: `Domain.power_most_w` finds that.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Self

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering.meter import Clock, Domain, MeterOptions
from greenbatch.runners.metering.sampling.ticks import probe_ticks
from greenbatch.runners.metering.sources.counters import CounterFile, CounterMeter, Part
from greenbatch.runners.metering.sources.hwmon_devices import (
    HwmonDevice,
    find_devices,
    first_value,
    in_order,
    text_of,
)

_REGISTER_J = 2.0**32 / 2**14
_POWER_MOST_W = 2000.0  # no card draws as much; a reset in 0.2 s looks like a megawatt
_TICK_S = 0.01  # where it was not seen to tick; such a counter does not count
_PROBE_LIMIT_S, _PROBE_PAUSE_S = 0.5, 0.001
_DRIVERS = ("xe", "i915", r"i915_gt\d+")
_CARD, _PACKAGE, _TILE, _OTHER = range(4)  # from the outermost to what lies inside it
_LEVELS = {"card": _CARD, "pkg": _PACKAGE, "package": _PACKAGE}
_WITHOUT_LABEL = {1: _CARD, 2: _PACKAGE}
_ENERGY = re.compile(r"energy(\d+)_input")
_LACKS = {
    _PACKAGE: "it is the chip without the memory and the regulators of the card",
    _TILE: "it is the tiles of the chip without the rest of the card",
}


@dataclass(frozen=True, slots=True)
class _Counter:
    """A counter of a card: what it covers, the end of its domain's name, and its file."""

    level: int
    suffix: str
    file: "_CardFile"


class _CardFile(CounterFile):
    """A counter's file; nothing estimates a card, so no other meter mends it."""

    def refusal(self, error: Exception) -> str:
        """Say what is wrong, where, and how to get a missing right."""
        return "; ".join(
            filter(None, (f"cannot read {self.where}: {self.cause(error)}", self.cure(error)))
        )


class IntelGpuMeter(CounterMeter):
    """Reads the energy of each card; made by `open`."""

    name = "intel-gpu"

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Find the cards below ``$GB_SYSFS`` (default ``/sys``) and how often they tick.

        Of each card the outermost counter that ticks counts; those inside it are shown.

        Raises:
            MeterUnavailable: There is no card, a counter lacks a right to be read, or no counter
                of any card ticks.
        """
        devices = find_devices(options.sysfs, *_DRIVERS)
        devices.sort(key=lambda device: in_order(device.pci or device.owner))
        parts: list[Part] = []
        cards = groupby(devices, key=lambda device: device.pci or device.owner)
        try:
            for number, (_, group) in enumerate(cards):
                parts += _card(f"intel-gpu-{number}", list(group), options.clock)
            if not any(domain.counts for domain, _ in parts):
                raise MeterUnavailable(_nothing(options.sysfs, parts))
        except BaseException:
            for _, counter in parts:
                counter.close()
            raise
        return cls(parts)


def _card(name: str, devices: Sequence[HwmonDevice], clock: Clock) -> list[Part]:
    """Return the domains of a card, the one that counts first."""
    counters = sorted(_counters(devices), key=lambda counter: counter.level)
    faults = {counter.suffix: fault for counter in counters if (fault := _fault(counter))}
    sound = [counter for counter in counters if counter.suffix not in faults]
    ticks_s = _ticks_s(sound, clock)
    for counter in sound:
        if counter.suffix not in ticks_s:
            faults[counter.suffix] = f"the counter {counter.file.where} stands still"
    whole = (c.level for c in sound if c.suffix in ticks_s and c.level != _OTHER)
    counted = min(whole, default=None)
    parts: list[Part] = []
    for counter in counters:
        domain = Domain(
            name=name + counter.suffix,
            source=EnergySource.COUNTER,
            tick_s=ticks_s.get(counter.suffix, _TICK_S),
            counts=counter.level == counted and counter.suffix not in faults,
            part="gpu",
            vendor="intel",
            device=_described(devices[0], counter.file.path.name),
            range_j=_REGISTER_J,
            power_most_w=_POWER_MOST_W,
        )
        parts.append((replace(domain, note=_note(domain, counter, faults)), counter.file))
    return sorted(parts, key=lambda part: not part[0].counts)


def _counters(devices: Sequence[HwmonDevice]) -> Iterator[_Counter]:
    for device in devices:
        every = device.folder / "energy*_input"
        for path in sorted(device.folder.glob(every.name), key=lambda path: in_order(path.name)):
            found = _ENERGY.fullmatch(path.name)
            if not found:
                continue
            tile = device.name.partition("_gt")[2]
            label = (text_of(path.with_name(f"energy{found[1]}_label")) or "").lower()
            level = _TILE if tile else _level(label, int(found[1]))
            suffix = {_CARD: "", _PACKAGE: "-pkg", _TILE: f"-gt{tile}"}.get(
                level, f"-{label or found[1]}"
            )
            yield _Counter(level, suffix, _CardFile(path, f"run 'sudo chmod a+r {every}'"))


def _level(label: str, number: int) -> int:
    return _LEVELS.get(label, _OTHER) if label else _WITHOUT_LABEL.get(number, _OTHER)


def _fault(counter: _Counter) -> str | None:
    """Say why a counter cannot be read.

    Raises:
        MeterUnavailable: A right is missing, which can be had.
    """
    try:
        first_value(counter.file.read_j)
    except PermissionError as error:
        raise MeterUnavailable(counter.file.refusal(error)) from error
    except (OSError, ValueError) as error:
        return counter.file.refusal(error)
    return None


def _ticks_s(counters: Sequence[_Counter], clock: Clock) -> dict[str, float]:
    """Return how often each counter was seen to be updated, in s."""

    def values() -> dict[str, float]:
        found = {}
        for counter in counters:
            try:
                found[counter.suffix] = counter.file.read_j()
            except (OSError, ValueError):
                continue  # it was read before: what it cannot give now is no tick
        return found

    first = {counter.suffix: first_value(counter.file.read_j) for counter in counters}
    periods = probe_ticks(
        lambda: {suffix: values().get(suffix, first[suffix]) for suffix in first},
        clock,
        _PROBE_LIMIT_S,
        _PROBE_PAUSE_S,
    )
    return {suffix: period_s for suffix, period_s in periods.items() if period_s is not None}


def _note(domain: Domain, counter: _Counter, faults: dict[str, str]) -> str | None:
    if not domain.counts:
        fault = faults.get(counter.suffix)
        return f"{fault}; {domain.name} is left out of the total" if fault else None
    causes = [fault for suffix, fault in faults.items() if suffix != counter.suffix]
    lacks = _LACKS.get(counter.level)
    return "; ".join([*causes, lacks]) if lacks else None


def _described(device: HwmonDevice, file: str) -> str:
    """Name a card by where it is, as the number in ``hwmonN`` is another after each start."""
    place = f"PCI {device.pci}" if device.pci else device.owner
    return f"{place}, {device.name.partition('_')[0]}, {file}"


def _nothing(sysfs: Path, parts: Sequence[Part]) -> str:
    if notes := [domain.note for domain, _ in parts if domain.note]:
        return "; ".join(note.partition(";")[0] for note in notes)
    return (
        f"no energy counter of the drivers xe and i915 under {sysfs / 'class' / 'hwmon'}; a "
        "discrete Intel GPU needs Linux 6.2 (i915) or 6.5 (xe), and where a container hides it, "
        "mount the host's /sys and set GB_SYSFS"
    )

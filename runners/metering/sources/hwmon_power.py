"""CPU sockets of Arm servers through hwmon's power readings, integrated over time.

- NVIDIA Grace: ACPI power meters, driver ``acpi_power_meter`` (Documentation/hwmon/
  acpi_power_meter.rst in the kernel tree), labelled in ``power1_oem_info`` as NVIDIA's Grace
  Performance Tuning Guide lists under 'Power Telemetry': ``Module Power Socket N`` holds the GPU
  and its memory too, ``Grace Power Socket N`` is the CPU with its memory and regulators,
  ``CPU Power Socket N`` and ``SysIO Power Socket N`` are rails in it.
- Ampere Altra and X-Gene: driver ``xgene-hwmon``, whose device is ``apm_xgene``:
  ``power1_input`` 'CPU power' and ``power2_input`` 'IO power', two supplies beside each other.
- Any other ACPI power meter: the firmware does not state what it measures, most often the whole
  server; it is shown.

Values are in µW. An ACPI meter gives the mean over ``power1_average_interval`` ms, and 2^32 - 1 mW
where the firmware does not know the power (ACPI 6.5, 10.4.3 ``_PMM``).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering.meter import Clock, Domain, EnergyMeter, MeterOptions, Reading
from greenbatch.runners.metering.sampling.ticks import probe_ticks
from greenbatch.runners.metering.sensors import Sensor
from greenbatch.runners.metering.sources.hwmon_devices import (
    HwmonDevice,
    find_devices,
    first_value,
    text_of,
)

_ACPI, _XGENE = "power_meter", "apm_xgene"
_MICROWATT_W = 1e-6
_NOT_KNOWN_UW = (2**32 - 1) * 1000
_INTERVAL_S, _LONGEST_S = 0.05, 1.0
_READS = 10  # reading takes at most one part in so many of the time: some firmware is slow
_REFRESH_S = 1.0  # where it was not seen to change
_PROBE_LIMIT_S, _PROBE_PAUSE_S = 0.5, 0.005
_LABEL = re.compile(r"(\w+) Power Socket (\d+)", re.IGNORECASE)
_NAMES = {"": "acpi-{}", "module": "module-{}", "grace": "socket-{}"}
_RAILS = ("cpu", "sysio", "dram")
_NOT_STATED = "the firmware does not state what this meter measures; it is not added"
_HOLDS_GPU = "it holds the GPU with its memory, and is not added"
_ONE_RAIL = "it is a rail of the socket: regulators and what other rails feed are not in it"
_NOTES = {"module": _HOLDS_GPU, "grace": None, **dict.fromkeys(_RAILS, _ONE_RAIL)}
_SAME_LABEL = "another meter has the same label; this one is not added"


class _Sensor:
    """A file that holds a power in µW; opened for each read, as it may go and come back.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_w(self) -> float:
        """Return the power, in W.

        Raises:
            OSError: It cannot be read.
            ValueError: It holds no power.
        """
        text = self.path.read_text(errors="replace").strip()
        if not text.isdecimal():
            raise ValueError(f"it holds {text[:20]!r}, wanted a number of µW")
        if int(text) >= _NOT_KNOWN_UW:
            raise ValueError("the firmware reports that the power is not known")
        if int(text) == 0:
            raise ValueError("it reports 0 W, which nothing draws that runs")
        return int(text) * _MICROWATT_W

    def refusal(self, error: Exception) -> str:
        """Say what is wrong, where, and what mends it: one sentence."""
        cause = (getattr(error, "strerror", None) or str(error)).lower()
        if isinstance(error, PermissionError):
            cause += f"; run 'sudo chmod a+r {self.path}' or pass --meter estimate"
        return f"cannot read {self.path}: {cause}"


@dataclass(frozen=True, slots=True)
class _Part:
    domain: Domain
    sensor: _Sensor


class HwmonPowerMeter(EnergyMeter):
    """Reads the power of each socket; made by `open`.

    Args:
        parts: The domains with their sensors.
        interval_s: How often they are to be read, in s; no more often than they may be.
    """

    name = "hwmon-power"

    def __init__(self, parts: Sequence[_Part], interval_s: float) -> None:
        self.interval_s = min(max(interval_s, _INTERVAL_S), _LONGEST_S)
        self.domains = tuple(part.domain for part in parts)
        self._sensors = {part.domain.name: part.sensor for part in parts}

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Find the sensors below ``$GB_SYSFS`` (default ``/sys``) and how often they change.

        Raises:
            MeterUnavailable: There is none, or one that counts cannot be read.
        """
        acpi, xgene = (find_devices(options.sysfs, name) for name in (_ACPI, _XGENE))
        parts = _outermost([*_acpi(acpi), *_xgene(xgene)])
        if not parts:
            raise MeterUnavailable(
                f"no power of a socket under {options.sysfs / 'class' / 'hwmon'}; on NVIDIA Grace "
                "run 'sudo modprobe acpi_power_meter', on Ampere 'sudo modprobe xgene-hwmon', or "
                "pass --meter estimate"
            )
        began_s = options.clock()
        faults = {part.domain.name: fault for part in parts if (fault := _fault(part))}
        read_s = options.clock() - began_s
        if len(faults) == len(parts):
            raise MeterUnavailable("; ".join(faults.values()))
        readable = [part for part in parts if part.domain.name not in faults]
        return cls(_timed(readable, options.clock), _READS * read_s)

    def read(self) -> Mapping[str, Reading]:
        """Read every sensor; one that fails has a reading with the reason."""
        return {name: _reading(sensor) for name, sensor in self._sensors.items()}


def _reading(sensor: _Sensor) -> Reading:
    try:
        return Reading(power_w=sensor.read_w())
    except (OSError, ValueError) as error:
        return Reading(reason=sensor.refusal(error))


def _acpi(devices: Sequence[HwmonDevice]) -> Iterator[_Part]:
    """Return what ACPI meters show, but batteries."""
    for number, device in enumerate(devices):
        folder = device.folder
        path = folder / "power1_average"
        if not path.exists() or text_of(folder / "power1_is_battery") == "1":
            continue
        label = _label(folder)
        found = _LABEL.fullmatch(label)
        kind, place = (found[1].lower(), found[2]) if found else ("", str(number))
        of_cpu = kind == "grace" or kind in _RAILS
        interval_s = _milliseconds(folder / "power1_average_interval")
        inaccuracy = _inaccuracy(folder / "power1_accuracy")
        sensor = Sensor(period_s=interval_s, window_s=interval_s, gain=inaccuracy, offset_w=0.0)
        domain = Domain(
            name=_NAMES.get(kind, f"socket-{{}}-{kind}").format(place),
            source=EnergySource.INTEGRATED,
            tick_s=interval_s or _REFRESH_S,
            counts=of_cpu,
            part="cpu" if of_cpu else "machine",
            device=f"{device.owner}, {label}",
            lag_s=interval_s,
            band_relative=inaccuracy,
            sensor=sensor if interval_s else None,
            note=_NOTES.get(kind, _NOT_STATED),
        )
        yield _Part(domain, _Sensor(path))


def _xgene(devices: Sequence[HwmonDevice]) -> Iterator[_Part]:
    """Return the two supplies of each socket: the cores', and that of the rest of the chip."""
    for socket, device in enumerate(devices):
        for number, label in ((1, "CPU power"), (2, "IO power")):
            path = device.folder / f"power{number}_input"
            if path.exists() and text_of(path.with_name(f"power{number}_label")) in (label, None):
                domain = Domain(
                    name=f"socket-{socket}-{label.partition(' ')[0].lower()}",
                    source=EnergySource.INTEGRATED,
                    tick_s=_REFRESH_S,
                    part="cpu",
                    device=f"{device.owner}, {label}",
                )
                yield _Part(domain, _Sensor(path))


def _outermost(parts: Sequence[_Part]) -> list[_Part]:
    """Let a socket count rather than its rails, and of one label the first; those come first."""
    names = {part.domain.name for part in parts}
    found: dict[str, _Part] = {}
    for part in parts:
        domain = part.domain
        whole, _, rail = domain.name.rpartition("-")
        if domain.name in found:
            name = f"{domain.name}-{len(found)}"
            domain = replace(domain, name=name, counts=False, note=_SAME_LABEL)
        elif domain.counts and not rail.isdecimal() and whole in names:
            domain = replace(domain, counts=False, note=None)
        found[domain.name] = replace(part, domain=domain)
    return sorted(found.values(), key=lambda part: (not part.domain.counts, part.domain.name))


def _fault(part: _Part) -> str | None:
    """Say why a sensor that does not count cannot be read.

    Raises:
        MeterUnavailable: It counts, and cannot be read.
    """
    try:
        first_value(part.sensor.read_w)
    except (OSError, ValueError) as error:
        if part.domain.counts:
            raise MeterUnavailable(part.sensor.refusal(error)) from error
        return part.sensor.refusal(error)
    return None


def _timed(parts: Sequence[_Part], clock: Clock) -> list[_Part]:
    """Watch how often each power changes: its readings are as old as that, averaging included."""

    def values() -> dict[str, float]:
        readings = {part.domain.name: _reading(part.sensor) for part in parts}
        return {name: reading.power_w or 0.0 for name, reading in readings.items()}

    periods = probe_ticks(values, clock, _PROBE_LIMIT_S, _PROBE_PAUSE_S)
    timed = []
    for part in parts:
        domain = part.domain
        tick_s = periods.get(domain.name) or domain.tick_s
        sensor = domain.sensor and replace(domain.sensor, period_s=tick_s)
        lag_s = domain.lag_s + tick_s
        domain = replace(domain, tick_s=tick_s, lag_s=lag_s, sensor=sensor)
        timed.append(replace(part, domain=domain))
    return timed


def _milliseconds(path: Path) -> float:
    text = text_of(path) or ""
    return int(text) / 1000 if text.isdecimal() else 0.0


def _inaccuracy(path: Path) -> float:
    """Return the share by which a meter may be wrong, from ``power1_accuracy``; 0: not stated.

    The driver writes thousandths of a percent without leading zeros: ``99.50%`` is 99.050 %
    (drivers/hwmon/acpi_power_meter.c, ``show_accuracy``).
    """
    found = re.fullmatch(r"(\d+)\.(\d{1,3})%", text_of(path) or "")
    thousandths = int(found[1]) * 1000 + int(found[2]) if found else 0
    return 1 - thousandths / 100_000 if 0 < thousandths <= 100_000 else 0.0


def _label(folder: Path) -> str:
    """Return what the firmware calls a meter; the texts may lie beside its readings or behind."""
    names = ("power1_oem_info", "power1_label", "power1_model_number")
    texts = (text_of(place / name) for name in names for place in (folder, folder / "device"))
    return next((text for text in texts if text), "without a label")

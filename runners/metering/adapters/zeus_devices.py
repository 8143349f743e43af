"""AMD GPUs, Apple silicon and NVIDIA Jetson through the package zeus (https://ml.energy/zeus).

zeus is imported only where the hardware's own trace is there, as ``--meter auto`` asks for all
three everywhere. Its managers are used directly: ``get_gpus()`` would hide AMD GPUs beside
NVIDIA's. Units at zeus' edge are mJ and mW; the names here are those of zeus 0.13 to 0.16.
"""

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, Self

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering.meter import (
    Clock,
    Domain,
    EnergyMeter,
    MeterLost,
    MeterOptions,
    Reading,
)
from greenbatch.runners.metering.sampling.ticks import probe_ticks
from greenbatch.units import MILLIJOULE_J, MILLIWATT_W

_PROBE_LIMIT_S = 0.5
_PROBE_PAUSE_S = 0.002
_INTERVAL_S = 0.05
_POWER_PERIOD_S = 0.1  # our judgement: neither AMD nor NVIDIA states it for these sensors
_POWER_AVERAGE_S = 1.0
_TEGRA = (Path("/etc/nv_tegra_release"), Path("/usr/lib/aarch64-linux-gnu/tegra"))


class _ZeusGpu(Protocol):
    """What zeus has of an AMD GPU."""

    gpu_index: int

    def get_name(self) -> str:
        """Return its title."""

    def supports_get_total_energy_consumption(self) -> bool:
        """Return whether it has a counter."""

    def get_total_energy_consumption(self) -> float:
        """Return the counter, in mJ."""

    def get_instant_power_usage(self) -> float:
        """Return the power at this instant, in mW."""

    def get_average_power_usage(self) -> float:
        """Return the mean power of the last second, in mW."""


class _ZeusSoc(Protocol):
    """What zeus has of Apple silicon."""

    def get_total_energy_consumption(self) -> object:
        """Return an object with a field in mJ for each part."""


class _ZeusRail(Protocol):
    """What zeus has of a Jetson's power rail."""

    def measure_power(self) -> float:
        """Return its power, in mW."""


@dataclass(frozen=True, slots=True)
class _AmdGpu:
    name: str
    energy_mj: Callable[[], float] | None
    power_mw: Callable[[], float] | None
    silent: str = ""


class AmdMeter(EnergyMeter):
    """Reads the AMD GPUs that ``HIP_VISIBLE_DEVICES`` leaves visible, by their HIP index.

    Args:
        manager: zeus' object, kept until `close`: it shuts AMD SMI down when it is let go.
        gpus: What can be read of each GPU.
        domains: One for each.
    """

    name = "amd"
    interval_s = _INTERVAL_S

    def __init__(self, manager: object, gpus: Sequence[_AmdGpu], domains: Sequence[Domain]) -> None:
        self._manager: object = manager
        self._gpus = tuple(gpus)
        self.domains = tuple(domains)

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Find the GPUs and what they can report.

        Raises:
            MeterUnavailable: There is no AMD GPU, no zeus or no AMD SMI, or a GPU reports nothing.
        """
        kfd = options.sysfs / "class" / "kfd"
        if not kfd.exists():
            raise MeterUnavailable(
                f"no AMD GPU that can compute: {kfd} is not there; load the amdgpu driver or "
                "leave amd out"
            )
        _need("zeus", "AMD GPUs")
        try:
            from zeus.device.gpu.amd import AMDGPUs, amdsmi_is_available

            if not amdsmi_is_available():
                raise MeterUnavailable(
                    "cannot read AMD GPUs: zeus finds no working AMD SMI; install ROCm 6.2 or "
                    "newer and the package amdsmi of the same version"
                )
            manager = AMDGPUs()
            gpus = [_amd_gpu(gpu) for gpu in manager.gpus]
            titles = [str(gpu.get_name()) for gpu in manager.gpus]
        except MeterUnavailable:
            raise
        except Exception as error:  # whatever zeus and AMD SMI raise
            raise MeterUnavailable(_failed("AMD GPUs", error)) from error
        if not any(not gpu.silent for gpu in gpus):
            raise MeterUnavailable("AMD SMI lists no GPU; check HIP_VISIBLE_DEVICES")
        ticks_s = _ticks_s(
            {gpu.name: gpu.energy_mj for gpu in gpus if gpu.energy_mj}, options.clock
        )
        domains = [
            Domain(
                name=gpu.name,
                source=EnergySource.COUNTER if gpu.energy_mj else EnergySource.INTEGRATED,
                tick_s=ticks_s.get(gpu.name, _POWER_PERIOD_S),
                counts=not gpu.silent,
                part="gpu",
                device=title,
                vendor="amd",
                lag_s=_POWER_AVERAGE_S,
                note=gpu.silent or None,
            )
            for gpu, title in zip(gpus, titles, strict=True)
        ]
        return cls(manager, gpus, domains)

    def read(self) -> Mapping[str, Reading]:
        """Read energy and power of each GPU; one that fails has a reading with the reason."""
        return {gpu.name: _read_amd(gpu) for gpu in self._gpus}

    def close(self) -> None:
        """Let zeus' object go."""
        self._gpus, self._manager = (), None


def _amd_gpu(gpu: _ZeusGpu) -> _AmdGpu:
    """Find out what a GPU reports.

    Raises:
        MeterUnavailable: Nothing, and no other GPU reports it either.
    """
    name = f"amd-gpu-{gpu.gpu_index}"
    energy_mj = None
    if gpu.supports_get_total_energy_consumption():
        energy_mj = gpu.get_total_energy_consumption
    refusal: Exception | None = None
    for power_mw in (gpu.get_instant_power_usage, gpu.get_average_power_usage):
        try:
            power_mw()
        except Exception as error:  # zeus' own 'not supported', or AMD SMI's
            refusal = error
        else:
            return _AmdGpu(name, energy_mj, power_mw)
    if energy_mj:
        return _AmdGpu(name, energy_mj, None)
    if "MI250" in str(gpu.get_name()) and gpu.gpu_index % 2:
        silent = (
            f"the second chip of an MI250 has no reading of its own: amd-gpu-{gpu.gpu_index - 1} "
            "holds the energy of both"
        )
        return _AmdGpu(name, None, None, silent)
    raise MeterUnavailable(
        f"{name} reports neither energy nor power ({refusal}); hide it by HIP_VISIBLE_DEVICES "
        "or leave amd out"
    )


def _read_amd(gpu: _AmdGpu) -> Reading:
    if gpu.silent:
        return Reading(reason=gpu.silent)
    energy_j = power_w = reason = None
    try:
        if gpu.energy_mj:
            energy_j = gpu.energy_mj() * MILLIJOULE_J
    except Exception as error:
        reason = _failed(gpu.name, error)
    try:
        if gpu.power_mw:
            power_w = gpu.power_mw() * MILLIWATT_W
            if power_w == 0.0:  # a GPU that runs draws power
                power_w, reason = None, reason or f"{gpu.name} states a power of 0 W: no reading"
    except Exception as error:
        reason = reason or _failed(gpu.name, error)
    if energy_j is None and power_w is None:
        return Reading(reason=reason)
    return Reading(energy_j=energy_j, power_w=power_w)


# Domain, part, zeus' fields. A cluster's energy holds its cores' and what they share; the CPU's
# total holds the clusters'. Whether gpu_mj holds gpu_sram_mj is documented nowhere.
_APPLE_PARTS = (
    ("apple-cpu", "cpu", "cpu_total_mj"),
    ("apple-cpu-efficiency", "cpu", "efficiency_cluster_mj"),
    ("apple-cpu-performance", "cpu", "performance_cluster_mj"),
    ("apple-gpu", "gpu", "gpu_mj"),
    ("apple-gpu-sram", "gpu", "gpu_sram_mj"),
    ("apple-dram", "memory", "dram_mj"),
    ("apple-ane", "ane", "ane_mj"),
)
_APPLE_SUM = ("cpu_total_mj", "gpu_mj", "dram_mj", "ane_mj")


class AppleMeter(EnergyMeter):
    """Reads Apple silicon: ``apple-soc``, which counts, and the parts that it is the sum of.

    The sum is counted instead of its parts because a part that is switched off (the neural
    engine, the GPU of a machine without a screen) has a counter that stands still, which cannot
    be distinguished from one that is broken; the sum never stands still.

    Args:
        soc: zeus' object.
        fields: The fields that this chip reports.
        tick_s: Update period of the sum, in s.
    """

    name = "apple"
    interval_s = _INTERVAL_S

    def __init__(self, soc: _ZeusSoc, fields: Sequence[str], tick_s: float) -> None:
        self._soc: _ZeusSoc | None = soc
        self._summed = tuple(field for field in _APPLE_SUM if field in fields)
        self._parts = tuple(part for part in _APPLE_PARTS if part[2] in fields)
        whole = Domain(
            name="apple-soc",
            source=EnergySource.COUNTER,
            tick_s=tick_s,
            part="machine",
            vendor="apple",
            device="Apple silicon: " + " + ".join(self._summed),
        )
        self.domains = (
            whole,
            *(
                Domain(
                    name=name,
                    source=EnergySource.COUNTER,
                    tick_s=tick_s,
                    counts=False,
                    part=part,
                    device=f"Apple silicon: {field}",
                    vendor="apple",
                )
                for name, part, field in self._parts
            ),
        )

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Find what the chip reports.

        Raises:
            MeterUnavailable: This is no Apple silicon, zeus is not there, or it reports nothing.
        """
        if sys.platform != "darwin" or platform.machine() != "arm64":
            raise MeterUnavailable("no Apple silicon: this is not macOS on arm64; leave apple out")
        _need("zeus", "Apple silicon")
        _need("zeus_apple_silicon", "Apple silicon")
        try:
            from zeus.device.soc.apple import AppleSilicon

            soc = AppleSilicon()
            seen = soc.get_total_energy_consumption()
        except Exception as error:
            raise MeterUnavailable(_failed("Apple silicon", error)) from error
        names = {field for _, _, field in _APPLE_PARTS}
        fields = [field for field in names if _millijoules(seen, field) is not None]
        if "cpu_total_mj" not in fields:
            raise MeterUnavailable("zeus reports no energy of this chip's CPU; leave apple out")
        summed = [field for field in _APPLE_SUM if field in fields]

        def total_mj() -> float:
            now = soc.get_total_energy_consumption()
            return sum(_millijoules(now, field) or 0.0 for field in summed)

        ticks_s = _ticks_s({"apple-soc": total_mj}, options.clock)
        return cls(soc, fields, ticks_s["apple-soc"])

    def read(self) -> Mapping[str, Reading]:
        """Read all parts at once.

        Raises:
            MeterLost: zeus fails.
        """
        if self._soc is None:
            raise MeterLost("the meter apple is closed")
        try:
            seen = self._soc.get_total_energy_consumption()
        except Exception as error:
            raise MeterLost(_failed("Apple silicon", error)) from error
        return {
            "apple-soc": _summed(seen, self._summed),
            **{name: _summed(seen, (field,)) for name, _, field in self._parts},
        }

    def close(self) -> None:
        """Let zeus' object go."""
        self._soc = None


def _millijoules(seen: object, field: str) -> float | None:
    """Return a field of zeus' measurement, summed where it is a list; ``None`` as zeus means it."""
    value = getattr(seen, field, None)
    return float(sum(value)) if isinstance(value, list) else value


def _summed(seen: object, fields: Sequence[str]) -> Reading:
    values = [_millijoules(seen, field) for field in fields]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        gone = ", ".join(f for f, value in zip(fields, values, strict=True) if value is None)
        return Reading(reason=f"zeus no longer reports {gone}")
    return Reading(energy_j=sum(known) * MILLIJOULE_J)


# Domain, part, zeus' rail.
_JETSON_RAILS = (
    ("jetson-total", "machine", "total_power_mw"),
    ("jetson-cpu", "cpu", "cpu_power_mw"),
    ("jetson-gpu", "gpu", "gpu_power_mw"),
)


class JetsonMeter(EnergyMeter):
    """Reads the power rails of a Jetson module and leaves integrating them to the sampler.

    The rail ``total`` feeds the whole module: it counts where it is reported, and the CPU and the
    GPU, which it holds beside memory and converters, are shown only; without it these two count.

    zeus itself adds up energy in a process of its own, ten times a second, each power taken for
    the time before it. That process is ended here; zeus' reader of each rail is used instead.

    Args:
        rails: zeus' reader of each rail, in mW, by zeus' name.
    """

    name = "jetson"
    interval_s = _INTERVAL_S

    def __init__(self, rails: Mapping[str, _ZeusRail]) -> None:
        self._rails = {name: rails[rail] for name, _, rail in _JETSON_RAILS if rail in rails}
        whole = "jetson-total" in self._rails
        self.domains = tuple(
            Domain(
                name=name,
                source=EnergySource.INTEGRATED,
                tick_s=_POWER_PERIOD_S,
                counts=(name == "jetson-total") == whole,
                part=part,
                vendor="nvidia",
                device=f"Jetson, INA3221, {rail.removesuffix('_power_mw')}"
                + (", inside jetson-total" if whole and part != "machine" else ""),
                lag_s=_POWER_PERIOD_S,
            )
            for name, part, rail in _JETSON_RAILS
            if name in self._rails
        )

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Find the rails.

        Raises:
            MeterUnavailable: This is no Jetson, zeus is not there, or no rail can be read.
        """
        if not any(path.exists() for path in _TEGRA):
            raise MeterUnavailable(f"no Jetson: {_TEGRA[0]} is not there; leave jetson out")
        _need("zeus", "a Jetson")
        try:
            from zeus.device.soc.jetson import Jetson

            soc = Jetson()
            soc.process.terminate()
            soc.process.join()
            for rail in soc.power_measurement.values():
                rail.measure_power()
        except Exception as error:
            raise MeterUnavailable(_failed("a Jetson", error)) from error
        if not soc.power_measurement:
            raise MeterUnavailable(
                "zeus finds no power rail of this Jetson (INA3221); load its driver or leave "
                "jetson out"
            )
        return cls(soc.power_measurement)

    def read(self) -> Mapping[str, Reading]:
        """Read each rail; one that fails has a reading with the reason."""
        return {name: _read_rail(name, rail) for name, rail in self._rails.items()}


def _read_rail(name: str, rail: _ZeusRail) -> Reading:
    try:
        power_w = rail.measure_power() * MILLIWATT_W
    except Exception as error:
        return Reading(reason=_failed(name, error))
    if power_w == 0.0:  # what runs draws power
        return Reading(reason=f"the rail of {name} states a power of 0 W: no reading")
    return Reading(power_w=power_w)


def _need(package: str, what: str) -> None:
    """Refuse where a package is not installed, without importing it."""
    if find_spec(package) is None:
        raise MeterUnavailable(
            f"cannot read {what}: the Python package {package} is not installed; "
            "run pip install 'greenbatch[zeus]'"
        )


def _failed(what: str, error: Exception) -> str:
    return f"cannot read {what} through zeus: {str(error) or type(error).__name__}"


def _ticks_s(counters: Mapping[str, Callable[[], float]], clock: Clock) -> dict[str, float]:
    """Find each counter's period; one that is not seen to change is taken for a slow one."""
    if not counters:
        return {}

    def totals() -> dict[str, float]:
        return {name: read() for name, read in counters.items()}

    try:
        periods = probe_ticks(totals, clock, _PROBE_LIMIT_S, _PROBE_PAUSE_S)
    except Exception as error:
        raise MeterUnavailable(_failed(", ".join(counters), error)) from error
    return {name: period_s or _PROBE_LIMIT_S for name, period_s in periods.items()}

"""NVIDIA GPUs through NVML: the energy counter, power, and the state of each device.

``nvmlDeviceGetTotalEnergyConsumption`` (Volta and newer) counts mJ since the driver was loaded. The
field ``NVML_FI_DEV_POWER_INSTANT`` states power at once, in mW, where the driver knows it; else
``nvmlDeviceGetPowerUsage``, of which NVML's documentation says: at once on GA100 and older,
averaged over 1 s on the other Ampere cards and all newer ones. What a device can do is found by
asking it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering.conditions import DeviceState
from greenbatch.runners.metering.meter import (
    Clock,
    Domain,
    EnergyMeter,
    MeterOptions,
    Reading,
)
from greenbatch.runners.metering.processes import Processes
from greenbatch.runners.metering.sampling.ticks import probe_ticks
from greenbatch.runners.metering.sources.nvml_library import (
    Handle,
    ask,
    close_library,
    explain,
    mig_parent,
    open_library,
    visible_devices,
)
from greenbatch.runners.metering.sources.nvml_power import (
    instant_power_w,
    power_w,
    with_sensor,
)
from greenbatch.runners.metering.sources.nvml_processes import processes_of
from greenbatch.units import MILLIJOULE_J, MILLIWATT_W

_PROBE_LIMIT_S = 1.0
_PROBE_PAUSE_S = 0.001
# No whole fraction of a counter's period (20, 50, 100 ms): each tick is then seen with another
# delay, and the delays average out.
_INTERVAL_S = 0.0679
_POWER_INTERVAL_S = 0.0191  # where power samples are all there is
_POWER_PERIOD_S = 0.1  # sensors of all generations are refreshed every 20 to 100 ms
_MIG_NOTE = "MIG is on: this is the whole card, with the instances of others"
_MIG_REASON = (
    "NVML does not report the energy of the MIG instance {0!r}, only its card's; read gpu-{1} "
    "for the whole card, or name a whole GPU in CUDA_VISIBLE_DEVICES"
)
_CLOCK_HZ = 1e6  # NVML states MHz

# Bits of nvmlDeviceGetCurrentClocksEventReasons that mean 'slower than it could be'. Idle (1)
# and a clock that the user set (2) are wanted; display (0x100) does not concern computing.
_THROTTLE_REASONS = {
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Device:
    """A GPU, and what it was found to answer.

    Attributes:
        name: Of its domain.
        handle: NVML's; ``None`` for a device without.
        counter: Whether it has an energy counter.
        instant: Whether it states its power at this instant, not averaged.
        reason: Why it reports neither energy nor power.
    """

    name: str
    handle: Handle = None
    counter: bool = False
    instant: bool = False
    reason: str | None = None


class NvmlMeter(EnergyMeter):
    """Reads every GPU that ``CUDA_VISIBLE_DEVICES`` leaves visible; made by `open`."""

    name = "nvml"
    focus_interval_s = 0.001

    def __init__(self, devices: Sequence[_Device], domains: Sequence[Domain]) -> None:
        self._devices = tuple(devices)
        self.domains = tuple(domains)
        blind = any(not device.counter and not device.reason for device in devices)
        self.interval_s = _POWER_INTERVAL_S if blind else _INTERVAL_S
        self._open = True

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Initialise NVML, find what each device can report and how often its counter ticks.

        Raises:
            MeterUnavailable: No library, driver, permission or visible device, or none of the
                devices reports its energy or power.
        """
        import pynvml

        open_library()
        try:
            return cls(*_discover(options))
        except pynvml.NVMLError as error:
            close_library()
            raise MeterUnavailable(explain(error)) from error
        except BaseException:
            close_library()
            raise

    def read(self) -> Mapping[str, Reading]:
        """Read energy and power of each device; one that fails has a reading with the reason."""
        return {device.name: _read(device) for device in self._devices}

    def conditions(self) -> Mapping[str, DeviceState]:
        """Look at temperature, clock, throttling and memory of each device."""
        return {
            device.name: device_state(device.handle) for device in self._devices if device.handle
        }

    def processes(self) -> Mapping[str, Processes]:
        """List the processes on each device."""
        return {
            device.name: processes_of(device.handle) for device in self._devices if device.handle
        }

    def close(self) -> None:
        """Shut NVML down."""
        if self._open:
            self._open = False
            close_library()


def _discover(options: MeterOptions) -> tuple[list[_Device], list[Domain]]:
    import pynvml

    handles = [_handle(index) for index in range(pynvml.nvmlDeviceGetCount())]
    uuids = [str(ask(pynvml.nvmlDeviceGetUUID, handle)) for handle, _ in handles]
    spec = options.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = visible_devices(spec, uuids)
    if not chosen:
        cause = "NVML lists no GPU" if not handles else f"CUDA_VISIBLE_DEVICES={spec!r} hides all"
        raise MeterUnavailable(f"no GPU to meter: {cause}; pass --meter estimate for the CPU")
    whole = [device for device in chosen if isinstance(device, int)]
    instances = {name: mig_parent(name) for name in chosen if isinstance(name, str)}
    parents = [index for index in dict.fromkeys(instances.values()) if index not in whole]
    devices = [_device(index, *handles[index]) for index in (*whole, *parents)]
    if not any(device.reason is None for device in devices):
        raise MeterUnavailable(f"{devices[0].reason}; pass --meter estimate or --meter none")
    ticks_s, refreshes_s = _periods_s(devices, options.clock)
    domains = [
        Domain(
            name=device.name,
            source=EnergySource.COUNTER if device.counter else EnergySource.INTEGRATED,
            tick_s=ticks_s.get(device.name, _POWER_PERIOD_S),
            counts=index in whole,
            part="gpu",
            device=f"{ask(pynvml.nvmlDeviceGetName, device.handle) or 'GPU'} {uuids[index]}",
            note=_MIG_NOTE if _is_divided(device.handle) else None,
        )
        for index, device in zip((*whole, *parents), devices, strict=True)
    ]
    domains = [
        with_sensor(domain, device.handle, device.instant, refreshes_s.get(device.name))
        for domain, device in zip(domains, devices, strict=True)
    ]
    for place, (name, parent) in enumerate(instances.items()):
        instance = _Device(
            name=f"gpu-{parent}-mig-{place}", reason=_MIG_REASON.format(name, parent)
        )
        devices.append(instance)
        domains.append(
            Domain(
                name=instance.name,
                source=EnergySource.COUNTER,
                tick_s=_POWER_PERIOD_S,
                part="gpu",
                device=name,
            )
        )
    return devices, domains


def _handle(index: int) -> tuple[Handle, str | None]:
    """Return NVML's handle of a device, or ``None`` and why there is none."""
    import pynvml

    try:
        return pynvml.nvmlDeviceGetHandleByIndex(index), None
    except pynvml.NVMLError as error:
        return None, explain(error)


def _device(index: int, handle: Handle, lost: str | None) -> _Device:
    """Find by asking what a device can report."""
    import pynvml

    name = f"gpu-{index}"
    if lost:
        return _Device(name=name, reason=f"GPU {index}: {lost}")
    counter = ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle) is not None
    instant = instant_power_w(handle) is not None
    if counter or instant or ask(pynvml.nvmlDeviceGetPowerUsage, handle) is not None:
        return _Device(name=name, handle=handle, counter=counter, instant=instant)
    try:
        pynvml.nvmlDeviceGetPowerUsage(handle)
        cause = "it answers now and then only"
    except pynvml.NVMLError as error:
        cause = str(error)
    return _Device(
        name=name,
        handle=handle,
        reason=f"GPU {index} reports neither energy nor power ({cause}), as virtual GPUs do",
    )


def _is_divided(handle: Handle) -> bool:
    import pynvml

    current, _ = ask(pynvml.nvmlDeviceGetMigMode, handle) or (None, None)
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _periods_s(
    devices: Sequence[_Device], clock: Clock
) -> tuple[dict[str, float], dict[str, float | None]]:
    """Find how often each counter and the power beside it change, by watching both at once.

    Returns:
        The counters' periods, where one that is not seen to change is taken for a slow one; and
        those of power, ``None`` for one that was not seen to change.
    """
    import pynvml

    counters = {device.name: device for device in devices if device.counter}
    if not counters:
        return {}, {}

    def totals() -> dict[str, float]:
        values: dict[str, float] = {}
        for name, device in counters.items():
            values[name] = pynvml.nvmlDeviceGetTotalEnergyConsumption(device.handle)
            with suppress(pynvml.NVMLError):
                if (stated_w := power_w(device.handle, device.instant)) is not None:
                    values[f"{name} power"] = stated_w
        return values

    periods = probe_ticks(totals, clock, _PROBE_LIMIT_S, _PROBE_PAUSE_S, wait_for=counters)
    return (
        {name: periods[name] or _PROBE_LIMIT_S for name in counters},
        {name: periods.get(f"{name} power") for name in counters},
    )


def _read(device: _Device) -> Reading:
    import pynvml

    if device.reason:
        return Reading(reason=device.reason)
    energy_j = stated_w = reason = None
    if device.counter:
        try:
            energy_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(device.handle)
            energy_j = energy_mj * MILLIJOULE_J
        except pynvml.NVMLError as error:
            reason = explain(error)
    try:
        stated_w = power_w(device.handle, device.instant)
    except pynvml.NVMLError as error:
        reason = reason or explain(error)
    return Reading(energy_j=energy_j, power_w=stated_w, reason=reason)


def device_state(handle: Handle) -> DeviceState:
    """Look at a device: temperature, clocks, throttling, power limit and memory."""
    import pynvml

    temperature_c = ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
    reasons = ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if reasons is None:  # the older name, for drivers before 535
        reasons = ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
    limit_mw = ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return DeviceState(
        temperature_c=None if temperature_c is None else float(temperature_c),
        clock_hz=_clock_hz(handle, pynvml.NVML_CLOCK_SM),
        memory_clock_hz=_clock_hz(handle, pynvml.NVML_CLOCK_MEM),
        power_limit_w=None if limit_mw is None else limit_mw * MILLIWATT_W,
        throttle_reasons=tuple(n for bit, n in _THROTTLE_REASONS.items() if reasons & bit),
        memory_bytes=None if memory is None else int(memory.used),
    )


def _clock_hz(handle: Handle, kind: int) -> float | None:
    import pynvml

    clock_mhz = ask(pynvml.nvmlDeviceGetClockInfo, handle, kind)
    return None if clock_mhz is None else clock_mhz * _CLOCK_HZ

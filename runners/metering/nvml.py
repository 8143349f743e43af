"""NVIDIA GPUs through NVML: the energy counter, power, and the state of each device.

``nvmlDeviceGetTotalEnergyConsumption`` (Volta and newer) counts mJ since the driver was loaded.
``nvmlDeviceGetPowerUsage`` states mW; its documentation: at once on GA100 and older, averaged
over 1 s on the other Ampere cards and all newer ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

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
from greenbatch.runners.metering.nvml_library import (
    ask,
    close_library,
    explain,
    open_library,
    visible_devices,
)
from greenbatch.runners.metering.ticks import probe_ticks
from greenbatch.units import MILLIJOULE_J, MILLIWATT_W

_PROBE_LIMIT_S = 1.0
_PROBE_PAUSE_S = 0.001
_SHORTEST_INTERVAL_S = 0.005
_LONGEST_INTERVAL_S = 0.05
# Not a whole number: each tick is then seen with another delay, and the delays average out (the
# golden section spreads them best). With 10 every tick would be seen equally late for a while.
_READS_PER_TICK = 10.382
_POWER_PERIOD_S = 0.1  # sensors of all generations are refreshed every 20 to 100 ms
_POWER_AVERAGE_S = 1.0
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


@dataclass(frozen=True, slots=True)
class _Device:
    name: str
    handle: Any
    counter: bool


class NvmlMeter(EnergyMeter):
    """Reads every GPU that ``CUDA_VISIBLE_DEVICES`` leaves visible; made by `open`."""

    name = "nvml"

    def __init__(self, devices: Sequence[_Device], domains: Sequence[Domain]) -> None:
        self._devices = tuple(devices)
        self.domains = tuple(domains)
        fastest_s = min(domain.tick_s for domain in self.domains)
        self.interval_s = min(
            max(fastest_s / _READS_PER_TICK, _SHORTEST_INTERVAL_S), _LONGEST_INTERVAL_S
        )
        self._open = True

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Initialise NVML, find what each device can tell and how often its counter ticks.

        Raises:
            MeterUnavailable: No library, driver, permission or visible device, or none of the
                devices tells its energy or power.
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
        """Look at temperature, clock, throttling, memory and processes of each device."""
        return {device.name: _state(device.handle) for device in self._devices}

    def close(self) -> None:
        """Shut NVML down."""
        if self._open:
            self._open = False
            close_library()


def _discover(options: MeterOptions) -> tuple[list[_Device], list[Domain]]:
    import pynvml

    handles = [
        pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
    ]
    uuids = [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    spec = options.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = visible_devices(spec, uuids)
    if not chosen:
        cause = "NVML lists no GPU" if not handles else f"CUDA_VISIBLE_DEVICES={spec!r} hides all"
        raise MeterUnavailable(f"no GPU to meter: {cause}; pass --meter estimate for the CPU")
    devices = []
    for index in chosen:
        counter = ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, handles[index]) is not None
        if not counter and ask(pynvml.nvmlDeviceGetPowerUsage, handles[index]) is None:
            raise MeterUnavailable(
                f"GPU {index} ({uuids[index]}) tells neither energy nor power, as virtual GPUs "
                "do; pass --meter none or --meter estimate"
            )
        devices.append(_Device(f"gpu-{index}", handles[index], counter))
    ticks_s = _ticks_s(devices, options.clock)
    domains = [
        Domain(
            name=device.name,
            source=EnergySource.COUNTER if device.counter else EnergySource.INTEGRATED,
            tick_s=ticks_s.get(device.name, _POWER_PERIOD_S),
            part="gpu",
            device=f"{pynvml.nvmlDeviceGetName(device.handle)} {uuids[index]}",
            lag_s=_lag_s(device.handle),
        )
        for index, device in zip(chosen, devices, strict=True)
    ]
    return devices, domains


def _ticks_s(devices: Sequence[_Device], clock: Clock) -> dict[str, float]:
    """Find each counter's period; one that is not seen to change is taken for a slow one."""
    import pynvml

    counters = {device.name: device.handle for device in devices if device.counter}
    if not counters:
        return {}

    def totals() -> dict[str, float]:
        return {
            name: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            for name, handle in counters.items()
        }

    periods = probe_ticks(totals, clock, _PROBE_LIMIT_S, _PROBE_PAUSE_S)
    return {name: period_s or _PROBE_LIMIT_S for name, period_s in periods.items()}


def _lag_s(handle: Any) -> float:
    """Return how old a power reading may be, by the device's generation."""
    import pynvml

    generation = ask(pynvml.nvmlDeviceGetArchitecture, handle)
    averaged = generation is None or generation >= pynvml.NVML_DEVICE_ARCH_AMPERE
    return _POWER_AVERAGE_S if averaged else _POWER_PERIOD_S


def _read(device: _Device) -> Reading:
    import pynvml

    energy_j = power_w = reason = None
    if device.counter:
        try:
            energy_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(device.handle)
            energy_j = energy_mj * MILLIJOULE_J
        except pynvml.NVMLError as error:
            reason = explain(error)
    try:
        power_w = pynvml.nvmlDeviceGetPowerUsage(device.handle) * MILLIWATT_W
    except pynvml.NVMLError as error:
        reason = reason or explain(error)
    return Reading(energy_j=energy_j, power_w=power_w, reason=reason)


def _state(handle: Any) -> DeviceState:
    import pynvml

    temperature_c = ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
    clock_mhz = ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM)
    reasons = ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if reasons is None:  # the older name, for drivers before 535
        reasons = ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
    memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    processes = ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
    return DeviceState(
        temperature_c=None if temperature_c is None else float(temperature_c),
        clock_hz=None if clock_mhz is None else clock_mhz * _CLOCK_HZ,
        throttle_reasons=tuple(n for bit, n in _THROTTLE_REASONS.items() if reasons & bit),
        memory_bytes=None if memory is None else int(memory.used),
        pids=tuple(sorted(int(process.pid) for process in processes)),
    )

"""The state of an NVIDIA GPU around a window, as NVML reports it."""

from greenbatch.runners.metering.conditions import DeviceState
from greenbatch.runners.metering.sources.nvml_library import Handle, ask
from greenbatch.units import MILLIWATT_W

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


def device_state(handle: Handle) -> DeviceState:
    """Look at a device: temperature, clocks, throttling, power limit, memory and processes."""
    import pynvml

    temperature_c = ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
    reasons = ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if reasons is None:  # the older name, for drivers before 535
        reasons = ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
    limit_mw = ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    processes = ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
    return DeviceState(
        temperature_c=None if temperature_c is None else float(temperature_c),
        clock_hz=_clock_hz(handle, pynvml.NVML_CLOCK_SM),
        memory_clock_hz=_clock_hz(handle, pynvml.NVML_CLOCK_MEM),
        power_limit_w=None if limit_mw is None else limit_mw * MILLIWATT_W,
        throttle_reasons=tuple(n for bit, n in _THROTTLE_REASONS.items() if reasons & bit),
        memory_bytes=None if memory is None else int(memory.used),
        pids=tuple(sorted(int(process.pid) for process in processes)),
    )


def _clock_hz(handle: Handle, kind: int) -> float | None:
    import pynvml

    clock_mhz = ask(pynvml.nvmlDeviceGetClockInfo, handle, kind)
    return None if clock_mhz is None else clock_mhz * _CLOCK_HZ

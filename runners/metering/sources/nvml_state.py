"""The state of an NVIDIA GPU around a window, as NVML reports it."""

from greenbatch.runners.metering.conditions import DeviceState
from greenbatch.runners.metering.sources.nvml_library import Handle, ask
from greenbatch.units import MILLIWATT_W

_CLOCK_HZ = 1e6  # NVML states MHz
_PERCENT = 0.01

# Bits of nvmlDeviceGetCurrentClocksEventReasons that mean 'slowed down by heat, by the brake of the
# power supply or by the hardware'. Idle (0x1), a clock that the user set (0x2), clocks kept equal
# in a group (0x10) and a display (0x100) are wanted; the power limit (0x4) is how a GPU at full
# load is governed, and stands apart.
_THROTTLE_REASONS = {
    0x08: "hw_slowdown",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
}
_POWER_CAP = 0x04


def device_state(handle: Handle) -> DeviceState:
    """Look at a device: temperature, clocks, load, throttling, power limit, memory."""
    import pynvml

    temperature_c = ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
    reasons = ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if reasons is None:  # the older name, for drivers before 535
        reasons = ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    limit_mw = ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    rates = ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    return DeviceState(
        temperature_c=None if temperature_c is None else float(temperature_c),
        clock_hz=_clock_hz(handle, pynvml.NVML_CLOCK_SM),
        memory_clock_hz=_clock_hz(handle, pynvml.NVML_CLOCK_MEM),
        power_limit_w=None if limit_mw is None else limit_mw * MILLIWATT_W,
        throttle_reasons=tuple(n for bit, n in _THROTTLE_REASONS.items() if (reasons or 0) & bit),
        power_capped=None if reasons is None else bool(reasons & _POWER_CAP),
        utilization=None if rates is None else rates.gpu * _PERCENT,
        memory_utilization=None if rates is None else rates.memory * _PERCENT,
        memory_bytes=None if memory is None else int(memory.used),
    )


def _clock_hz(handle: Handle, kind: int) -> float | None:
    import pynvml

    clock_mhz = ask(pynvml.nvmlDeviceGetClockInfo, handle, kind)
    return None if clock_mhz is None else clock_mhz * _CLOCK_HZ

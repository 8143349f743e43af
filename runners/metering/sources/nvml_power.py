"""The power that NVML states: which reading, of what, how old it is, and the sensor behind it.

``NVML_FI_DEV_POWER_INSTANT`` takes a scope: the GPU, or the module that it shares with a CPU and
memory (Grace Hopper, Grace Blackwell), where the driver may answer for the module alone.
"""

from dataclasses import replace

from greenbatch.runners.metering.meter import Domain
from greenbatch.runners.metering.sensors import Sensor, of_nvidia
from greenbatch.runners.metering.sources.nvml_library import Handle, ask
from greenbatch.units import MILLIWATT_W

SCOPE_GPU, SCOPE_MODULE = 0, 1  # NVML_POWER_SCOPE_GPU, NVML_POWER_SCOPE_MODULE
_INSTANT = 186  # NVML_FI_DEV_POWER_INSTANT, since driver 530
_GA100 = (8, 0)  # its compute capability, which no other Ampere chip has


def instant_power_w(handle: Handle, scope: int) -> float | None:
    """Return the power at this instant, in W; ``None`` where device or driver do not report it."""
    import pynvml

    fields = ask(pynvml.nvmlDeviceGetFieldValues, handle, [(_INSTANT, scope)])
    if not fields or fields[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return float(fields[0].value.uiVal) * MILLIWATT_W


def power_w(handle: Handle, *, instant: bool, module: bool) -> float | None:
    """Return the power that a meter reads of a device, in W; ``None``: it gives none just now.

    Args:
        handle: NVML's.
        instant: Whether the device states its power at this instant: then a mean over a second is
            never given in its place, but asked for, as its error is the cause.
        module: Whether it is read for the whole module, of which no mean is known.

    Raises:
        pynvml.NVMLError: The device does not report it, or not now.
    """
    import pynvml

    scope = SCOPE_MODULE if module else SCOPE_GPU
    found_w = instant_power_w(handle, scope) if instant else None
    if found_w is not None or module:
        return found_w
    stated_w = float(pynvml.nvmlDeviceGetPowerUsage(handle) * MILLIWATT_W)
    return None if instant else stated_w


def with_sensor(domain: Domain, handle: Handle, instant: bool, refresh_s: float | None) -> Domain:
    """Return a domain with its sensor, by the device's generation and what was seen of it.

    Args:
        domain: Of the device.
        handle: NVML's.
        instant: Whether the power that is read is the one at this instant.
        refresh_s: How often that was seen to change; ``None``: it was not.
    """
    if handle is None:
        return domain
    sensor = _sensor(handle, instant)
    if refresh_s is not None:
        sensor = sensor.refreshed(refresh_s)
    return replace(
        domain,
        lag_s=sensor.period_s + sensor.window_s,
        band_relative=sensor.gain,
        band_power_w=sensor.offset_w,
        sensor=sensor,
        refresh_s=refresh_s,
    )


def _sensor(handle: Handle, instant: bool) -> Sensor:
    import pynvml

    capability = ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    return of_nvidia(
        ask(pynvml.nvmlDeviceGetArchitecture, handle),
        ga100=capability is not None and tuple(capability) == _GA100,
        instant=instant,
    )

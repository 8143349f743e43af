"""The power that an NVIDIA GPU states at this instant, by what it is the power of.

``NVML_FI_DEV_POWER_INSTANT`` takes a scope: the GPU, or the module that it shares with a CPU and
memory (Grace Hopper, Grace Blackwell), where the driver may answer for the module alone.
"""

from greenbatch.runners.metering.sources.nvml_library import Handle, ask
from greenbatch.units import MILLIWATT_W

SCOPE_GPU, SCOPE_MODULE = 0, 1  # NVML_POWER_SCOPE_GPU, NVML_POWER_SCOPE_MODULE
_POWER_INSTANT = 186  # NVML_FI_DEV_POWER_INSTANT, since driver 530


def instant_power_w(handle: Handle, scope: int) -> float | None:
    """Return the power at this instant, in W; ``None`` where device or driver do not report it."""
    import pynvml

    fields = ask(pynvml.nvmlDeviceGetFieldValues, handle, [(_POWER_INSTANT, scope)])
    if not fields or fields[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return float(fields[0].value.uiVal) * MILLIWATT_W

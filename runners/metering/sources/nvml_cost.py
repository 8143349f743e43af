"""What the calls of NVML cost: the time that each takes, on this machine and driver."""

import time
from collections.abc import Callable
from contextlib import suppress
from statistics import median

from greenbatch.runners.metering.sources.nvml_power import SCOPE_GPU, instant_power_w, power_w
from greenbatch.runners.metering.sources.nvml_processes import processes_of
from greenbatch.runners.metering.sources.nvml_state import device_state

_TIMES = 9
_LONGEST_S = 0.1  # of one query in all: a node of eight GPUs is not to wait for slow calls


def call_costs_s(index: int) -> dict[str, float]:
    """Time the calls that a meter makes of a device, while NVML is open.

    Args:
        index: NVML's.

    Returns:
        Median seconds by what is asked: ``energy``, ``power`` (at this instant), ``average power``,
        ``state`` (temperature, clocks, limit, memory), ``processes``. Calls that the device does
        not know cost what the refusal takes.

    Raises:
        pynvml.NVMLError: There is no such device.
    """
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    queries: dict[str, Callable[[], object]] = {
        "energy": lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle),
        "power": lambda: instant_power_w(handle, SCOPE_GPU),
        "average power": lambda: power_w(handle, instant=False, module=False),
        "state": lambda: device_state(handle),
        "processes": lambda: processes_of(handle),
    }
    return {name: median(_timed_s(query)) for name, query in queries.items()}


def _timed_s(query: Callable[[], object]) -> list[float]:
    """Time a query some times, or once where it is slow, in s."""
    import pynvml

    took_s: list[float] = []
    while len(took_s) < _TIMES and sum(took_s) < _LONGEST_S:
        began_s = time.perf_counter()
        with suppress(pynvml.NVMLError):
            query()
        took_s.append(time.perf_counter() - began_s)
    return took_s

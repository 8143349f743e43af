"""Whether the energy counter of a GPU on a superchip is the GPU's own or the whole module's.

On Grace Hopper ``nvmlDeviceGetTotalEnergyConsumption`` counts GPU, CPU and memory together
(ml-energy/zeus, pull request 172), also where the driver states the power of the GPU by itself.
NVML does not say which it is, so that the counter is compared with both powers.
"""

import time
from statistics import fmean

from greenbatch.runners.metering.sources.nvml_library import Handle, ask
from greenbatch.runners.metering.sources.nvml_power import SCOPE_GPU, SCOPE_MODULE, instant_power_w
from greenbatch.units import MILLIJOULE_J

_APART = 1.1  # a module's power over its GPU's, from which the two can be distinguished
_COMPARE_S = 0.6
_PAUSE_S = 0.01


def counts_module(handle: Handle, gpu_w: float, module_w: float) -> bool:
    """Compare the counter with the powers of the GPU and of its module for half a second.

    Args:
        handle: Of the GPU.
        gpu_w, module_w: Its power and that of its module, in W.

    Returns:
        Whether the counter follows the module; ``False`` where the two powers are alike.
    """
    import pynvml

    if module_w < _APART * gpu_w:
        return False
    ticks: list[tuple[float, int]] = []
    gpu, module = [gpu_w], [module_w]
    end_s = time.perf_counter() + _COMPARE_S
    while time.perf_counter() < end_s:
        energy_mj = ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        if energy_mj is not None and (not ticks or ticks[-1][1] != energy_mj):
            ticks.append((time.perf_counter(), energy_mj))
        gpu.append(instant_power_w(handle, SCOPE_GPU) or gpu[-1])
        module.append(instant_power_w(handle, SCOPE_MODULE) or module[-1])
        time.sleep(_PAUSE_S)
    if len(ticks) < 3:  # the first is no tick: reading began at some time after it
        return False
    (from_s, from_mj), (to_s, to_mj) = ticks[1], ticks[-1]
    counted_w = (to_mj - from_mj) * MILLIJOULE_J / (to_s - from_s)
    return abs(counted_w - fmean(module)) < abs(counted_w - fmean(gpu))

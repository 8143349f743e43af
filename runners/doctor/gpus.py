"""The GPUs that NVML lists, and all that explains their figures."""

from collections.abc import Callable
from dataclasses import dataclass

from greenbatch.errors import MeterUnavailable
from greenbatch.runners.metering.sources.nvml_library import (
    Handle,
    ask,
    close_library,
    explain,
    open_library,
)
from greenbatch.runners.metering.sources.nvml_processes import processes_of
from greenbatch.runners.metering.sources.nvml_state import device_state
from greenbatch.units import MILLIWATT_W

_MHZ = 1e6
_COMPUTE_MODES = {
    0: "default",
    1: "exclusive thread",
    2: "prohibited",
    3: "exclusive process",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU; ``None`` is 'the device or the driver does not know'.

    Attributes:
        index, name, uuid: As NVML has them.
        compute_capability: As ``9.0``.
        memory_bytes, memory_used_bytes: All of it, and what anybody uses.
        mig, ecc, persistence: Whether each mode is on.
        compute_mode: Who may use it at a time.
        power_limit_w, power_limit_default_w: In force, and as delivered.
        pcie, pcie_max: Link now and at most, as ``4.0 x16`` (it slows down at rest).
        clock_hz, clock_max_hz: Of the processors, now and at most.
        temperature_c: Now.
        headroom_c: Degrees left before the clock is lowered for heat.
        throttle_reasons: Why the clock is lower than it could be.
        pids: Processes that compute on it.
        processes_unknown: Why ``pids`` are not known, one sentence; ``None`` where they are.
    """

    index: int
    name: str | None
    uuid: str | None
    compute_capability: str | None
    memory_bytes: int | None
    memory_used_bytes: int | None
    mig: bool | None
    ecc: bool | None
    persistence: bool | None
    compute_mode: str | None
    power_limit_w: float | None
    power_limit_default_w: float | None
    pcie: str | None
    pcie_max: str | None
    clock_hz: float | None
    clock_max_hz: float | None
    temperature_c: float | None
    headroom_c: float | None
    throttle_reasons: tuple[str, ...]
    pids: tuple[int, ...]
    processes_unknown: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """All GPUs, and the driver they share.

    Attributes:
        devices: One entry each.
        driver: Its version.
        cuda: The newest CUDA that the driver supports, as ``12.4``.
        absent: Why there is none, one sentence; ``None`` where there is one.
    """

    devices: tuple[Gpu, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    absent: str | None = None


def look() -> Gpus:
    """Ask NVML for every GPU of the machine, those hidden from CUDA included."""
    try:
        open_library()
    except MeterUnavailable as error:
        return Gpus(absent=str(error).removesuffix(", or pass --meter estimate"))
    import pynvml

    try:
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        return Gpus(
            devices=tuple(_look(index, handle) for index, handle in enumerate(handles)),
            driver=ask(pynvml.nvmlSystemGetDriverVersion),
            cuda=_cuda(ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)),
            absent=None if handles else "the NVIDIA driver lists no GPU",
        )
    except pynvml.NVMLError as error:
        return Gpus(absent=explain(error))
    finally:
        close_library()


def _look(index: int, handle: Handle) -> Gpu:
    import pynvml

    state, processes = device_state(handle), processes_of(handle)
    capability = ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    clock_max_mhz = ask(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM)
    mode = ask(pynvml.nvmlDeviceGetComputeMode, handle)
    return Gpu(
        index=index,
        name=ask(pynvml.nvmlDeviceGetName, handle),
        uuid=ask(pynvml.nvmlDeviceGetUUID, handle),
        compute_capability=None if capability is None else "{}.{}".format(*capability),
        memory_bytes=None if memory is None else int(memory.total),
        memory_used_bytes=state.memory_bytes,
        mig=_current(ask(pynvml.nvmlDeviceGetMigMode, handle)),
        ecc=_current(ask(pynvml.nvmlDeviceGetEccMode, handle)),
        persistence=_on(ask(pynvml.nvmlDeviceGetPersistenceMode, handle)),
        compute_mode=None if mode is None else _COMPUTE_MODES.get(mode),
        power_limit_w=_watts(ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
        power_limit_default_w=_watts(ask(pynvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)),
        pcie=_link(
            handle,
            pynvml.nvmlDeviceGetCurrPcieLinkGeneration,
            pynvml.nvmlDeviceGetCurrPcieLinkWidth,
        ),
        pcie_max=_link(
            handle, pynvml.nvmlDeviceGetMaxPcieLinkGeneration, pynvml.nvmlDeviceGetMaxPcieLinkWidth
        ),
        clock_hz=state.clock_hz,
        clock_max_hz=None if clock_max_mhz is None else clock_max_mhz * _MHZ,
        temperature_c=state.temperature_c,
        headroom_c=_headroom_c(handle, state.temperature_c),
        throttle_reasons=state.throttle_reasons,
        pids=processes.pids,
        processes_unknown=processes.reason,
    )


def _headroom_c(handle: Handle, temperature_c: float | None) -> float | None:
    """Return the degrees left below the slowdown threshold.

    New drivers report the margin itself, which NVML's documentation prefers since Ada; older ones,
    and older versions of its Python package, know only the threshold.
    """
    import pynvml

    margin = getattr(pynvml, "nvmlDeviceGetMarginTemperature", None)
    if margin and (margin_c := ask(margin, handle)) is not None:
        return float(margin_c)
    threshold_c = ask(
        pynvml.nvmlDeviceGetTemperatureThreshold,
        handle,
        pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
    )
    if threshold_c is None or temperature_c is None:
        return None
    return float(threshold_c) - temperature_c


def _link(
    handle: Handle, generation: Callable[[Handle], int], width: Callable[[Handle], int]
) -> str | None:
    number, lanes = ask(generation, handle), ask(width, handle)
    return None if number is None or lanes is None else f"{number}.0 x{lanes}"


def _current(modes: list[int] | None) -> bool | None:
    """Return the mode in force of a pair: current, and pending after the next reset."""
    return None if modes is None else _on(modes[0])


def _on(mode: int | None) -> bool | None:
    return None if mode is None else bool(mode)


def _watts(power_mw: int | None) -> float | None:
    return None if power_mw is None else power_mw * MILLIWATT_W


def _cuda(version: int | None) -> str | None:
    return None if version is None else f"{version // 1000}.{version % 1000 // 10}"

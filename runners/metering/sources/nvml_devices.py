"""Which NVIDIA GPUs are metered, and what each was found to answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering.meter import Clock, Domain, MeterOptions
from greenbatch.runners.metering.sampling.ticks import probe_ticks
from greenbatch.runners.metering.sources.nvml_library import (
    Handle,
    ask,
    explain,
    mig_parent,
    visible_devices,
)
from greenbatch.units import MILLIWATT_W

_PROBE_LIMIT_S = 1.0
_PROBE_PAUSE_S = 0.001
_POWER_PERIOD_S = 0.1  # sensors of all generations are refreshed every 20 to 100 ms
_POWER_AVERAGE_S = 1.0
_POWER_INSTANT = 186  # NVML_FI_DEV_POWER_INSTANT, since driver 530
_MIG_NOTE = "MIG is on: this is the whole card, with the instances of others"
_MIG_REASON = (
    "NVML does not report the energy of the MIG instance {0!r}, only its card's; read gpu-{1} "
    "for the whole card, or name a whole GPU in CUDA_VISIBLE_DEVICES"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
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


def discover(options: MeterOptions) -> tuple[list[Device], list[Domain]]:
    """Find the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves visible, and a domain for each.

    Raises:
        MeterUnavailable: There is none, or none of them reports its energy or power.
    """
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
    ticks_s = _ticks_s(devices, options.clock)
    domains = [
        Domain(
            name=device.name,
            source=EnergySource.COUNTER if device.counter else EnergySource.INTEGRATED,
            tick_s=ticks_s.get(device.name, _POWER_PERIOD_S),
            counts=index in whole,
            part="gpu",
            device=f"{ask(pynvml.nvmlDeviceGetName, device.handle) or 'GPU'} {uuids[index]}",
            lag_s=_POWER_PERIOD_S if device.instant else _lag_s(device.handle),
            note=_MIG_NOTE if _is_divided(device.handle) else None,
        )
        for index, device in zip((*whole, *parents), devices, strict=True)
    ]
    for place, (name, parent) in enumerate(instances.items()):
        instance = Device(name=f"gpu-{parent}-mig-{place}", reason=_MIG_REASON.format(name, parent))
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


def _device(index: int, handle: Handle, lost: str | None) -> Device:
    """Find by asking what a device can report."""
    import pynvml

    name = f"gpu-{index}"
    if lost:
        return Device(name=name, reason=f"GPU {index}: {lost}")
    counter = ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle) is not None
    instant = instant_power_w(handle) is not None
    if counter or instant or ask(pynvml.nvmlDeviceGetPowerUsage, handle) is not None:
        return Device(name=name, handle=handle, counter=counter, instant=instant)
    try:
        pynvml.nvmlDeviceGetPowerUsage(handle)
        cause = "it answers now and then only"
    except pynvml.NVMLError as error:
        cause = str(error)
    return Device(
        name=name,
        handle=handle,
        reason=f"GPU {index} reports neither energy nor power ({cause}), as virtual GPUs do",
    )


def instant_power_w(handle: Handle) -> float | None:
    """Return the power at this instant, in W; ``None`` where device or driver do not report it."""
    import pynvml

    fields = ask(pynvml.nvmlDeviceGetFieldValues, handle, [_POWER_INSTANT])
    if not fields or fields[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return float(fields[0].value.uiVal) * MILLIWATT_W


def _is_divided(handle: Handle) -> bool:
    import pynvml

    current, _ = ask(pynvml.nvmlDeviceGetMigMode, handle) or (None, None)
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _ticks_s(devices: Sequence[Device], clock: Clock) -> dict[str, float]:
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


def _lag_s(handle: Handle) -> float:
    """Return how old a power reading may be, by the device's generation."""
    import pynvml

    generation = ask(pynvml.nvmlDeviceGetArchitecture, handle)
    averaged = generation is None or generation >= pynvml.NVML_DEVICE_ARCH_AMPERE
    return _POWER_AVERAGE_S if averaged else _POWER_PERIOD_S

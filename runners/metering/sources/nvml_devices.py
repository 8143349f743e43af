"""Which NVIDIA GPUs are metered, and what each was found to answer."""

from contextlib import suppress
from dataclasses import dataclass, replace

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
from greenbatch.runners.metering.sources.nvml_power import (
    SCOPE_GPU,
    SCOPE_MODULE,
    instant_power_w,
    power_w,
    with_sensor,
)
from greenbatch.runners.metering.sources.nvml_superchips import counts_module

_PROBE_LIMIT_S = 1.0
_PROBE_PAUSE_S = 0.001
_POWER_PERIOD_S = 0.1  # sensors of all generations are refreshed every 20 to 100 ms
_VENDOR = "nvidia"
_MIG_NOTE = "MIG is on: this is the whole card, with the instances of others"
_MIG_REASON = (
    "NVML does not report the energy of the MIG instance {0!r}, only its card's; read gpu-{1} "
    "for the whole card, or name a whole GPU in CUDA_VISIBLE_DEVICES"
)
_MIG_UNNAMED = (
    "MIG is on for GPU {0}, and NVML reports the energy of the whole card only, not of an "
    "instance; turn MIG off, or name a GPU without MIG in CUDA_VISIBLE_DEVICES"
)
_MODULE_NOTE = (
    "the power of the whole superchip: GPU, CPU and memory; no other domain of them is added"
)
_OTHER_COUNTER_NOTE = (
    "its energy counter is that of the whole superchip, so that its own power is integrated"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU, and what it was found to answer.

    Attributes:
        name: Of its domain.
        handle: NVML's; ``None`` for a device without.
        counter: Whether it has an energy counter.
        instant: Whether it states its power at this instant, not averaged.
        module: Whether it reports the whole superchip that it is a part of, not itself alone.
        still_mj: The value at which its energy counter stood while it was probed, in mJ;
            ``None`` where it was seen to move, or there is none.
        reason: Why it reports neither energy nor power.
        note: What is said of its figures.
    """

    name: str
    handle: Handle = None
    counter: bool = False
    instant: bool = False
    module: bool = False
    still_mj: int | None = None
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Periods:
    """How often devices were seen to change, by NVML's index, in s.

    Attributes:
        tick_s: Of the counter; one that was not seen to change is taken for a slow one.
        refresh_s: Of the power beside it; ``None``: it was not seen to change.
    """

    tick_s: dict[int, float]
    refresh_s: dict[int, float | None]


def discover(options: MeterOptions) -> tuple[list[Device], list[Domain]]:
    """Find the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves visible, and a domain for each.

    They are in CUDA's order: the first one that counts is the one that a process computes on
    unless it chooses another. The cards of MIG instances come last, and do not count.

    Raises:
        MeterUnavailable: There is none, or none of them reports its energy or power.
        UsageError: Which ones are visible is not certain, see `visible_devices`.
    """
    import pynvml

    handles = [_handle(index) for index in range(pynvml.nvmlDeviceGetCount())]
    uuids = [str(ask(pynvml.nvmlDeviceGetUUID, handle) or "") for handle, _ in handles]
    models = [str(ask(pynvml.nvmlDeviceGetName, handle) or "GPU") for handle, _ in handles]
    spec = options.environ.get("CUDA_VISIBLE_DEVICES")
    order = options.environ.get("CUDA_DEVICE_ORDER")
    chosen = visible_devices(spec, uuids, models, order)
    if not chosen:
        cause = "NVML lists no GPU" if not handles else f"CUDA_VISIBLE_DEVICES={spec!r} hides all"
        raise MeterUnavailable(f"no GPU to meter: {cause}; pass --meter estimate for the CPU")
    parents = {name: _mig_parent(name) for name in chosen if isinstance(name, str)}
    divided = {
        index for index in chosen if isinstance(index, int) and _is_divided(handles[index][0])
    }
    cards = list(dict.fromkeys([*(i for i in chosen if isinstance(i, int)), *parents.values()]))
    devices = {index: _device(index, *handles[index]) for index in cards}
    if not any(device.reason is None for device in devices.values()):
        first = devices[cards[0]]
        raise MeterUnavailable(f"{first.reason}; pass --meter estimate or --meter none")
    devices, periods = _probed(devices, options.clock)
    whole = {i for i in chosen if isinstance(i, int)} - divided
    found: list[tuple[Device, Domain]] = []
    for place, which in enumerate(chosen):
        if isinstance(which, str):
            parent = parents[which]
            reason = _MIG_REASON.format(which, parent)
            found.append(_instance(f"gpu-{parent}-mig-{place}", reason, which))
        elif which in divided:
            found.append(_instance(f"gpu-{which}-mig", _MIG_UNNAMED.format(which)))
        else:
            found.append(_card(which, devices[which], periods, models[which], uuids[which]))
    for index in cards:
        if index not in whole:
            device, domain = _card(index, devices[index], periods, models[index], uuids[index])
            note = _MIG_NOTE if _is_divided(device.handle) else None
            found.append((device, replace(domain, counts=False, note=note)))
    return [device for device, _ in found], [domain for _, domain in found]


def _card(
    index: int, device: Device, periods: _Periods, model: str, uuid: str
) -> tuple[Device, Domain]:
    domain = Domain(
        name=device.name,
        source=EnergySource.COUNTER if device.counter else EnergySource.INTEGRATED,
        tick_s=periods.tick_s.get(index, _POWER_PERIOD_S),
        part="machine" if device.module else "gpu",
        device=f"{model} {uuid}".rstrip(),
        vendor=_VENDOR,
        uuid=uuid,
        note=device.note,
    )
    refresh_s = periods.refresh_s.get(index)
    return device, with_sensor(domain, device.handle, device.instant, refresh_s)


def _instance(name: str, reason: str, mig_name: str = "") -> tuple[Device, Domain]:
    """Return a MIG instance, of which nothing can be read."""
    domain = Domain(
        name=name,
        source=EnergySource.COUNTER,
        tick_s=_POWER_PERIOD_S,
        part="gpu",
        device=mig_name or "a MIG instance",
        vendor=_VENDOR,
        uuid=mig_name,
    )
    return Device(name=name, reason=reason), domain


def _mig_parent(name: str) -> int:
    import pynvml

    try:
        return mig_parent(name)
    except pynvml.NVMLError as error:
        raise MeterUnavailable(
            f"CUDA_VISIBLE_DEVICES names the MIG instance {name!r}, which NVML does not find "
            f"({str(error).rstrip('.')}); name one that 'nvidia-smi -L' shows"
        ) from error


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
    gpu_w = instant_power_w(handle, SCOPE_GPU)
    module_w = instant_power_w(handle, SCOPE_MODULE)
    if gpu_w is None and module_w is not None:
        return Device(
            name=f"{name}-module",
            handle=handle,
            counter=counter,
            instant=True,
            module=True,
            note=_MODULE_NOTE,
        )
    instant = gpu_w is not None
    if counter and gpu_w and module_w and counts_module(handle, gpu_w, module_w):
        return Device(name=name, handle=handle, instant=True, note=_OTHER_COUNTER_NOTE)
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


def _is_divided(handle: Handle) -> bool:
    import pynvml

    current, _ = ask(pynvml.nvmlDeviceGetMigMode, handle) or (None, None)
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _probed(devices: dict[int, Device], clock: Clock) -> tuple[dict[int, Device], _Periods]:
    """Find how often each counter and the power beside it change, by watching both at once.

    Returns:
        The devices, and the value at which a counter stood that was not seen to move; and the
        periods.
    """
    import pynvml

    counters = {d.name: (index, d) for index, d in devices.items() if d.counter}
    if not counters:
        return devices, _Periods({}, {})
    last_mj: dict[str, float] = {}

    def totals() -> dict[str, float]:
        values: dict[str, float] = {}
        for name, (_, device) in counters.items():
            last_mj[name] = pynvml.nvmlDeviceGetTotalEnergyConsumption(device.handle)
            with suppress(pynvml.NVMLError):
                stated_w = power_w(device.handle, instant=device.instant, module=device.module)
                if stated_w is not None:
                    values[f"{name} power"] = stated_w
        return values | last_mj

    seen_s = probe_ticks(totals, clock, _PROBE_LIMIT_S, _PROBE_PAUSE_S, wait_for=counters)
    stood = {
        index: replace(device, still_mj=int(last_mj[name]))
        for name, (index, device) in counters.items()
        if seen_s[name] is None
    }
    periods = _Periods(
        tick_s={i: seen_s[name] or _PROBE_LIMIT_S for name, (i, _) in counters.items()},
        refresh_s={i: seen_s.get(f"{name} power") for name, (i, _) in counters.items()},
    )
    return {**devices, **stood}, periods

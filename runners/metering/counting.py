"""Which domains a cell counts: the device that it uses, and the host; no other device.

A node has more than a cell uses: seven more GPUs, on which others may work, or a GPU beside a
network that runs on the CPU. They are read and shown, and add nothing. The other way round, a cell
on a device that no meter reads has no total: the energy of its host would pass for the whole.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, runtime_checkable

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering.conditions import Conditioned, DeviceState
from greenbatch.runners.metering.meter import Domain, EnergyMeter, MeterOptions, Reading
from greenbatch.runners.metering.opening import Metering, is_module
from greenbatch.runners.metering.processes import ListsProcesses, Processes

_PARTS = {"cuda": "gpu", "soc": "machine"}
"""The part that a backend's device is, where it has another name."""
_DEVICE_PARTS = ("gpu", "npu")
_METERS = {"nvidia": "nvml", "amd": "amd", "apple": "apple", "intel": "intel-gpu"}
_METERS_OF_DEVICES = {"npu": "npu", "soc": "apple"}
_ABSENT_INTERVAL_S = 0.5
_OTHERS_INTERVAL_S = 0.5  # devices that are shown alone: each read keeps the driver from others


@runtime_checkable
class Divisible(Protocol):
    """A meter of several devices that can be read one by one."""

    def part(self, names: Collection[str]) -> EnergyMeter:
        """Return a meter of the domains of these names, which is open as long as this one."""


@dataclass(frozen=True, slots=True)
class CellMetering:
    """The meters as a cell counts them.

    Attributes:
        metering: Its meters; domains that the cell does not use do not count.
        uuid: Of the GPU that the cell is to compute on; empty where it has none, or it is not
            known.
    """

    metering: Metering
    uuid: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to compute on that GPU and no other."""
        return {"CUDA_VISIBLE_DEVICES": self.uuid} if self.uuid else {}

    def mismatch(self, reported: str | None) -> str | None:
        """Return what is wrong if the process computed on another GPU; ``None`` if it did not.

        Args:
            reported: The UUID that CUDA gave the process; ``None`` where it gave none.
        """
        if not self.uuid or reported is None or _same(self.uuid, reported):
            return None
        if "/" in self.uuid:  # the older name of a MIG instance holds its GPU's UUID only
            return None
        return (
            f"the process computed on the GPU {reported}, and the meter reads {self.uuid}: the "
            "energy is not that of the cell; name one GPU by its UUID in CUDA_VISIBLE_DEVICES"
        )


def for_device(metering: Metering, device: str, vendor: str = "") -> CellMetering:
    """Return the meters as a cell counts them that computes on ``device``.

    Args:
        metering: The open meters.
        device: Of its backend: ``cpu``, ``cuda``, ``gpu``, ``npu``, ``soc`` or another word.
        vendor: Whose device the backend needs; empty: anybody's.
    """
    domains = [domain for domain in metering.domains if domain.counts]
    own, refusal = _own(domains, device, vendor, metering.absent)
    counted = {domain.name for domain in domains if _counts(domain, own)}
    meters = tuple(part for meter in metering.meters for part in _parts(meter, counted))
    if refusal and metering.meters:
        taken = {domain.name for domain in metering.domains}
        name = {"cuda": "gpu"}.get(device, device)
        domain = Domain(
            name=name if name not in taken else f"{name}-unmetered",
            source=EnergySource.COUNTER,
            tick_s=_ABSENT_INTERVAL_S,
            part=_PARTS.get(device, device),
        )
        lacking = _Lacking(domain, refusal)
        return CellMetering(Metering((*meters, lacking), metering.absent))
    return CellMetering(Metering(meters, metering.absent), own.uuid if own else "")


def _own(
    domains: Sequence[Domain], device: str, vendor: str, absent: Mapping[str, str]
) -> tuple[Domain | None, str | None]:
    """Find the domain of the device that a cell uses, or say why there is none."""
    if device == "cpu":
        return None, None
    part = _PARTS.get(device, device)
    found = [
        domain
        for domain in domains
        if (domain.part == part or is_module(domain)) and _made_by(domain, vendor)
    ]
    machine = any(domain.part == "machine" and not is_module(domain) for domain in domains)
    if len(found) == 1 or (found and vendor in ("nvidia", "amd")):
        return found[0], None  # a runtime takes the first that its driver lists
    if machine:
        return None, None
    what = {"gpu": "GPU", "npu": "NPU", "machine": "SoC"}.get(part, f"device {device!r}")
    if found:
        names = ", ".join(domain.name for domain in found)
        why = f"it is not known which one of {names} the cell computes on"
    elif (meter := _METERS_OF_DEVICES.get(device, _METERS.get(vendor, ""))) in absent:
        why = f"the meter {meter} was not used: {absent[meter].rstrip('.')}"
    else:
        whose = f"{vendor.capitalize()} {what}" if vendor == "intel" else what
        why = f"no meter reads the {whose} of this machine"
    return None, (
        f"the {what} that the cell computes on is not metered ({why}), so that there is no total; "
        "'gb doctor' lists the meters, and a wall meter with counts=yes measures the whole machine"
    )


def _counts(domain: Domain, own: Domain | None) -> bool:
    """Return whether a domain that counts by itself counts in a cell too."""
    if own is not None and domain.name == own.name:
        return True
    if is_module(domain):
        return own is None
    return domain.part not in _DEVICE_PARTS


def _parts(meter: EnergyMeter, counted: Collection[str]) -> "list[_CellMeter]":
    """Return a meter as a cell counts it: what counts apart from what does not, where it can be.

    A window's ends are seen the more exactly, the fewer devices are read around them.
    """
    if not isinstance(meter, Divisible):
        return [_CellMeter(meter, counted)]
    names = {domain.name for domain in meter.domains}
    own, others = names.intersection(counted), names.difference(counted)
    parts = [_CellMeter(meter.part(own), counted)] if own else []
    if others:
        parts.append(_CellMeter(meter.part(others), counted, _OTHERS_INTERVAL_S))
    return parts


def _made_by(domain: Domain, vendor: str) -> bool:
    return not vendor or not domain.vendor or domain.vendor == vendor


def _same(one: str, other: str) -> bool:
    """Compare two UUIDs; CUDA leaves the kind (``GPU-``, ``MIG-``) out."""
    kinds = ("gpu-", "mig-")
    plain = [text.lower() for text in (one, other)]
    for kind in kinds:
        plain = [text.removeprefix(kind) for text in plain]
    return plain[0] == plain[1]


class _CellMeter(EnergyMeter):
    """A meter of which a cell counts some domains; the device states of the others are left out.

    Args:
        meter: It is read, and stays its owner's to close.
        counted: The names of domains that count.
        interval_s: How often it is to be read, in s; ``None``: as often as it asks for.
    """

    def __init__(
        self, meter: EnergyMeter, counted: Collection[str], interval_s: float | None = None
    ) -> None:
        self._meter = meter
        self.name = meter.name
        self.domains = tuple(
            replace(domain, counts=domain.name in counted) for domain in meter.domains
        )
        self.interval_s = interval_s or meter.interval_s
        # The instants of a window's ends matter only for what is counted.
        self._counted = {domain.name for domain in self.domains if domain.counts}
        self.focus_interval_s = meter.focus_interval_s if self._counted else None

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Refuse: it is made of a meter that is open."""
        raise MeterUnavailable("it is made by for_device")

    def read(self) -> Mapping[str, Reading]:
        """Read every domain."""
        return self._meter.read()

    def conditions(self) -> Mapping[str, DeviceState]:
        """Look at the devices that count."""
        if not self._counted or not isinstance(self._meter, Conditioned):
            return {}
        states = self._meter.conditions()
        return {device: state for device, state in states.items() if device in self._counted}

    def processes(self) -> Mapping[str, Processes]:
        """List the processes on the devices that count."""
        if not self._counted or not isinstance(self._meter, ListsProcesses):
            return {}
        lists = self._meter.processes()
        return {device: found for device, found in lists.items() if device in self._counted}

    def follow(self, pid: int | None) -> None:
        """Attribute what follows to this process and its descendants."""
        self._meter.follow(pid)


class _Lacking(EnergyMeter):
    """The device of a cell that no meter reads: it counts, and its energy is missing."""

    name = "none"
    interval_s = _ABSENT_INTERVAL_S

    def __init__(self, domain: Domain, reason: str) -> None:
        self._reason = reason
        self.domains = (domain,)

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Refuse: it stands for a device that cannot be read."""
        raise MeterUnavailable("it stands for a device that no meter reads")

    def read(self) -> Mapping[str, Reading]:
        """Return the reason."""
        return {domain.name: Reading(reason=self._reason) for domain in self.domains}

"""Which meters can be read here, which `auto` takes, and what it costs to read them."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from greenbatch.errors import GreenbatchError
from greenbatch.records import EnergySource
from greenbatch.runners.doctor import permissions
from greenbatch.runners.doctor.machine import Machine, text_of
from greenbatch.runners.metering import EnergyMeter, MeterOptions, open_meters
from greenbatch.runners.metering.opening import ESTIMATE, Metering, targets
from greenbatch.runners.metering.sensors import Sensor
from greenbatch.runners.metering.sources.rapl import find_zones

_COST_S = 1.0
_GPU = re.compile(r"gpu-(\d+)$")
_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainState:
    """A domain of a usable meter; the fields are those of `Domain`."""

    name: str
    source: EnergySource
    counts: bool
    tick_s: float
    device: str
    note: str | None
    sensor: Sensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterState:
    """One meter.

    Attributes:
        name: As ``--meter`` takes it.
        automatic: Whether ``--meter auto`` uses it here.
        measures: Whether it reads hardware; the estimate does not.
        interval_s: How often it is read, in s; ``None`` where it cannot be.
        domains: What it reports.
        calls_s: What each call of a driver takes, in s, by domain and what is asked.
        reason: Why it cannot be read, one sentence.
        commands: What a shell must run to mend that.
    """

    name: str
    automatic: bool = False
    measures: bool = True
    interval_s: float | None = None
    domains: tuple[DomainState, ...] = ()
    calls_s: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reason: str | None = None
    commands: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether it can be read."""
        return self.reason is None


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerCost:
    """What reading the meters takes from the CPU.

    Attributes:
        share: Of one core; ``None`` where it could not be found.
        meters: Those that were read.
        reason: Why it could not be found.
    """

    share: float | None = None
    meters: tuple[str, ...] = ()
    reason: str | None = None


def look(machine: Machine, options: MeterOptions) -> tuple[tuple[MeterState, ...], SamplerCost]:
    """Open every meter once; sample those of ``auto`` for a second.

    Args:
        machine: What is known of it, for the commands.
        options: What opening depends on.
    """
    with _automatic(options) as (metering, refusal):
        used = {meter.name: meter for meter in metering.meters}
        states = [
            _usable(used[name], automatic=True) if name in used else _alone(name, machine, options)
            for name in targets()
        ]
        cost = SamplerCost(reason=refusal) if refusal else _cost(metering)
    return tuple(states), cost


@contextmanager
def _automatic(options: MeterOptions) -> Iterator[tuple[Metering, str | None]]:
    """Open what ``auto`` opens; or nothing, and why."""
    try:
        metering = open_meters(["auto"], options)
    except GreenbatchError as error:
        yield Metering(), str(error)
        return
    with metering:
        yield metering, None


def _alone(name: str, machine: Machine, options: MeterOptions) -> MeterState:
    try:
        with open_meters([name], options) as metering:
            return _usable(metering.meters[0], automatic=False)
    except GreenbatchError as error:
        return MeterState(
            name=name,
            measures=name != ESTIMATE,
            reason=str(error),
            commands=_cures(name, machine, options.sysfs),
        )


def _calls_s(meter: EnergyMeter) -> dict[str, dict[str, float]]:
    """Time the calls of the NVIDIA driver for each GPU; those of other meters are file reads."""
    if meter.name != "nvml":
        return {}
    from greenbatch.runners.metering.sources.nvml_cost import call_costs_s

    named = ((domain.name, _GPU.match(domain.name)) for domain in meter.domains)
    devices = {name: int(found[1]) for name, found in named if found}
    return {name: call_costs_s(index) for name, index in devices.items()}


def _usable(meter: EnergyMeter, automatic: bool) -> MeterState:
    return MeterState(
        name=meter.name,
        automatic=automatic,
        measures=any(domain.source is not EnergySource.ESTIMATED for domain in meter.domains),
        interval_s=meter.interval_s,
        calls_s=_calls_s(meter),
        domains=tuple(
            DomainState(
                name=domain.name,
                source=domain.source,
                counts=domain.counts,
                tick_s=domain.tick_s,
                device=domain.device,
                note=domain.note,
                sensor=domain.sensor,
            )
            for domain in meter.domains
        ),
    )


def _cost(metering: Metering) -> SamplerCost:
    from greenbatch.runners.metering.sampling.cost import sampler_cost

    metering.follow(os.getpid())  # the estimate reads a process tree, as in a run
    share = sampler_cost(metering.meters, _COST_S)
    return SamplerCost(share=share, meters=tuple(meter.name for meter in metering.meters))


def _cures(name: str, machine: Machine, sysfs: Path) -> tuple[str, ...]:
    """Return the commands that make a meter readable, where the machine shows which they are."""
    if name == "rapl":
        if permissions.unreadable(sysfs):
            return (permissions.sudo_line(),)
        if not find_zones(sysfs) and machine.virtualized is False and sys.platform == "linux":
            return ("sudo modprobe intel_rapl_msr",)
    events = sysfs / "bus/event_source/devices/power"
    if name == "perf" and events.is_dir() and text_of(_PARANOID) not in (None, "0", "-1"):
        return ("sudo sysctl kernel.perf_event_paranoid=0",)
    return ()

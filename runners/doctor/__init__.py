"""What can be measured on this machine, what cannot and why, and what would disturb it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from greenbatch.records import EnergySource
from greenbatch.runners.doctor import backends, disturbances, gpus, machine, meters
from greenbatch.runners.doctor.backends import BackendState
from greenbatch.runners.doctor.disturbances import Disturbance
from greenbatch.runners.doctor.gpus import Gpus
from greenbatch.runners.doctor.machine import Machine
from greenbatch.runners.doctor.meters import MeterState, SamplerCost
from greenbatch.runners.metering import BY_BUS, MeterOptions

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All that was found.

    Attributes:
        machine, gpus, meters, disturbances: A part of the page each.
        backends: Another; ``None`` where they were not tried.
        sampler_cost: What reading the meters takes.
    """

    machine: Machine
    gpus: Gpus
    meters: tuple[MeterState, ...]
    backends: tuple[BackendState, ...] | None
    disturbances: tuple[Disturbance, ...]
    sampler_cost: SamplerCost

    @property
    def working_backends(self) -> tuple[str, ...]:
        """Those that can be measured."""
        return tuple(backend.name for backend in self.backends or () if backend.usable)

    @property
    def domains(self) -> dict[str, EnergySource]:
        """The domains that count in a run with ``--meter auto``, and where their energy is from."""
        return {
            domain.name: domain.source
            for meter in self.meters
            if meter.automatic
            for domain in meter.domains
            if domain.counts
        }

    @property
    def measurable(self) -> bool | None:
        """Whether anything can be measured: latency by a backend, or energy by a meter.

        ``None``: no meter can be read, and no backend was tried.
        """
        if self.working_backends or any(each.usable and each.measures for each in self.meters):
            return True
        return None if self.backends is None else False

    def as_data(self) -> dict[str, object]:
        """Return everything for JSON; ``schema_version`` changes when a member does."""
        return {
            "schema_version": SCHEMA_VERSION,
            "measurable": self.measurable,
            "working_backends": None if self.backends is None else self.working_backends,
            "domains": self.domains,
            **asdict(self),
            "meters": [asdict(each) | {"usable": each.usable} for each in self.meters],
            "backends": None
            if self.backends is None
            else [asdict(each) | {"usable": each.usable} for each in self.backends],
        }


def examine(
    on_step: Callable[[str], None] = lambda sentence: None, names: Sequence[str] | None = None
) -> Diagnosis:
    """Look at everything; most of the time is for the runtimes' import and compilation.

    Args:
        on_step: Is called with what is being looked at.
        names: Of the backends to try; ``None``: all that this system could have. None is tried if
            there are no names, and the diagnosis leaves them out.
    """
    sysfs = machine.sysfs_root()
    on_step("looking at the machine")
    this_machine = machine.look(sysfs)
    all_gpus = gpus.look()
    on_step("watching for a second what else runs")
    disturbing = disturbances.look(this_machine, all_gpus, sysfs)
    on_step("opening the meters")
    options = MeterOptions(cores=this_machine.cores_granted, environ={**os.environ, **BY_BUS})
    all_meters, cost = meters.look(this_machine, options)
    all_backends = []
    for name in backends.worth_trying() if names is None else names:
        on_step(f"trying {name}")
        all_backends.append(backends.look(name))
    return Diagnosis(
        machine=this_machine,
        gpus=all_gpus,
        meters=all_meters,
        backends=tuple(all_backends) if names is None or names else None,
        disturbances=disturbing,
        sampler_cost=cost,
    )

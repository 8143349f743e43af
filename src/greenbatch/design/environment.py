"""The environment of a run: those members of ``environment.json`` that analysis reads, typed."""

from collections.abc import Mapping, Sequence

from pydantic import Field

from greenbatch.design.recorded import Listed, Mapped, Number, Optional, Recorded, RecordedFile


class Domain(Recorded):
    """A part of a machine whose energy a meter reads."""

    name: str = ""
    counts: bool = True
    note: str | None = None


class MeterFacts(Recorded):
    """A meter that was read."""

    name: str = ""
    interval_s: Number | None = None
    tick_s: Number | None = None
    domains: Listed[Domain] = Field(default_factory=list)


class Gpu(Recorded):
    """A GPU of the machine."""

    name: str | None = None
    uuid: str | None = None
    power_limit_w: Number | None = None
    processes_unknown: str | None = None


class Machine(Recorded):
    """The machine, see `greenbatch.runners.doctor.machine`."""

    hostname: str | None = None
    cpu: str | None = None
    cores: int | None = None
    memory_bytes: Number | None = None


class Environment(RecordedFile):
    """What a run was measured on and with; empty where it was not recorded."""

    machine: Optional[Machine] = Machine()
    gpus: Listed[Gpu | str] = Field(default_factory=list)
    versions: Mapped[str | None] = Field(default_factory=dict)
    meters: Listed[MeterFacts] = Field(default_factory=list)
    meters_absent: Mapped[str | None] = Field(default_factory=dict)
    backends: Mapped[dict[str, str | None] | None] = Field(default_factory=dict)
    threads: int | None = None
    window_s: Number | None = None

    @property
    def machine_members(self) -> Mapping[str, object]:
        """All that is recorded of the machine, as it was written."""
        machine = self.members.get("machine")
        return machine if isinstance(machine, dict) else {}

    @property
    def gpu_members(self) -> Sequence[object]:
        """All that is recorded of each GPU, as it was written: members, or a name alone."""
        gpus = self.members.get("gpus")
        return gpus if isinstance(gpus, list) else []

    @property
    def domains(self) -> list[tuple[MeterFacts, Domain]]:
        """All domains, each with the meter that reads it."""
        return [(meter, domain) for meter in self.meters for domain in meter.domains]

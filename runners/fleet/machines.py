"""What a machine of a fleet says of itself before it is given work."""

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from greenbatch.runners.doctor import gpus, machine
from greenbatch.runners.host.machine_lock import boot_id
from greenbatch.runners.run.environment import versions

_LONGEST = 40  # characters of a name, as of GB_MACHINE


class MachineFacts(msgspec.Struct, frozen=True):
    """What decides whether a machine can measure a study, and with which others it may share it.

    Attributes:
        name: ``GB_MACHINE``, else the host's name.
        boot: Identifies the running system: two workers with one are on one machine.
        cpu: The processor's name.
        cores_granted: Cores that the worker may use.
        hardware_threads: Of the machine.
        memory_bytes: Of the machine.
        gpus: Names of the GPUs.
        power_limits_w: Of RAPL zones and GPUs, by name, in W.
        rapl: Names of the RAPL zones.
        governor: Who chooses the frequency.
        versions: Of what is measured and what measures, by distribution.
    """

    name: str
    boot: str
    cpu: str
    cores_granted: float
    hardware_threads: int
    memory_bytes: int
    gpus: tuple[str, ...]
    power_limits_w: dict[str, float]
    rapl: tuple[str, ...]
    governor: str
    versions: dict[str, str]

    @property
    def kind(self) -> str:
        """Machines with the same processor, cores and GPUs are of one kind."""
        parts = [self.cpu or "unknown processor", f"{self.cores_granted:g} cores"]
        for name in dict.fromkeys(self.gpus):
            count = self.gpus.count(name)
            parts.append(name if count == 1 else f"{count} x {name}")
        return ", ".join(parts)


def look() -> MachineFacts:
    """Describe this machine."""
    found = machine.look()
    devices = gpus.look().devices
    limits_w = {f"gpu-{gpu.index}": gpu.power_limit_w for gpu in devices if gpu.power_limit_w}
    zones = _zones(machine.sysfs_root())
    limits_w |= {name: limit_w for name, limit_w in zones.items() if limit_w is not None}
    return MachineFacts(
        name=fleet_name(os.environ),
        boot=boot_id(),
        cpu=found.cpu or found.architecture,
        cores_granted=found.cores_granted,
        hardware_threads=found.hardware_threads or 0,
        memory_bytes=found.memory_bytes,
        gpus=tuple(gpu.name or "GPU" for gpu in devices),
        power_limits_w=limits_w,
        rapl=tuple(zones),
        governor=found.governor or "",
        versions=versions(),
    )


def deviations(facts: MachineFacts, expected: Mapping[str, object]) -> list[str]:
    """Return how a machine deviates from what is expected of its kind, a phrase each.

    Args:
        facts: Of the machine.
        expected: ``cores`` (granted), ``hardware_threads``, ``rapl`` (names of zones), ``governor``
            and ``power_limits_w`` (by zone or GPU), as far as they are to be checked.
    """
    found: dict[str, object] = {
        "cores": facts.cores_granted,
        "hardware_threads": facts.hardware_threads,
        "rapl": sorted(facts.rapl),
        "governor": facts.governor,
        "power_limits_w": facts.power_limits_w,
    }
    phrases = []
    for name, wanted in expected.items():
        value = found[name]
        if name == "rapl" and isinstance(wanted, list | tuple):
            wanted = sorted(map(str, wanted))
        if value != wanted:
            phrases.append(f"{name} is {_shown(value)}, expected {_shown(wanted)}")
    return phrases


def expectations(facts: MachineFacts) -> dict[str, object]:
    """Return what a machine lets expect of others of its kind; see `deviations`."""
    return {
        "hardware_threads": facts.hardware_threads,
        "rapl": sorted(facts.rapl),
        "governor": facts.governor,
        "power_limits_w": facts.power_limits_w,
    }


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner:g} W" for key, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value or "none")


def fleet_name(environ: Mapping[str, str]) -> str:
    """Return what a fleet calls this machine: ``GB_MACHINE``, else its host's name."""
    given = environ.get(machine.NAME_VARIABLE) or platform.node() or "machine"
    return re.sub(r"[^\w.+-]", "-", given, flags=re.ASCII).lstrip(".-+")[:_LONGEST] or "machine"


def _zones(sysfs: Path) -> dict[str, float | None]:
    """Return the RAPL zones by name, each with its long-term power limit in W where it has one."""
    found: dict[str, float | None] = {}
    for path in sorted((sysfs / "class/powercap").glob("intel-rapl:*")):
        if name := machine.text_of(path / "name"):
            text = machine.text_of(path / "constraint_0_power_limit_uw")
            found[name] = int(text) / 1e6 if text and text.isdigit() and int(text) else None
    return found

"""What a run records of its machine, its design and its artifacts, as labelled lines of text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from greenbatch import units
from greenbatch.analysis.findings.wording import Table
from greenbatch.design.environment import Environment
from greenbatch.design.recorded import RecordedDesign

Facts = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Group:
    """Facts under one heading."""

    title: str
    facts: Facts


def environment_groups(environment: Environment) -> list[Group]:
    """Describe machine, GPUs, backends, meters and versions; what was not recorded is left out."""
    groups = [
        Group("Machine", _facts(environment.machine_members)),
        *(
            Group(f"GPU {number}", _facts(gpu if isinstance(gpu, Mapping) else {"name": gpu}))
            for number, gpu in enumerate(environment.gpu_members)
        ),
        Group("Backends", _nested(environment.backends)),
        Group("Meters", _meters(environment)),
        Group("Machine settings", _facts(_scalars(environment.members))),
        Group("Versions", _facts(environment.versions)),
    ]
    return [group for group in groups if group.facts]


def design_facts(study: RecordedDesign) -> Facts:
    """Describe the study: factors, repetitions, protocol."""
    left_out = {"schema", "artifacts", "protocol", "name"}
    facts = _facts({key: value for key, value in study.members.items() if key not in left_out})
    return facts + [(f"protocol: {k}", v) for k, v in _facts(study.protocol)]


def machine_line(environment: Environment) -> str:
    """Name the machine in one line: GPUs, processor, cores, memory."""
    machine = environment.machine
    parts = [gpu if isinstance(gpu, str) else gpu.name or "GPU" for gpu in environment.gpus]
    parts.append(machine.cpu or "")
    if machine.cores:
        parts.append(units.count(machine.cores, "core"))
    if machine.memory_bytes:
        parts.append(f"{machine.memory_bytes / (1 << 30):.3g} GiB")
    return ", ".join(part for part in parts if part)


def artifacts_table(study: RecordedDesign) -> Table:
    """List the artifacts with their weights and hashes."""
    rows = []
    for name in study.artifacts:
        artifact = study.artifact(name)
        weights = [artifact.weights.get(key) for key in ("kind", "detail")]
        rows.append(
            (
                name,
                artifact.file or "–",
                " ".join(filter(None, weights)) or "–",
                artifact.sha256[:16] or "–",
            )
        )
    columns = ("model", "artifact", "weights", "SHA-256 (first 16)")
    return Table("artifacts", "Artifacts and weights", columns, tuple(rows), (False,) * 4)


def _facts(members: Mapping[str, object]) -> Facts:
    return [
        (_label(str(key)), _text(str(key), value))
        for key, value in members.items()
        if value not in (None, "", [], {})
    ]


def _scalars(members: Mapping[str, object]) -> Mapping[str, object]:
    return {k: v for k, v in members.items() if isinstance(v, str | int | float)}


def _nested(members: Mapping[str, object]) -> Facts:
    return [
        (str(name), ", ".join(f"{k} {v}" for k, v in _facts(value)))
        for name, value in members.items()
        if isinstance(value, Mapping)
    ]


def _meters(environment: Environment) -> Facts:
    facts = []
    for meter in environment.meters:
        domains = [
            domain.name
            + ("" if domain.counts else " (not counted)")
            + (f" ({domain.note})" if domain.note else "")
            for domain in meter.domains
        ]
        text = ", ".join(domains) or "no domain"
        if meter.interval_s:
            text += f"; read every {units.si(meter.interval_s, 's')}"
        if meter.tick_s:
            text += f"; ticks every {units.si(meter.tick_s, 's')}"
        facts.append((meter.name or "meter", text))
    return facts + [(n, f"not used: {reason}") for n, reason in environment.meters_absent.items()]


def _members(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _label(key: str) -> str:
    for suffix in ("_bytes", "_s"):  # the unit goes to the value
        key = key.removesuffix(suffix)
    return key.replace("_", " ")


def _text(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if key.endswith("_bytes"):
            return f"{value / (1 << 30):.3g} GiB"
        if key.endswith("_s"):
            return units.si(value, "s")
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_text(str(k), v)}" for k, v in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(_text("", item) for item in value)
    return str(value)

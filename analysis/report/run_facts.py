"""What a run records of its machine, its design and its artifacts, as labelled lines of text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from greenbatch import units
from greenbatch.analysis.findings.wording import Table

Facts = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Group:
    """Facts under one heading."""

    title: str
    facts: Facts


def environment_groups(environment: Mapping[str, object]) -> list[Group]:
    """Describe machine, GPUs, backends, meters and versions; what was not recorded is left out."""
    groups = [
        Group("Machine", _facts(_members(environment.get("machine")))),
        *(
            Group(
                f"GPU {number}", _facts(gpu) if isinstance(gpu, Mapping) else [("name", str(gpu))]
            )
            for number, gpu in enumerate(_items(environment.get("gpus")))
        ),
        Group("Backends", _nested(_members(environment.get("backends")))),
        Group("Meters", _meters(environment)),
        Group("Machine settings", _facts(_scalars(environment))),
        Group("Versions", _facts(_members(environment.get("versions")))),
    ]
    return [group for group in groups if group.facts]


def design_facts(study: Mapping[str, object]) -> Facts:
    """Describe the study: factors, repetitions, protocol."""
    left_out = {"schema", "artifacts", "protocol", "name"}
    facts = _facts({key: value for key, value in study.items() if key not in left_out})
    return facts + [(f"protocol: {k}", v) for k, v in _facts(_members(study.get("protocol")))]


def machine_line(environment: Mapping[str, object]) -> str:
    """Name the machine in one line: GPUs, processor, cores, memory."""
    machine = _members(environment.get("machine"))
    parts = [
        str(gpu.get("name", "GPU") if isinstance(gpu, Mapping) else gpu)
        for gpu in _items(environment.get("gpus"))
    ]
    parts.append(str(machine.get("cpu") or ""))
    if cores := machine.get("cores"):
        parts.append(f"{cores} cores")
    memory = machine.get("memory_bytes")
    if isinstance(memory, int | float) and memory:
        parts.append(f"{memory / (1 << 30):.3g} GiB")
    return ", ".join(part for part in parts if part)


def artifacts_table(study: Mapping[str, object]) -> Table:
    """List the artifacts with their weights and hashes."""
    rows = []
    for model, artifact in _members(study.get("artifacts")).items():
        entry = _members(artifact)
        weights = _members(entry.get("weights"))
        rows.append(
            (
                str(model),
                str(entry.get("file") or "–"),
                " ".join(str(weights[key]) for key in ("kind", "detail") if weights.get(key))
                or "–",
                str(entry.get("sha256") or "–")[:16],
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


def _meters(environment: Mapping[str, object]) -> Facts:
    facts = []
    for meter in map(_members, _items(environment.get("meters"))):
        domains = [
            str(domain.get("name"))
            + ("" if domain.get("counts", True) else " (not counted)")
            + (f" ({domain['note']})" if domain.get("note") else "")
            for domain in map(_members, _items(meter.get("domains")))
        ]
        text = ", ".join(domains) or "no domain"
        interval_s, tick_s = meter.get("interval_s"), meter.get("tick_s")
        if isinstance(interval_s, int | float) and interval_s:
            text += f"; read every {units.si(interval_s, 's')}"
        if isinstance(tick_s, int | float) and tick_s:
            text += f"; ticks every {units.si(tick_s, 's')}"
        facts.append((str(meter.get("name", "meter")), text))
    absent = _members(environment.get("meters_absent"))
    return facts + [(str(name), f"not used: {reason}") for name, reason in absent.items()]


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

"""Which machine measures which part of a study."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from greenbatch.design.study import Study
from greenbatch.documents import DocumentError, parse_yaml
from greenbatch.errors import FileError, UsageError
from greenbatch.files import followed, read_bytes
from greenbatch.runners.fleet.machines import MachineFacts

WHOLE = "whole-study"
_KINDS_BYTES = 1_000_000
_KIND_FACTS = ("cores", "hardware_threads", "rapl", "governor", "power_limits_w")


@dataclass(frozen=True, slots=True)
class Sharing:
    """How the machines of a fleet divide a study.

    Attributes:
        each: Every machine measures everything.
        most: With ``each`` false, how many machines of each kind share the repetitions, by a part
            of the kind's name; empty: all machines share them, whatever their kind.
    """

    each: bool
    most: Mapping[str, int]

    def group(self, facts: MachineFacts) -> str | None:
        """Return the group of a machine; ``None``: it has no part in the fleet."""
        if self.each:
            return facts.name
        if not self.most:
            return "all"
        kind = facts.kind.lower()
        return next((name for name in self.most if name.lower() in kind), None)

    def limit(self, group: str) -> int | None:
        """Return how many machines a group takes; ``None``: as many as come."""
        return self.most.get(group)


def parse_sharing(text: str) -> Sharing:
    """Read ``each``, ``any`` or ``KIND=N``, several of the last with commas between.

    Raises:
        UsageError: It is none of them.
    """
    if text in ("each", "any"):
        return Sharing(text == "each", {})
    most: dict[str, int] = {}
    for part in text.split(","):
        kind, _, number = (each.strip() for each in part.rpartition("="))
        if not kind or not number.isdecimal() or not int(number):
            raise UsageError(
                f"--machines is {text!r}; write each, any or KIND=N, e.g. --machines 'EPYC 9354=4'"
            )
        most[kind] = int(number)
    return Sharing(False, most)


def read_kinds(path: Path) -> dict[str, dict[str, object]]:
    """Read what is expected of machines, by a part of the name of their kind, from a YAML file.

    Raises:
        UsageError: It is no mapping of kinds to facts that are checked.
    """
    example = "'EPYC 9354: {cores: 64, governor: performance}'"
    try:
        found = parse_yaml(read_bytes(followed(path), _KINDS_BYTES))
    except (OSError, DocumentError, FileError) as error:
        raise UsageError(f"cannot read --kinds {path}: {error}; write e.g. {example}") from error
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise UsageError(f"--kinds {path} holds no mapping of kinds; write e.g. {example}")
    for kind, facts in found.items():
        if unknown := sorted(map(str, facts.keys() - _KIND_FACTS)):
            raise UsageError(
                f"--kinds {path} names {unknown[0]!r} of {kind}; valid: {', '.join(_KIND_FACTS)}"
            )
    return {str(kind): dict(facts) for kind, facts in found.items()}


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a study that one machine measures without a break.

    Attributes:
        name: e.g. ``block-0003``.
        blocks: Numbers of its blocks; ``None``: the whole study.
    """

    name: str
    blocks: tuple[int, ...] | None


def units_of(study: Study, *, whole: bool) -> list[Unit]:
    """Divide a study into units: its blocks, or the whole of it.

    A study with a budget has no blocks that are known beforehand.
    """
    if whole or study.budget is not None:
        return [Unit(WHOLE, None)]
    most = study.max_repetitions or study.repetitions
    return [Unit(f"block-{block:04}", (block,)) for block in range(most)]


def check_divisible(study: Study, sharing: Sharing, *, whole: bool) -> None:
    """Refuse a study whose repetitions cannot be shared by several machines.

    Raises:
        UsageError: What is measured next depends on all repetitions so far.
    """
    if sharing.each:
        return
    cause = ""
    if study.budget is not None:
        cause = "has a budget"
    elif study.precision_target is not None:
        cause = "has a precision_target"
    elif whole:
        cause = "is measured whole (--unit study)"
    if cause:
        raise UsageError(
            f"the study {cause}, so machines cannot share its repetitions; use --machines each"
        )


def dealt(units: Iterable[Unit], machines: list[str]) -> dict[str, list[Unit]]:
    """Deal units to machines in turn."""
    found: dict[str, list[Unit]] = {name: [] for name in machines}
    for number, unit in enumerate(units):
        found[machines[number % len(machines)]].append(unit)
    return found

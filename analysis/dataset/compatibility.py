"""What two runs must share to become one dataset, and what differs between them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.described import design_of, environment_of
from greenbatch.analysis.dataset.energy_basis import models_of_estimates
from greenbatch.design.environment import Environment, Gpu
from greenbatch.errors import RunError, UsageError
from greenbatch.privacy import masked
from greenbatch.records.estimate import facts_of_estimate

if TYPE_CHECKING:
    import xarray as xr

_IDENTITY = (
    "name",
    "id",
    "hostname",  # of runs before machines had an id
    "cpu",
    "architecture",
    "sockets",
    "cores",
    "hardware_threads",
)
_CONDITIONS = ("cores_granted", "smt", "governor", "boost")
_DESIGN = (
    "models",
    "backends",
    "precisions",
    "io",
    "scenarios",
    "batch_sizes",
    "settings",
    "rates",
    "arrivals",
    "policies",
)
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run says of itself, each as a short text by its name.

    Attributes:
        machine: What identifies the machine.
        everywhere: What must be the same on any machine: ``artifact.alexnet``,
            ``protocol.window_s``, ``version.torch``, ``energy``, ...
        in_place: What must be the same, besides, for repetitions of one design.
    """

    machine: Mapping[str, str]
    everywhere: Mapping[str, str]
    in_place: Mapping[str, str]


def facts_of(dataset: "xr.Dataset") -> Facts:
    """Gather the facts from a dataset's attributes; what was not recorded is left out."""
    study, environment = design_of(dataset), environment_of(dataset)
    machine = environment.machine_members
    gpus = [gpu for gpu in environment.gpus if isinstance(gpu, Gpu)]
    memory = environment.machine.memory_bytes
    identity: dict[str, object] = {name: machine.get(name) for name in _IDENTITY} | {
        "memory": f"{memory / (1 << 30):.0f} GiB" if memory else None,
        "gpus": ", ".join(masked(str(gpu.uuid or gpu.name)) for gpu in gpus),
    }
    provenance = dataset.attrs.get("energy_provenance")
    everywhere: dict[str, object] = {
        f"artifact.{name}": study.artifact(name).sha256[:12] for name in study.artifacts
    }
    everywhere |= {f"protocol.{k}": v for k, v in study.protocol.items()}
    everywhere |= {f"version.{k}": v for k, v in environment.versions.items()}
    everywhere |= {
        "threads": study.threads,
        "energy": provenance if provenance != "missing" else None,
    }
    limits_w = [gpu.power_limit_w for gpu in gpus if gpu.power_limit_w]
    in_place = {f"machine.{name}": machine.get(name) for name in _CONDITIONS} | {
        "machine.power_limit_w": limits_w,
        "machine.threads": environment.threads,
        "domains": _domains(environment),
        "energy.estimate": [
            str(fact) for model in models_of_estimates(dataset) for fact in facts_of_estimate(model)
        ],
        **{f"design.{name}": study.members.get(name) for name in _DESIGN},
    }
    return Facts(_texts(identity), _texts(everywhere), _texts(in_place))


def _domains(environment: Environment) -> list[str]:
    """List the energy domains with the meter that reads each."""
    return sorted(f"{meter.name}: {domain.name}" for meter, domain in environment.domains)


def _texts(facts: Mapping[str, object]) -> dict[str, str]:
    return {
        name: _text(value) for name, value in facts.items() if value not in (None, "", [], {}, ())
    }


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}={_text(inner)}" for key, inner in sorted(value.items()))
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


def check_alike(
    facts: Mapping[str, Facts], allow: Collection[str], *, one_machine: bool
) -> list[str]:
    """Refuse incompatible runs.

    Across machines a fact counts where both runs have it: a machine without a GPU lacks a
    package, and measured other models' artifacts. On one machine its absence is a difference.

    Args:
        facts: By the name of the run.
        allow: Facts that may differ, by name, or by what stands before its point
            (``version``).
        one_machine: Whether the runs shall be repetitions of one design on one machine.

    Returns:
        What differs and was allowed, a phrase each.

    Raises:
        RunError: Something differs that is not allowed.
    """
    allowed: list[tuple[str, str]] = []
    refused: list[tuple[str, str]] = []
    reported = {name: _reported(one, one_machine=one_machine) for name, one in facts.items()}
    for a, b in combinations(reported, 2):
        for name in dict.fromkeys((*reported[a], *reported[b])):
            ours, theirs = reported[a].get(name), reported[b].get(name)
            if ours == theirs or (not one_machine and None in (ours, theirs)):
                continue
            phrase = f"{name} is {_shown(ours)} in {a} and {_shown(theirs)} in {b}"
            (allowed if _matches(name, allow) else refused).append((name, phrase))
    if not refused:
        return [phrase for _, phrase in allowed]
    phrases = [phrase for _, phrase in refused[:_SHOWN]]
    names = dict.fromkeys(name for name, _ in refused)
    more = len(refused) - len(phrases)
    raise RunError(
        f"incompatible runs: {'; '.join(phrases)}{f'; and {more} more' if more else ''}; "
        f"name what may differ (--allow-difference {','.join(names)}), or keep the runs apart "
        "(--apart)"
    )


def check_known(
    facts: Iterable[Facts], allow: Collection[str], coordinates: Iterable[str] = ()
) -> None:
    """Check that what may differ is a fact that the runs report, or a coordinate of theirs.

    Raises:
        UsageError: It is not.
    """
    names = {name for one in facts for name in _reported(one, one_machine=True)} | {*coordinates}
    known = sorted(names | {name.partition(".")[0] for name in names})
    for name in allow:
        if name not in known:
            raise UsageError(
                f"unknown difference {name!r} in --allow-difference; valid: {', '.join(known)}"
            )


def machine_names(machines: Sequence[Mapping[str, str]]) -> list[str]:
    """Name machines as users do, else by host or processor, numbered where that is shared."""
    hosts = [
        one.get("name") or one.get("hostname") or one.get("cpu") or "machine" for one in machines
    ]
    longer = [
        host if hosts.count(host) == 1 else ", ".join(dict.fromkeys((host, one.get("cpu") or host)))
        for host, one in zip(hosts, machines, strict=True)
    ]
    return distinct(longer)


def distinct(names: Sequence[str]) -> list[str]:
    """Number names that come again.

    >>> distinct(["a", "b", "a"])
    ['a', 'b', 'a (2)']
    """
    found: list[str] = []
    for name in names:
        number, label = 1, name
        while label in found:
            number += 1
            label = f"{name} ({number})"
        found.append(label)
    return found


def _reported(facts: Facts, *, one_machine: bool) -> dict[str, str]:
    if not one_machine:
        return dict(facts.everywhere)
    machine = {f"machine.{name}": text for name, text in facts.machine.items()}
    return {**machine, **facts.everywhere, **facts.in_place}


def _matches(name: str, allow: Collection[str]) -> bool:
    return name in allow or name.partition(".")[0] in allow


def _shown(text: str | None) -> str:
    return "not reported" if text is None else repr(text)

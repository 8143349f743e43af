"""Studies that are there to be run: presets after published work, changed or shortened."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from greenbatch.errors import StudyError, UnknownNameError
from greenbatch.models import registry
from greenbatch.runners import backends
from greenbatch.runners.checks import listed
from greenbatch.runners.profiles import PROFILES, MeasurementProtocol
from greenbatch.runners.study import FEWEST_REQUESTS, Study, make_study
from greenbatch.runners.study_files import StudyFile, load

FOLDER = Path(__file__).parent / "presets"
_TIMES = ("window_s", "warm_up_min_s", "warm_up_max_s", "idle_s", "rest_min_s", "rest_max_s")
_FEWEST_SCALED = 20
_ALL_MODELS = "all"


def presets() -> list[str]:
    """Return the names of all presets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str) -> StudyFile:
    """Read a preset, or a study file.

    Raises:
        UnknownNameError: There is no such preset, nor a file of that name.
        StudyError: The file cannot be read.
    """
    path = FOLDER / f"{name}.yaml"
    if path.is_file():
        return load(path, f"the preset {name}")
    if Path(name).suffix in (".yaml", ".yml") or Path(name).exists():
        return load(Path(name))
    raise UnknownNameError("study", name, presets())


def resolve(
    name: str,
    *,
    changes: Sequence[str] = (),
    provider: str | None = None,
    scale: float | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Study:
    """Return the study called ``name``, changed as asked.

    Args:
        name: A preset, or a study file.
        changes: ``KEY=VALUE`` each; the value is read as YAML, ``protocol.RULE`` names a rule.
        provider: Measure the same runtimes on this provider.
        scale: Shorten windows, rests, requests and repetitions by this factor; it is recorded.
        overrides: Members that take the place of the study's.

    Raises:
        UnknownNameError: There is no such study, or a name in it is not known.
        StudyError: It does not hold together.
    """
    file = read(name)
    members = dict(file.members)
    for change in changes:
        _change(members, change)
    if members.get("models") == [_ALL_MODELS]:
        members["models"] = list(registry.names())
    if provider:
        runtimes = [backends.find(each).runtime for each in listed(members, "backends")]
        if runtimes:  # else the study does not hold together, which is told below
            members["backends"] = backends.pair(list(dict.fromkeys(runtimes)), [provider])
    members |= overrides or {}
    lines = {
        place: line
        for place, line in file.lines.items()
        if members.get(str(place[0])) is file.members.get(str(place[0]))
    }
    study = make_study(members, file.name, lines)
    return study if scale is None else scaled(study, scale)


def scaled(study: Study, scale: float) -> Study:
    """Shorten a study: its times, requests and repetitions, each down to what still makes sense.

    Raises:
        StudyError: The scale is not above 0 and at most 1.
    """
    if not 0 < scale <= 1:
        raise StudyError(f"the scale is {scale:g}; wanted a number above 0 and at most 1")
    quick = PROFILES["quick"]
    rules = dict(study.protocol)
    for rule in _TIMES:
        rules[rule] = min(rules[rule], max(rules[rule] * scale, getattr(quick, rule)))
    rules["window_ticks"] = min(rules["window_ticks"], max(quick.window_ticks, 1))
    members = study.model_dump(mode="json", by_alias=True) | {
        "protocol": rules,
        "scale": scale,
        "repetitions": max(1, round(study.repetitions * scale)),
        "precision_target": None,  # a shortened run is for a look, and takes no more than that
        "max_repetitions": None,
        "requests": max(_FEWEST_SCALED, round((study.requests or FEWEST_REQUESTS) * scale)),
    }
    return make_study(members, f"{study.name} at scale {scale:g}")


def _change(members: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise StudyError(f"--set {change!r} cannot be read; write KEY=VALUE, as repetitions=5")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StudyError(
            f"--set {change!r}: {text!r} is not YAML; write it as in a file"
        ) from error
    head, _, rule = key.partition(".")
    if head == "protocol" and rule:
        known = [field.name for field in fields(MeasurementProtocol)]
        if rule not in known:
            raise UnknownNameError("rule of the protocol", rule, known)
        members["protocol"] = {**(members.get("protocol") or {}), rule: value}
        return
    if head not in Study.model_fields or rule:
        raise UnknownNameError("member of a study", key, Study.model_fields)
    members[key] = value

"""Studies that are there to be run: presets after published work, changed or shortened."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

from greenbatch.design.field_types import listed
from greenbatch.design.files import StudyFile, load
from greenbatch.design.known import Known
from greenbatch.design.protocol import MeasurementProtocol
from greenbatch.design.scaling import scaled
from greenbatch.design.study import Study, make_study
from greenbatch.design.training_options import Pipeline, Plateau, Transfer
from greenbatch.design.training_scaling import scaled_training
from greenbatch.design.training_study import Search, TrainingStudy, make_training_study
from greenbatch.documents import DocumentError, parse_yaml
from greenbatch.errors import StudyError, UnknownNameError
from greenbatch.models import registry

FOLDER = Path(str(files("greenbatch.design") / "presets"))
AnyStudy: TypeAlias = Study | TrainingStudy
_ALL_MODELS = "all"
_TRAINING_PROVIDERS = ("cpu", "cuda")


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
    known: Known,
    *,
    changes: Sequence[str] = (),
    provider: str | None = None,
    data: Sequence[str] = (),
    scale: float | None = None,
    overrides: Mapping[str, object] | None = None,
) -> AnyStudy:
    """Return the study called ``name``, of inference or of trainings, changed as asked.

    Args:
        name: A preset, or a study file.
        known: What its names are checked against.
        changes: ``KEY=VALUE`` each; the value is read as YAML. ``protocol.RULE`` names a rule, and
            of trainings ``search.MEMBER`` a member of the search.
        provider: Measure the same runtimes on this provider.
        data: Train on these data sets.
        scale: Shorten windows, rests, requests and repetitions by this factor, of trainings also
            epochs, trials and images; it is recorded.
        overrides: Members that take the place of the study's.

    Raises:
        UnknownNameError: There is no such study, or a name in it is not known.
        StudyError: It does not hold together.
    """
    file = read(name)
    members = dict(file.members)
    for change in changes:
        _change(members, change, TrainingStudy if file.is_training else Study)
    if file.is_training:
        members |= _training_options(provider, data)
    elif data:
        raise StudyError(
            f"--data {data[0]} is for a study of trainings, and {file.name} is one of inference; "
            "leave it out"
        )
    else:
        members |= _inference_options(members, provider, known)
    members |= overrides or {}
    lines = {
        place: line
        for place, line in file.lines.items()
        if members.get(str(place[0])) is file.members.get(str(place[0]))
    }
    if file.is_training:
        trainings = make_training_study(members, file.name, lines, known)
        return trainings if scale is None else scaled_training(trainings, scale)
    study = make_study(members, file.name, lines, known)
    return study if scale is None else scaled(study, scale)


def _training_options(provider: str | None, data: Sequence[str]) -> dict[str, object]:
    if provider and provider not in _TRAINING_PROVIDERS:
        raise UnknownNameError("provider of trainings", provider, _TRAINING_PROVIDERS)
    return {
        **({"backends": [f"torch-{provider}"]} if provider else {}),
        **({"data": list(data)} if data else {}),
    }


def _inference_options(
    members: Mapping[str, object], provider: str | None, known: Known
) -> dict[str, object]:
    found: dict[str, object] = {}
    if members.get("models") == [_ALL_MODELS]:
        found["models"] = list(registry.names())
    backends = listed(members, "backends")
    if provider and backends:  # a study with none is refused later
        found["backends"] = known.on_provider(backends, provider)
    return found


def _change(members: dict[str, object], change: str, design: type[AnyStudy]) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise StudyError(f"--set {change!r} cannot be read; write KEY=VALUE, e.g. repetitions=5")
    try:
        value = parse_yaml(text)
    except DocumentError as error:
        raise StudyError(
            f"--set {change!r}: {text!r} is not YAML; write it as in a file"
        ) from error
    head, _, inner = key.partition(".")
    if head not in design.model_fields or (inner and head not in _NESTED):
        raise UnknownNameError("member of a study", key, design.model_fields)
    if not inner:
        members[key] = value
        return
    what, known = _NESTED[head]
    if inner not in known:
        raise UnknownNameError(what, inner, known)
    before = members.get(head) or {}
    if not isinstance(before, Mapping):
        raise StudyError(f"--set {change!r} changes a part of {head}, which is {before!r}")
    members[head] = {**before, inner: value}


_NESTED: Mapping[str, tuple[str, Sequence[str]]] = {
    "protocol": (
        "rule of the protocol",
        tuple(field.name for field in fields(MeasurementProtocol)),
    ),
    "search": ("member of a search", tuple(Search.model_fields)),
    "transfer": ("member of a transfer", tuple(Transfer.model_fields)),
    "plateau": ("member of a plateau", tuple(Plateau.model_fields)),
    "pipeline": ("member of a pipeline", tuple(Pipeline.model_fields)),
}
"""Members of a study whose own members can be changed, what they are called, and their names."""

"""What a run says of its design and its machine, checked once: the types that analysis relies on.

``study.yaml`` and ``environment.json`` may have been edited, or come from somebody else. Only what
analysis reads is checked; further members stay as they are.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from greenbatch.records import by_artifact_key

_Text = Annotated[str, Field(min_length=1)]
_Size = Annotated[int, Field(ge=1)]
_Count = Annotated[int, Field(ge=0)]
_Scalar = str | int | float | bool | None
_SHOWN = 40


class _Described(BaseModel):
    """Members of a file: those that are listed have the right type, others may be anything."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Artifact(_Described):
    file: str = ""
    sha256: str = ""
    weights: dict[str, str] = Field(default_factory=dict)


class _Images(_Described):
    folder: str
    found: _Count
    count: _Count
    broken: dict[str, str] = Field(default_factory=dict)
    sha256: str = ""


class _Design(_Described):
    """What designs of both kinds have."""

    name: str | None = None
    models: list[_Text] = Field(default_factory=list)
    backends: list[_Text] = Field(default_factory=list)
    batch_sizes: list[_Size] = Field(default_factory=list)
    repetitions: _Count | None = None
    settings: dict[str, list[_Scalar]] | None = None
    protocol: dict[str, float] | None = None
    profile: str = ""
    scale: float = 1.0
    threads: int | None = None


class _Study(_Design):
    precisions: list[Literal["fp32", "fp16", "bf16", "int8"]] = Field(default_factory=list)
    io: list[Literal["host", "device"]] = Field(default_factory=list)
    scenarios: list[Literal["offline", "server"]] = Field(default_factory=list)
    arrivals: list[str] = Field(default_factory=list)
    policies: list[str] = Field(default_factory=list)
    rates: list[float] = Field(default_factory=list)
    precision_target: float | None = None
    max_repetitions: int | None = None
    images: _Images | None = None
    preprocessing: str | None = None
    artifacts: dict[str, _Artifact | None] | None = None


class _Search(_Described):
    strategies: list[_Text] = Field(default_factory=list)
    trials: _Count = 0
    space: dict[str, Any] = Field(default_factory=dict)


class _TrainingStudy(_Design):
    data: list[_Text] = Field(default_factory=list)
    precisions: list[Literal["fp32", "amp-fp16", "amp-bf16"]] = Field(default_factory=list)
    search: _Search | None = None
    substitutions: dict[str, str] | None = None


class _Domain(_Described):
    name: str = ""
    counts: bool = True
    note: str | None = None


class _Meter(_Described):
    name: str = ""
    interval_s: float | None = None
    tick_s: float | None = None
    domains: list[_Domain] | None = None


class _Gpu(_Described):
    name: str | None = None
    uuid: str | None = None
    power_limit_w: float | None = None


class _Machine(_Described):
    hostname: str | None = None
    cpu: str | None = None
    cores: int | None = None
    memory_bytes: float | None = None


class _Environment(_Described):
    machine: _Machine | None = None
    gpus: list[_Gpu | str] | None = None
    versions: dict[str, str | None] | None = None
    meters: list[_Meter] | None = None
    meters_absent: dict[str, str | None] | None = None
    backends: dict[str, dict[str, str | None] | None] | None = None
    threads: int | None = None
    window_s: float | None = None


def checked_study(members: object) -> dict[str, Any]:
    """Check a design, and call its artifacts as they are called today.

    Raises:
        ValueError: A member that analysis reads has a wrong type; the message is a phrase.
    """
    study = _mapping(members)
    _check(_TrainingStudy if study.get("kind") == "training" else _Study, study)
    if study.get("artifacts"):
        study["artifacts"] = by_artifact_key(
            study["artifacts"], lambda entry: (entry or {}).get("file")
        )
    return study


def checked_environment(members: object) -> dict[str, Any]:
    """Check an environment.

    Raises:
        ValueError: A member that analysis reads has a wrong type; the message is a phrase.
    """
    environment = _mapping(members)
    _check(_Environment, environment)
    return environment


def _mapping(members: object) -> dict[str, Any]:
    if not isinstance(members, dict):
        raise ValueError(f"it holds a {type(members).__name__}, not a mapping")
    return dict(members)


def _check(form: type[BaseModel], members: Mapping[str, Any]) -> None:
    if wrong := next((key for key in members if not isinstance(key, str)), None):
        raise ValueError(f"it has the member {wrong!r}, which is no text")
    try:
        form.model_validate(members)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        got = repr(fault["input"])
        got = got if len(got) <= _SHOWN else f"{got[:_SHOWN]}..."
        said = fault["msg"][0].lower() + fault["msg"][1:]
        raise ValueError(f"{where} is {got}: {said}") from error

"""A study as a run keeps it: the types that analysis relies on, checked leniently.

A run's ``study.yaml`` may be older than this program, may have been edited, or come from somebody
else. `greenbatch.design.study.Study` would refuse much of that, fill in what is missing, and write
home folders out; here only what analysis reads is checked, and further members may be anything.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from greenbatch.records import by_artifact_key

_SHOWN = 40
_Value = TypeVar("_Value")


def _empty(value: object) -> object:
    return {} if value is None else value


def _empty_list(value: object) -> object:
    return [] if value is None else value


def _as_written(value: float, check: ValidatorFunctionWrapHandler) -> float:
    check(value)
    return value


Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Number = Annotated[float, WrapValidator(_as_written)]
"""As it was written: a whole number stays one, and is shown as one."""
Mapped = Annotated[dict[str, _Value], BeforeValidator(_empty)]
"""A mapping, or nothing."""
Listed = Annotated[list[_Value], BeforeValidator(_empty_list)]
"""A list, or nothing."""


class Recorded(BaseModel):
    """Members of a file: those that are listed have the right type, others may be anything."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


Part = TypeVar("Part", bound=Recorded)
Optional = Annotated[Part, BeforeValidator(_empty)]
"""Members of a part, or nothing."""


class RecordedFile(Recorded):
    """A whole file of a run."""

    _members: Mapping[str, object] = PrivateAttr(default_factory=dict)

    @property
    def members(self) -> Mapping[str, object]:
        """All members as they were written, also those of which nothing is known here."""
        return self._members

    @classmethod
    def read(cls, members: object) -> Self:
        """Check what a file holds.

        Args:
            members: As in JSON or YAML.

        Raises:
            ValueError: A member that analysis reads has a wrong type; the message is a phrase.
        """
        whole = mapping(members)
        try:
            found = cls.model_validate(whole)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(map(str, fault["loc"]))
            got = repr(fault["input"])
            got = got if len(got) <= _SHOWN else f"{got[:_SHOWN]}..."
            reason = fault["msg"][0].lower() + fault["msg"][1:]
            raise ValueError(f"{where} is {got}: {reason}") from error
        found._members = whole
        return found


def mapping(members: object) -> dict[str, object]:
    """Return what a file holds, if it is a mapping.

    Raises:
        ValueError: It is not, or a key is no text; the message is a phrase.
    """
    if not isinstance(members, dict):
        raise ValueError(f"it holds a {type(members).__name__}, not a mapping")
    if wrong := next((key for key in members if not isinstance(key, str)), None):
        raise ValueError(f"it has the member {wrong!r}, which is no text")
    return dict(members)


class RecordedArtifact(Recorded):
    """Which artifact was measured."""

    file: str = ""
    sha256: str = ""
    weights: dict[str, str] = Field(default_factory=dict)
    multiply_adds: Count | None = None
    parameters: Count | None = None


class RecordedImages(Recorded):
    """Which images a run measured with, see `greenbatch.design.images.ImageSet`."""

    folder: str
    found: Count
    count: Count
    broken: dict[str, str] = Field(default_factory=dict)
    sha256: str = ""


class RecordedDesign(RecordedFile):
    """What studies of both kinds have; artifacts are called as they are called today."""

    kind: ClassVar[Literal["inference", "training"]]

    name: str | None = None
    models: list[Text] = Field(default_factory=list)
    backends: list[Text] = Field(default_factory=list)
    batch_sizes: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    repetitions: Count | None = None
    settings: Mapped[list[str | int | float | bool | None]] = Field(default_factory=dict)
    protocol: Mapped[Number] = Field(default_factory=dict)
    profile: str = ""
    scale: Number = 1.0
    threads: int | None = None
    artifacts: Mapped[RecordedArtifact | None] = Field(default_factory=dict)

    @classmethod
    def read(cls, members: object) -> Self:
        """Check what a study file holds, see `RecordedFile.read`."""
        whole = mapping(members)
        if isinstance(artifacts := whole.get("artifacts"), dict):
            whole["artifacts"] = by_artifact_key(artifacts, _file_of)
        return super().read(whole)

    def artifact(self, name: str) -> RecordedArtifact:
        """Return what is remembered of an artifact; empty where that is nothing."""
        return self.artifacts.get(name) or RecordedArtifact()


class RecordedStudy(RecordedDesign):
    """A study of inference, see `greenbatch.design.study.Study`."""

    kind = "inference"

    precisions: list[Literal["fp32", "fp16", "bf16", "int8"]] = Field(default_factory=list)
    io: list[Literal["host", "device"]] = Field(default_factory=list)
    scenarios: list[Literal["offline", "server"]] = Field(default_factory=list)
    arrivals: list[str] = Field(default_factory=list)
    policies: list[str] = Field(default_factory=list)
    rates: list[Number] = Field(default_factory=list)
    precision_target: Number | None = None
    max_repetitions: int | None = None
    budget: Number | None = None
    decide: str | None = None
    within: Number | None = None
    images: RecordedImages | None = None
    preprocessing: str | None = None


class RecordedSearch(Recorded):
    """What was searched, see `greenbatch.design.training_study.Search`."""

    strategies: list[Text] = Field(default_factory=list)
    trials: Count = 0
    space: dict[str, object] = Field(default_factory=dict)


class RecordedTrainingStudy(RecordedDesign):
    """A study of trainings, see `greenbatch.design.training_study.TrainingStudy`."""

    kind = "training"

    data: list[Text] = Field(default_factory=list)
    precisions: list[Literal["fp32", "amp-fp16", "amp-bf16"]] = Field(default_factory=list)
    search: RecordedSearch | None = None
    substitutions: Mapped[str] = Field(default_factory=dict)


AnyRecordedStudy: TypeAlias = RecordedStudy | RecordedTrainingStudy


def recorded_study(members: object) -> AnyRecordedStudy:
    """Check the study of a run, of either kind.

    Args:
        members: As in ``study.yaml``.

    Raises:
        ValueError: It is of neither kind, or a member that analysis reads has a wrong type; the
            message is a phrase.
    """
    whole = mapping(members)
    kind = whole.get("kind", RecordedStudy.kind)
    for design in (RecordedStudy, RecordedTrainingStudy):
        if kind == design.kind:
            return design.read(whole)
    raise ValueError(f"kind is {str(kind)[:_SHOWN]!r}: input should be 'inference' or 'training'")


def _file_of(entry: object) -> object:
    return entry.get("file") if isinstance(entry, dict) else None

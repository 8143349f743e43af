"""How often an artifact was right: the record that evaluation writes and a dataset reads."""

import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from greenbatch.documents import parse_json
from greenbatch.errors import ArtifactError
from greenbatch.names import check_name
from greenbatch.plain_text import storable
from greenbatch.records.reading import cause_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter

ACCURACY_SCHEMA = 1
FOLDER = "accuracy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of images, as a fraction, with Wilson's 95 % interval.

    Raises:
        ValueError: They are not in order, or not between 0 and 1.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.value <= self.high <= 1:
            raise ValueError(
                f"a rate is {self.value} between {self.low} and {self.high}; it is a fraction "
                "within its interval"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How often an artifact was right; written as ``accuracy/MODEL-PRECISION.json``.

    Attributes:
        model, precision: What was evaluated.
        artifact_sha256: Of its ``.onnx`` file: the figures are of this file alone.
        weights: Kind and detail of its weights.
        data: The folder or CSV, as it was given.
        mapping: How classes were assigned (see `greenbatch.models.image_folder.find_labelled`).
        images: How many were evaluated.
        limit: How many were asked for, in a seeded choice; ``None``: all.
        broken: How many could not be read and are in no rate.
        broken_files: The first of them, and why.
        top1, top5: See `Rate`; ``top5`` is ``None`` for fewer than five classes.
        provider: ``cpu`` or ``cuda``.
        batch_size: Largest.
        duration_s: Of the whole, reading included.
        images_per_s: Of the whole: not a figure to compare runtimes by.
        measured_at: UTC.

    Raises:
        ValueError: ``model`` has not the form of a name.
    """

    model: str
    precision: str
    artifact_sha256: str
    weights: str
    data: str
    mapping: str
    images: int
    limit: int | None
    broken: int
    broken_files: dict[str, str]
    top1: Rate
    top5: Rate | None
    provider: str
    batch_size: int
    duration_s: float
    images_per_s: float
    measured_at: str
    schema: int = ACCURACY_SCHEMA

    def __post_init__(self) -> None:
        check_name("model", self.model)

    def to_json(self) -> str:
        """Write the record as indented JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


@cache
def _adapter() -> "TypeAdapter[Accuracy]":
    from pydantic import TypeAdapter

    return TypeAdapter(Accuracy)


def parse_accuracy(text: str | bytes, name: str) -> Accuracy:
    """Read a record of accuracy.

    Raises:
        ArtifactError: It is not one, or of a schema this program does not know.
    """
    try:
        members: Any = parse_json(text)
        if not isinstance(members, dict) or members.get("schema") != ACCURACY_SCHEMA:
            raise ValueError(f"it is no accuracy of schema {ACCURACY_SCHEMA}")
        return _adapter().validate_python(storable(members))
    except ValueError as error:
        raise ArtifactError(
            f"cannot read the accuracy {name}: {cause_of(error)}; delete it, or run 'gb eval' again"
        ) from error

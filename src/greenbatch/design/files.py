"""Study files: YAML, whose faults are reported with their line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from greenbatch.design.known import Known
from greenbatch.design.study import Study, make_study
from greenbatch.design.training_study import TrainingStudy, make_training_study
from greenbatch.documents import LARGEST_YAML_BYTES, DocumentError, Place, parse_yaml_lines
from greenbatch.errors import StudyError
from greenbatch.files import followed, read_bytes


@dataclass(frozen=True)
class StudyFile:
    """What a study file holds.

    Attributes:
        name: What to call it in a message.
        members: As they stand in it.
        lines: Where each member and each of its values stands, by the path to it, from line 1.
    """

    name: str
    members: dict[str, object]
    lines: Mapping[Place, int] = field(default_factory=dict, repr=False)

    @property
    def is_training(self) -> bool:
        """Whether it is a study of trainings; else it is one of inference."""
        return self.members.get("kind") == "training"

    def study(self, known: Known | None = None) -> Study:
        """Return the study of inference, its names checked if what is known is given.

        Raises:
            UnknownNameError, StudyError: It does not hold together; the line is in the message.
        """
        if self.is_training:
            raise StudyError(
                f"{self.name} is a study of trainings, and one of inference is wanted here; "
                "run it with: gb study run"
            )
        return make_study(self.members, self.name, self.lines, known)

    def training_study(self, known: Known | None = None) -> TrainingStudy:
        """Return the study of trainings, its names checked if what is known is given.

        Raises:
            UnknownNameError, StudyError: It does not hold together; the line is in the message.
        """
        if not self.is_training:
            raise StudyError(
                f"{self.name} is a study of inference, and one of trainings is wanted here; it "
                "has 'kind: training'"
            )
        return make_training_study(self.members, self.name, self.lines, known)


def read_study(path: Path, known: Known | None = None) -> Study:
    """Read a study of inference from a file.

    Args:
        path: Of the file.
        known: What its names are checked against; ``None``: they are taken as they are, and
            nothing but the file is read.

    Raises:
        UnknownNameError, StudyError: It cannot be read, is not YAML, or does not hold together.
    """
    return load(path).study(known)


def read_training_study(path: Path, known: Known | None = None) -> TrainingStudy:
    """Read a study of trainings from a file; see `read_study`."""
    return load(path).training_study(known)


def load(path: Path, name: str = "") -> StudyFile:
    """Read a study file as it stands.

    Args:
        path: Of the file.
        name: What to call it in messages; the path, by default.

    Raises:
        StudyError: It cannot be read, or is not a mapping in YAML.
    """
    try:
        members, lines = parse_yaml_lines(read_bytes(followed(path), LARGEST_YAML_BYTES))
    except FileNotFoundError as error:
        raise StudyError(
            f"cannot read the study file {path}: {error.strerror}; name an existing, readable file"
        ) from error
    except DocumentError as error:
        where = f" in line {error.line}" if error.line else ""
        raise StudyError(
            f"the study file {path} is not YAML{where}: {error.problem}; correct it there"
        ) from error
    if not isinstance(members, dict):
        raise StudyError(
            f"the study file {path} holds {type(members).__name__}; wanted a mapping such as "
            "'models: [alexnet]'"
        )
    return StudyFile(name or str(path), members, lines)

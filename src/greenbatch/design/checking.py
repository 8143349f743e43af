"""A design's faults, in a sentence with the line of its file."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from greenbatch.design.known import Known
from greenbatch.errors import StudyError, UnknownNameError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Lines: TypeAlias = Mapping[tuple[str | int, ...], int]
"""Where each member of a file stands, by the path to it."""
_Design = TypeVar("_Design", bound=BaseModel)


def checked(
    design: type[_Design],
    members: Mapping[str, object],
    source: str = "the study",
    lines: Lines = MappingProxyType({}),
    known: Known | None = None,
) -> _Design:
    """Check a design's members, without a look at the disk.

    Args:
        design: Its class.
        members: As in ``study.yaml``.
        source: What to call it in a message.
        lines: Where they stand in a file.
        known: What the names in it are checked against; ``None``: they are taken as they are.

    Raises:
        UnknownNameError: A name is not known.
        StudyError: Anything else does not hold together; the message names the member.
    """
    try:
        return design.model_validate(dict(members), context=known)
    except UnknownNameError as error:
        named = (line for place, line in lines.items() if _at(members, place) == error.got)
        if line := next(named, None):
            raise StudyError(f"{source}, line {line}: {error}") from error
        raise
    except ValidationError as error:
        fault = error.errors()[0]
        sentence = _sentence(design, fault)
        place = fault["loc"] or tuple(sentence.partition(" ")[0].split("."))
        while place and place not in lines:
            place = place[:-1]
        where = f", line {lines[place]}" if place else ""
        raise StudyError(f"{source}{where}: {sentence}") from error


def _at(members: object, place: Sequence[str | int]) -> object:
    for key in place:
        if isinstance(members, Mapping):
            members = members.get(key)
        elif isinstance(members, list | tuple) and isinstance(key, int):
            members = members[key]
    return members


def _sentence(design: type[BaseModel], fault: "ErrorDetails") -> str:
    where = ".".join(str(part) for part in fault["loc"] if part != "[key]") or "it"
    got = fault["input"]
    message = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else fault["msg"]
    if fault["type"] == "missing":
        return f"{where} is missing; give it"
    if fault["type"] == "extra_forbidden":
        return f"{where} is not a member of a study; it has {', '.join(design.model_fields)}"
    if fault["type"] == "value_error" and not fault["loc"]:
        return message
    shown = f" is {got!r}" if isinstance(got, str | int | float | bool) else ""
    return f"{where}{shown}: {message[0].lower()}{message[1:]}"

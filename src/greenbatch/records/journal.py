"""The journal's lines: one JSON object each, checksummed, readable without this program.

A line is the record's members, then ``schema`` and ``checksum``: the first 16 hex digits of the
SHA-256 of the same object without ``checksum``, written with sorted keys and no spaces.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from greenbatch.errors import JournalError
from greenbatch.records.results import SCHEMA, Capacity, Idle, Repetition

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Record: TypeAlias = Repetition | Idle | Capacity


@cache
def _adapter() -> "TypeAdapter[Record]":
    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def _canonical(members: dict[str, Any]) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _checksum(members: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(members)).hexdigest()[:16]


def encode(record: Record) -> bytes:
    """Write a record as one line, newline included.

    Raises:
        ValueError: The record holds a number that is not finite.
    """
    members = _adapter().dump_python(record, mode="json") | {"schema": SCHEMA}
    return _canonical(members | {"checksum": _checksum(members)}) + b"\n"


def decode(line: bytes) -> Record:
    """Read one line.

    Raises:
        ValueError: The line is torn, altered, or of a schema this program does not know.
    """
    members = json.loads(line)
    if not isinstance(members, dict):
        raise ValueError("not a JSON object")
    stated = members.pop("checksum", None)
    if stated != _checksum(members):
        raise ValueError("the checksum does not match")
    if (schema := members.pop("schema", None)) != SCHEMA:
        raise ValueError(f"schema {schema} is not known; this program reads schema {SCHEMA}")
    return _adapter().validate_python(members)


@dataclass(frozen=True, slots=True)
class Journal:
    """A parsed journal.

    Attributes:
        repetitions: Finished repetitions, in the order they were written.
        idles: Idle measurements, in the order they were written.
        valid_bytes: Length of the part that was read; anything behind it is a torn line.
        torn: A sentence about the torn last line, or ``None``.
        capacities: Largest batches, in the order they were found.
    """

    repetitions: tuple[Repetition, ...]
    idles: tuple[Idle, ...]
    valid_bytes: int
    torn: str | None = None
    capacities: tuple[Capacity, ...] = ()


def parse(data: bytes, name: str = "journal.jsonl") -> Journal:
    """Read a journal up to a torn last line.

    Only the last line can be torn by a crash: each one is flushed to disk before the next. A
    damaged line elsewhere means that somebody altered the file, and is refused.

    Args:
        data: The file's bytes.
        name: The file's name, for messages.

    Raises:
        JournalError: A line before the last is damaged.
    """
    records: list[Record] = []
    lines = data.splitlines(keepends=True)
    start = 0
    torn = None
    for number, line in enumerate(lines, 1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("it has no end")
            records.append(decode(line))
        except ValueError as error:
            cause = str(error).splitlines()[0]
            if number < len(lines):
                raise JournalError(
                    f"{name} is damaged in line {number}: {cause}; restore the file, or delete "
                    "that line and resume the run to measure its repetition again"
                ) from error
            torn = f"{name}: line {number}, the last, is torn ({cause}) and was left out"
            break
        start += len(line)
    return Journal(
        tuple(r for r in records if isinstance(r, Repetition)),
        tuple(r for r in records if isinstance(r, Idle)),
        start,
        torn,
        tuple(r for r in records if isinstance(r, Capacity)),
    )

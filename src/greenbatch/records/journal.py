"""The journal's lines: one JSON object each, checksummed, readable without this program.

A line is the record's members, then ``schema`` and ``checksum``: the first 16 hex digits of the
SHA-256 of the same object without ``checksum``, written with sorted keys and no spaces.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from greenbatch.documents import parse_json
from greenbatch.errors import JournalError
from greenbatch.records.results import SCHEMA, Capacity, Idle, Repetition
from greenbatch.records.training import Beat, Epoch, Training

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Record: TypeAlias = Repetition | Idle | Capacity | Epoch | Beat | Training


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
    if _is_canonical(line):
        return _adapter().validate_json(line)
    members = parse_json(line)
    if not isinstance(members, dict):
        raise ValueError("not a JSON object")
    stated = members.pop("checksum", None)
    if stated != _checksum(members):
        raise ValueError("the checksum does not match")
    if (schema := members.pop("schema", None)) != SCHEMA:
        raise ValueError(f"schema {schema} is not known; this program reads schema {SCHEMA}")
    return _adapter().validate_python(members)


_CHECKSUM = re.compile(rb'"checksum":"([0-9a-f]{16})",')
_SCHEMA = b'"schema":%d,' % SCHEMA


def _is_canonical(line: bytes) -> bool:
    """Check a line as `encode` writes it by its bytes alone, a third of the time of `json`.

    Nothing is accepted that `decode` would refuse: a line that has the members twice, or is
    written otherwise, is left to it.
    """
    found = _CHECKSUM.search(line)
    if found is None or line.count(b'"checksum":') != 1 or line.count(b'"schema":') != 1:
        return False
    total = hashlib.sha256(line[: found.start()])
    total.update(line[found.end() :].rstrip(b"\n"))
    return _SCHEMA in line and total.hexdigest()[:16].encode() == found[1]


@dataclass(frozen=True, slots=True)
class Journal:
    """A parsed journal.

    Attributes:
        repetitions: Finished repetitions, in the order they were written.
        idles: Idle measurements, in the order they were written.
        valid_bytes: Length of the part that was read; anything behind it is a torn line.
        torn: A sentence about the torn last line, or ``None``.
        capacities: Largest batches, in the order they were found.
        trainings, epochs, beats: Of a training run, in the order they were written.
    """

    repetitions: tuple[Repetition, ...]
    idles: tuple[Idle, ...]
    valid_bytes: int
    torn: str | None = None
    capacities: tuple[Capacity, ...] = ()
    trainings: tuple[Training, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    beats: tuple[Beat, ...] = ()


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
    return parse_lines(data.splitlines(keepends=True), name)


def parse_lines(lines: Iterable[bytes], name: str = "journal.jsonl") -> Journal:
    """Read a journal line by line, as from a file that is open; see `parse`."""
    records: list[Record] = []
    seen: dict[Any, Any] = {}
    start = 0
    torn = None
    damage: ValueError | None = None
    for number, line in enumerate(lines, 1):
        if damage is not None:
            raise JournalError(
                f"{name} is damaged in line {number - 1}: {_cause(damage)}; restore the file, or "
                "delete that line and resume the run to measure its repetition again"
            ) from damage
        try:
            if not line.endswith(b"\n"):
                raise ValueError("it has no end")
            record = decode(line)
            _share(record, seen)
            records.append(record)
        except ValueError as error:
            damage = error
            torn = f"{name}: line {number}, the last, is torn ({_cause(error)}) and was left out"
            continue
        start += len(line)
    return Journal(
        tuple(r for r in records if isinstance(r, Repetition)),
        tuple(r for r in records if isinstance(r, Idle)),
        start,
        torn,
        tuple(r for r in records if isinstance(r, Capacity)),
        tuple(r for r in records if isinstance(r, Training)),
        tuple(r for r in records if isinstance(r, Epoch)),
        tuple(r for r in records if isinstance(r, Beat)),
    )


def _share(record: Record, seen: dict[Any, Any]) -> None:
    """Let records share what is equal in them: half the memory of a large journal."""
    if not isinstance(record, Repetition):
        return
    starts = (figure for start in record.one_off.values() for figure in start.energy)
    for figure in (*record.energy, *starts):
        if figure.reason:
            object.__setattr__(figure, "reason", sys.intern(figure.reason))
    for name in ("cell", "settings", "placement"):
        own = getattr(record, name)
        # Written out, for 1 and True are equal.
        object.__setattr__(record, name, seen.setdefault((name, repr(own)), own))


def _cause(error: ValueError) -> str:
    return str(error).splitlines()[0]

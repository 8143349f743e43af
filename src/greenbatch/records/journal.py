"""The journal's lines: one JSON object each, checksummed, readable without this program.

A line is the record's members, then ``schema`` and ``checksum``: the first 16 hex digits of the
SHA-256 of the same object without ``checksum``, written with sorted keys and no spaces. It shows
that a line was damaged by accident; who edits a line on purpose can compute its checksum anew.
"""

import hashlib
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeAlias

from msgspec import MsgspecError

from greenbatch.documents import parse_json
from greenbatch.errors import JournalError
from greenbatch.files import open_regular
from greenbatch.plain_text import storable
from greenbatch.privacy import masked_members
from greenbatch.records.race import Decision, Left
from greenbatch.records.reading import cause_of
from greenbatch.records.repetition import SCHEMA, Capacity, Conditions, Idle, Repetition
from greenbatch.records.training import Beat, Epoch, Training

if TYPE_CHECKING:
    from msgspec.json import Decoder
    from pydantic import TypeAdapter

MOST_BYTES = 10_000_000_000
"""Of a journal: two million repetitions, with all that is known of each."""
_LONGEST_LINE_BYTES = 10_000_000

Record: TypeAlias = Repetition | Idle | Capacity | Left | Decision | Epoch | Beat | Training


@cache
def _adapter() -> "TypeAdapter[Record]":
    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def _canonical(members: dict[str, object]) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _checksum(members: dict[str, object]) -> str:
    return hashlib.sha256(_canonical(members)).hexdigest()[:_DIGITS]


def encode(record: Record) -> bytes:
    """Write a record as one line, newline included; home folders and secrets in prose are masked.

    Raises:
        ValueError: The record holds a number that is not finite.
    """
    members = _published(_adapter().dump_python(record, mode="json")) | {"schema": SCHEMA}
    return _canonical(members | {"checksum": _checksum(members)}) + b"\n"


def _published(members: dict[str, object]) -> dict[str, object]:
    """Mask reasons and effective settings; what identifies a cell stays: a resume looks for it."""
    found = dict(members)
    for name, value in members.items():
        if name == "reason" or (name == "settings" and isinstance(value, dict)):
            found[name] = masked_members(value)
        elif name != "cell" and isinstance(value, dict):
            found[name] = _published(value)
        elif isinstance(value, list):
            found[name] = [_published(each) if isinstance(each, dict) else each for each in value]
    return found


@cache
def _typed() -> "Decoder[Repetition]":
    """Decode repetitions in a third of pydantic's time: they are nearly all of a journal."""
    from msgspec.json import Decoder

    return Decoder(Repetition)


def decode(line: bytes) -> Record:
    """Read one line.

    Raises:
        ValueError: The line is torn, altered, or of a schema this program does not know.
    """
    if _is_canonical(line):
        if _KIND in line:
            with suppress(MsgspecError, RecursionError):
                return _typed().decode(line)
        # Of another kind, or refused: pydantic accepts more, and its messages are the users'.
        return _adapter().validate_json(line)
    members = parse_json(line)
    if not isinstance(members, dict):
        raise ValueError("not a JSON object")
    stated = members.pop("checksum", None)
    if stated != _checksum(members):
        raise ValueError(
            "it was changed or damaged after it was written (its checksum does not match)"
        )
    if (schema := members.pop("schema", None)) != SCHEMA:
        raise ValueError(f"schema {schema} is not known; this program reads schema {SCHEMA}")
    return _adapter().validate_python(storable(members))


def checksum_of(line: bytes) -> str:
    """Return the checksum that stands in a line as `encode` wrote it; it identifies the line.

    Raises:
        ValueError: There is none.
    """
    begin = line.find(_CHECKSUM)
    if begin < 0:
        raise ValueError("the line has no checksum")
    digits = begin + len(_CHECKSUM)
    return line[digits : digits + _DIGITS].decode("ascii")


_CHECKSUM = b'"checksum":"'
_DIGITS = 16
_SCHEMA = b'"schema":%d,' % SCHEMA
_KIND = b'"kind":"repetition"'


def _is_canonical(line: bytes) -> bool:
    """Check a line as `encode` writes it by its bytes alone, a third of the time of `json`.

    Nothing is accepted that `decode` would refuse: a line that has the members twice, or is
    written otherwise, is left to it; so is one with the character NUL, which no dataset can hold.
    """
    begin = line.find(_CHECKSUM)
    digits = begin + len(_CHECKSUM)
    end = digits + _DIGITS
    if begin < 0 or line[end : end + 2] != b'",' or line.count(_CHECKSUM[:-1]) > 1:
        return False
    schema = line.rfind(b'"schema":')
    if not line.startswith(_SCHEMA, max(schema, 0)) or line.find(b'"schema":', 0, schema) >= 0:
        return False
    if b"\\u0000" in line:
        return False
    total = hashlib.sha256(memoryview(line)[:begin])
    total.update(memoryview(line)[end + 2 : len(line.rstrip(b"\n"))])
    return total.hexdigest()[:_DIGITS].encode() == line[digits:end]


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
        lefts, decisions: Of a run with a budget, in the order they were written.
    """

    repetitions: tuple[Repetition, ...]
    idles: tuple[Idle, ...]
    valid_bytes: int
    torn: str | None = None
    capacities: tuple[Capacity, ...] = ()
    trainings: tuple[Training, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    beats: tuple[Beat, ...] = ()
    lefts: tuple[Left, ...] = ()
    decisions: tuple[Decision, ...] = ()


def parse(data: bytes, name: str = "journal.jsonl") -> Journal:
    """Read a journal up to a torn last line.

    Only the last line can be torn by a crash: each one is flushed to disk before the next. A
    line elsewhere that is not as it was written is refused.

    Args:
        data: The file's bytes.
        name: The file's name, for messages.

    Raises:
        JournalError: A line before the last is damaged.
    """
    return parse_lines(data.splitlines(keepends=True), name)


def read(path: Path) -> Journal:
    """Read a journal file up to a torn last line; one that does not exist is empty.

    Raises:
        JournalError: A line before the last is damaged.
        FileError: It is not a regular file, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            return parse_lines(lines_of(file, str(path)), str(path))
    except FileNotFoundError:
        return parse(b"", str(path))


def lines_of(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Give the lines of a file that is open, none of them beyond what a journal has.

    Raises:
        JournalError: The file or a line is larger than any that this program writes.
    """
    if file.seek(0, os.SEEK_END) > MOST_BYTES:
        raise JournalError(f"{name} is larger than 10 GB, which no journal is; restore the file")
    file.seek(0)
    number = 0
    while line := file.readline(_LONGEST_LINE_BYTES + 1):
        number += 1
        if len(line) > _LONGEST_LINE_BYTES:
            raise JournalError(
                f"line {number} of {name} is longer than 10 MB, which no record is; restore the "
                "file"
            )
        yield line


def parse_lines(lines: Iterable[bytes], name: str = "journal.jsonl") -> Journal:
    """Read a journal line by line, as from a file that is open; see `parse`."""
    records: dict[type[Record], list[Any]] = defaultdict(list)
    seen: dict[Any, Any] = {}
    start = 0
    torn = None
    damage: ValueError | RecursionError | None = None
    for number, line in enumerate(lines, 1):
        if damage is not None:
            raise JournalError(
                f"cannot read {name}, line {number - 1}: {cause_of(damage)}; restore the file, or "
                "delete that line and resume the run to measure its repetition again"
            ) from damage
        try:
            if not line.endswith(b"\n"):
                raise ValueError("it has no end")
            record = decode(line)
            _share(record, seen)
            records[type(record)].append(record)
        except (ValueError, RecursionError) as error:
            damage = error
            torn = f"{name}: line {number}, the last, is torn ({cause_of(error)}) and was left out"
            continue
        start += len(line)
    return Journal(
        tuple(records[Repetition]),
        tuple(records[Idle]),
        start,
        torn,
        tuple(records[Capacity]),
        tuple(records[Training]),
        tuple(records[Epoch]),
        tuple(records[Beat]),
        tuple(records[Left]),
        tuple(records[Decision]),
    )


# Most of what is known of conditions is known on few machines.
_MAPPINGS = tuple(each.name for each in fields(Conditions) if each.default_factory is dict)
_NOTHING: dict[str, Any] = {}


def _share(record: Record, seen: dict[Any, Any]) -> None:
    """Let records share what is equal in them: half the memory of a large journal."""
    if not isinstance(record, Repetition):
        return
    starts = (figure for start in record.one_off.values() for figure in start.energy)
    for figure in (*record.energy, *starts):
        object.__setattr__(figure, "domain", sys.intern(figure.domain))
        if figure.reason:
            object.__setattr__(figure, "reason", sys.intern(figure.reason))
    for name in _MAPPINGS:
        if not getattr(record.conditions, name):
            object.__setattr__(record.conditions, name, _NOTHING)
    if record.agreement and not record.agreement.counts:
        object.__setattr__(record.agreement, "counts", _NOTHING)
    object.__setattr__(record, "cell", seen.setdefault(record.cell, record.cell))
    for name, own in (("settings", record.settings), ("placement", record.placement)):
        # With the types, for 1 and True are equal.
        key = (name, *own, *own.values(), *map(type, own.values()))
        object.__setattr__(record, name, seen.setdefault(key, own))

"""What the client and the machines of a fleet send each other: one JSON object a line.

The same lines travel through a Dask scheduler and lie in the files of a shared folder. Bytes are
written as base64. A reader checks every field and its type.
"""

from typing import Literal, TypeAlias

import msgspec

from greenbatch.errors import MessageError
from greenbatch.names import check_name

Outcome: TypeAlias = Literal["finished", "failed", "refused"]


class FileRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of an artifact, by its content.

    Attributes:
        name: Of the file, without a folder.
        sha256: Of its content, in hex.
        size_bytes: Its size.
    """

    name: str
    sha256: str
    size_bytes: int


class Assignment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a machine is to measure next: a part of a study.

    Attributes:
        fleet: Identifies the fleet.
        machine: Name of the machine in the fleet.
        unit: Name of the part, e.g. ``block-0003``.
        study: The design as the text of a study file.
        blocks: Numbers of the blocks to measure; ``None``: the whole study.
        elsewhere: Cell (its slug) and block of each repetition that another machine measured.
        known: Checksums of the journal lines of this machine that the client has.
        files: Of the artifacts.
        files_at: The folder in which the client has these files.
        wait_s: How long to wait for another run on the machine, in s.
        trust: Run the code that the study names; the user allowed it.
        environment: Versions that the machine must have, by distribution.
        control: The study is that of the control cell, and has a run of its own.
        diagnose: Backends that are tried first, as ``gb doctor`` does, in a report of the machine;
            empty: no report.
    """

    fleet: str
    machine: str
    unit: str
    study: str
    blocks: tuple[int, ...] | None
    elsewhere: tuple[tuple[str, int], ...] = ()
    known: tuple[str, ...] = ()
    files: tuple[FileRef, ...] = ()
    files_at: str = ""
    wait_s: float = 0.0
    trust: bool = False
    environment: dict[str, str] = {}
    control: bool = False
    diagnose: tuple[str, ...] = ()


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True, kw_only=True):
    """From a machine, about one of its units."""

    machine: str
    unit: str


class Opened(_Message, frozen=True):
    """The unit began.

    Attributes:
        environment: Text of the machine's ``environment.json``.
    """

    environment: str


class Diagnosed(_Message, frozen=True):
    """What ``gb doctor`` found on the machine.

    Attributes:
        report: Its JSON.
        findings: What would disturb or prevent a measurement, a sentence each.
    """

    report: str
    findings: tuple[str, ...] = ()


class Lines(_Message, frozen=True):
    """Journal lines that are on the machine's disk.

    Attributes:
        data: Whole lines.
        traces: The files of traces that they name, by name.
    """

    data: bytes
    traces: dict[str, bytes] = {}


class Step(_Message, frozen=True):
    """A sentence about what is done now."""

    text: str


class Progressed(_Message, frozen=True):
    """Where the unit stands.

    Attributes:
        done, total: Repetitions of the machine's run.
        left_s: Estimated time left of the unit, in s.
        now: What is measured now.
        failure: Why the last repetition failed; empty where it did not.
    """

    done: int
    total: int
    left_s: float | None = None
    now: str = ""
    failure: str = ""


class Ended(_Message, frozen=True):
    """The unit ended.

    Attributes:
        outcome: ``finished``; ``failed``: may be tried again; ``refused``: this machine cannot
            measure the study.
        reason: Why it did not finish, one sentence.
        lines: Checksums of the unit's journal lines.
        log: What the process wrote to standard error, its last lines.
    """

    outcome: Outcome
    reason: str = ""
    lines: tuple[str, ...] = ()
    log: str = ""


Message: TypeAlias = Opened | Diagnosed | Lines | Step | Progressed | Ended

_encoder = msgspec.json.Encoder()
_messages: "msgspec.json.Decoder[Message]" = msgspec.json.Decoder(Message)
_assignments = msgspec.json.Decoder(Assignment)


def encode(message: Message | Assignment) -> bytes:
    """Write a message or an assignment as one line, newline included."""
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """Read a message.

    Raises:
        MessageError: It is none, or its machine or unit is not a name.
    """
    try:
        message = _messages.decode(line)
        check_name("unit", message.unit)
        check_name("machine", message.machine)
    except (msgspec.MsgspecError, ValueError) as error:
        raise MessageError(f"a machine sent no message of a fleet: {error}") from error
    return message


def decode_assignment(line: bytes) -> Assignment:
    """Read an assignment.

    Raises:
        MessageError: It is none.
    """
    try:
        return _assignments.decode(line)
    except msgspec.MsgspecError as error:
        raise MessageError(f"this is no assignment of a fleet: {error}") from error

"""The run of one machine, as the client has it: each record is taken in once, by its key."""

import json
import os
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple, TypeAlias

from greenbatch import files
from greenbatch.design.study import Study
from greenbatch.errors import FileError, MessageError
from greenbatch.records import Capacity, Cell, Idle, Record, Repetition, Status
from greenbatch.records import journal as journals
from greenbatch.records.reading import cause_of
from greenbatch.runners.fleet.messages import Lines

Key: TypeAlias = tuple[object, ...]


class Taken(NamedTuple):
    """What became of lines.

    Attributes:
        new: Number of records that were new.
        second: Why each of the others was not needed, by checksum.
    """

    new: int
    second: dict[str, str]


class MachineRun:
    """The run folder of one machine, filled from what it sends.

    Args:
        path: The folder.
        study: The design.
        writes: Whether records are to be taken in; else nothing is written.

    Attributes:
        checksums: Of the journal lines that are here.
        done: How each repetition ended, by cell and block.
    """

    def __init__(self, path: Path, study: Study, *, writes: bool) -> None:
        self._path = path
        self.checksums: set[str] = set()
        self.done: dict[tuple[Cell, int], Status] = {}
        self._keys: set[Key] = set()
        self._file: int | None = None
        self._journal = path / "journal.jsonl"
        if self._journal.exists():
            self._read(writes=writes)
        if writes:
            files.make_folder(path / "traces")
            if not (path / "study.yaml").exists():
                files.write_atomically(path / "study.yaml", study.to_yaml(), durable=True)
            self._file = files.open_to_append(self._journal)

    def _read(self, *, writes: bool) -> None:
        valid = 0
        for line in files.read_bytes(self._journal, journals.MOST_BYTES).splitlines(keepends=True):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("it has no end")
                self._note(journals.decode(line), journals.checksum_of(line))
            except ValueError:  # the client died while it wrote; the machine sends it again
                break
            valid += len(line)
        if writes and valid < self._journal.stat().st_size:
            os.truncate(self._journal, valid)

    def describe(self, environment: str) -> None:
        """Write the environment of the machine."""
        json.loads(environment)
        files.write_atomically(self._path / "environment.json", environment, durable=True)

    def take(self, message: Lines, elsewhere: Container[tuple[Cell, int]]) -> Taken:
        """Append lines that are new.

        Args:
            message: From the machine.
            elsewhere: Cell and block of what other machines measured in its place.

        Raises:
            MessageError: A line is not as it was written.
        """
        assert self._file is not None
        second: dict[str, str] = {}
        new = []
        for line in message.data.splitlines(keepends=True):
            record, checksum = _decoded(line, message.machine)
            if checksum in self.checksums:
                continue
            what = ""
            if key_of(record) in self._keys:
                what = f"another record of {_words(record)} came"
            elif isinstance(record, Repetition) and (record.cell, record.block) in elsewhere:
                what = f"another machine measured {_words(record)} already"
            if what:
                second[checksum] = what
                continue
            trace = record.trace if isinstance(record, Repetition) else None
            if trace and trace in message.traces:
                path = self._path / "traces" / _plain(trace)
                files.write_atomically(path, message.traces[trace], durable=True)
            self._note(record, checksum)
            new.append(line)
        files.append(self._file, b"".join(new), self._journal)
        return Taken(len(new), second)

    def close(self) -> None:
        """Close the journal."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _note(self, record: Record, checksum: str) -> None:
        self.checksums.add(checksum)
        self._keys.add(key_of(record))
        if isinstance(record, Repetition):
            place = (record.cell, record.block)
            if self.done.get(place) is not Status.OK:
                self.done[place] = record.status


def key_of(record: Record) -> Key:
    """Return what identifies a record in the run of a machine: its natural key.

    Of a repetition these are block, cell and attempt.
    """
    if isinstance(record, Repetition):
        return ("repetition", record.block, record.cell, record.attempt)
    if isinstance(record, Idle):
        # Where a block was interrupted, idle power is measured again: both are findings.
        about = (record.backend, record.model, record.settings, record.when)
        return ("idle", record.block, *about, record.started_at)
    if isinstance(record, Capacity):
        return ("capacity", record.cell)
    return (type(record).__name__, journals.encode(record))


def _decoded(line: bytes, machine: str) -> tuple[Record, str]:
    try:
        return journals.decode(line), journals.checksum_of(line)
    except ValueError as error:
        raise MessageError(f"{machine} sent no record: {cause_of(error)}") from error


def _words(record: Record) -> str:
    if isinstance(record, Repetition):
        return f"{record.cell} in block {record.block}"
    return f"a record of kind {type(record).__name__.lower()}"


def _plain(trace: str) -> str:
    """Check the name of a trace: it becomes that of a file."""
    if Path(trace).name != trace or trace.startswith(".") or not trace.endswith(".npz"):
        raise FileError(f"a machine sent a trace of the name {trace!r}; wanted NAME.npz")
    return trace

"""The folder in which a fleet's records come together.

``fleet.json`` says what is measured how, ``machines/NAME`` is an ordinary run folder of each
machine, ``control/NAME`` that of its control cell, and ``events.jsonl`` and ``logs/NAME.log`` say
what happened. Each record is taken in once,
by its key, so a machine may send it as often as it likes.
"""

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
from filelock import FileLock, Timeout

from greenbatch import files
from greenbatch.design.study import Study, make_study
from greenbatch.documents import parse_yaml_lines
from greenbatch.errors import FileError, RunError
from greenbatch.names import check_name
from greenbatch.records import Capacity, Cell, Idle, Record, Repetition, Status
from greenbatch.records import journal as journals
from greenbatch.runners.fleet.messages import (
    Diagnosed,
    Ended,
    Lines,
    Message,
    Opened,
    Progressed,
    Step,
)

_FLEET, _EVENTS, _MACHINES, _LOGS = "fleet.json", "events.jsonl", "machines", "logs"
_CONTROL, _DOCTOR, _CANCEL = "control", "doctor", "cancel"
_MOST_BYTES = 10 * files.MEGABYTE_BYTES
_EVENTS_BYTES = 1000 * files.MEGABYTE_BYTES

Key = tuple[object, ...]


class FleetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a fleet is: ``fleet.json``.

    Attributes:
        id: Identifies the fleet, 12 hex digits.
        study: The design, bound to its artifacts, as the text of a study file.
        machines: ``each``, ``any`` or ``KIND=N``.
        whole: Whether a unit is the whole study, else a block.
        executor: Name of what runs the units, with its options as text.
        options: Of the run: ``wait_s``, ``trust``, ``versions``, ...
        control: The study of the control cell, as ``study``; empty: there is none.
    """

    id: str
    study: str
    machines: str
    whole: bool
    executor: dict[str, str]
    options: dict[str, str] = {}
    control: str = ""
    schema: int = 1


class Event(msgspec.Struct, frozen=True):
    """Something that happened in a fleet.

    Attributes:
        at: When, in s since 1970.
        what: ``accepted``, ``refused``, ``begun``, ``finished``, ``failed``, ``lost``,
            ``returned``, ``moved``, ``second``, ``control``, ``flagged``, ``cancelled``.
        machine: Whose; empty where it is the fleet's.
        unit: Which; empty where it is of no unit.
        reason: Why, or what was found.
        group: Of an accepted machine: those with one group share the repetitions of a study.
    """

    at: float
    what: str
    machine: str = ""
    unit: str = ""
    reason: str = ""
    group: str = ""


class Home:
    """A fleet's folder, held by a lock from `create` or `open` until `close`.

    Attributes:
        path: The folder.
        fleet: What is measured how.
        study: The design.
        events: What happened, earlier clients included.
    """

    def __init__(self, path: Path, fleet: FleetFile, lock: FileLock | None) -> None:
        self.path = path
        self.fleet = fleet
        self.study = study_of(fleet.study, f"{path / _FLEET}")
        self.control = study_of(fleet.control, f"{path / _FLEET}") if fleet.control else None
        self._lock = lock
        self._controls: dict[str, _MachineRun] = {}
        self._machines: dict[str, _MachineRun] = {}
        self._not_needed: dict[str, set[str]] = defaultdict(set)
        self.events: list[Event] = list(_read_events(path / _EVENTS))
        for folder in sorted((path / _MACHINES).glob("*")):
            self._machines[folder.name] = _MachineRun(folder, self.study, writes=lock is not None)
        if self.control:
            for folder in sorted((path / _CONTROL).glob("*")):
                self._controls[folder.name] = _MachineRun(
                    folder, self.control, writes=lock is not None
                )

    @classmethod
    def create(cls, path: Path, fleet: FleetFile) -> Self:
        """Make the folder of a new fleet.

        Raises:
            RunError: The folder is not empty.
            FileError: It cannot be written.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"{path} is not empty; continue a fleet with: gb fleet attach {path}, or choose "
                "another --out"
            )
        files.make_folder(path / _MACHINES)
        files.make_folder(path / _LOGS)
        lock = _locked(path)
        text = msgspec.json.format(msgspec.json.encode(fleet), indent=2)
        files.write_atomically(path / _FLEET, text + b"\n", durable=True)
        return cls(path, fleet, lock)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the folder of a fleet, to take in more.

        Raises:
            RunError: It holds no fleet, or another process takes in its records.
        """
        fleet = read_fleet(path)
        return cls(path, fleet, _locked(path))

    @classmethod
    def look(cls, path: Path) -> Self:
        """Open the folder of a fleet to read what is in it; nothing is written."""
        return cls(path, read_fleet(path), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journals and give the lock back."""
        for run in (*self._machines.values(), *self._controls.values()):
            run.close()
        if self._lock:
            self._lock.release()

    @property
    def machines(self) -> tuple[str, ...]:
        """The machines that have sent something."""
        return tuple(self._machines)

    def folder(self, machine: str) -> Path:
        """Return the run folder of a machine."""
        return self.path / _MACHINES / check_name("machine", machine)

    def known(self, machine: str, *, control: bool = False) -> tuple[str, ...]:
        """Return the checksums of the journal lines that a machine sent, of one of its runs."""
        run = (self._controls if control else self._machines).get(machine)
        return tuple(sorted(run.checksums)) if run else ()

    @property
    def control_key(self) -> str:
        """Identifies the design of the control cell, wherever its artifacts lie."""
        if self.control is None:
            return ""
        text = self.control.model_copy(update={"artifacts_dir": "", "name": ""}).to_yaml()
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def control_folder(self, machine: str) -> Path:
        """Return the run folder of a machine's control cell."""
        return self.path / _CONTROL / check_name("machine", machine)

    def done(self, machine: str) -> dict[tuple[Cell, int], Status]:
        """Return how each repetition of a machine ended, by cell and block."""
        run = self._machines.get(machine)
        return dict(run.done) if run else {}

    def finished(self) -> set[tuple[str, str]]:
        """Return machine and unit of the units that finished."""
        return {(event.machine, event.unit) for event in self.events if event.what == "finished"}

    @property
    def groups(self) -> dict[str, str]:
        """The accepted machines, each with its group."""
        return {e.machine: e.group for e in self.events if e.what == "accepted"}

    def elsewhere(self, machine: str) -> dict[tuple[Cell, int], Status]:
        """Return what the other machines of its group measured, by cell and block."""
        groups = self.groups
        found: dict[tuple[Cell, int], Status] = {}
        for other, run in self._machines.items():
            if other != machine and other in groups and groups[other] == groups.get(machine):
                found |= run.done
        return found

    def note(
        self, what: str, machine: str = "", unit: str = "", reason: str = "", group: str = ""
    ) -> Event:
        """Write down something that happened."""
        event = Event(time.time(), what, machine, unit, reason, group)
        self.events.append(event)
        _append(self.path / _EVENTS, msgspec.json.encode(event) + b"\n")
        return event

    def take(self, message: Message) -> int:
        """Take in what a machine sent, on the disk when this returns.

        Returns:
            The number of records that were new.

        Raises:
            JournalError: A line is not as it was written.
            FileError: The folder cannot be written.
        """
        if isinstance(message, Opened):
            self._run_of(message).describe(message.environment)
        elif isinstance(message, Diagnosed):
            json.loads(message.report)
            files.make_folder(self.path / _DOCTOR)
            name = check_name("machine", message.machine)
            files.write_atomically(self.path / _DOCTOR / f"{name}.json", message.report)
        elif isinstance(message, Lines):
            control = is_control(message.unit)
            elsewhere = {} if control else self.elsewhere(message.machine)
            taken = self._run_of(message).take(message, elsewhere)
            for checksum, what in taken.second.items():
                if checksum not in self._not_needed[message.machine]:
                    self._not_needed[message.machine].add(checksum)
                    self.note("second", message.machine, message.unit, f"{what}; the first is kept")
            return taken.new
        elif isinstance(message, Step | Progressed):
            text = message.text if isinstance(message, Step) else message.failure
            if text:
                self.log(message.machine, f"{message.unit}: {text}")
        return 0

    def complete(self, ended: Ended) -> bool:
        """Whether every record of a unit that finished is here."""
        known = self.known(ended.machine, control=is_control(ended.unit))
        here = {*known, *self._not_needed[ended.machine]}
        return set(ended.lines) <= here

    def log(self, machine: str, text: str) -> None:
        """Add lines to the log of a machine."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        lines = "".join(f"{stamp} {line}\n" for line in text.splitlines() if line.strip())
        _append(self.path / _LOGS / f"{check_name('machine', machine)}.log", lines.encode())

    def logs(self) -> dict[str, str]:
        """Return the logs of the machines, by name."""
        return {
            path.stem: files.read_text(path, _EVENTS_BYTES)
            for path in sorted((self.path / _LOGS).glob("*.log"))
        }

    def request_cancel(self) -> None:
        """Ask the client that takes in the records to end the fleet."""
        files.write_atomically(self.path / _CANCEL, "")

    def withdraw_cancel(self) -> None:
        """Forget such a request."""
        (self.path / _CANCEL).unlink(missing_ok=True)

    @property
    def cancelled(self) -> bool:
        """Whether the fleet is to end."""
        return (self.path / _CANCEL).exists()

    def _run_of(self, message: Message) -> "_MachineRun":
        """Return the run that a message is about, begun where there is none."""
        machine = message.machine
        if is_control(message.unit):
            if self.control is None:
                raise RunError(f"{machine} sent a control cell, and the fleet has none")
            if machine not in self._controls:
                folder = self.control_folder(machine)
                self._controls[machine] = _MachineRun(folder, self.control, writes=True)
            return self._controls[machine]
        if machine not in self._machines:
            self._machines[machine] = _MachineRun(self.folder(machine), self.study, writes=True)
        return self._machines[machine]


def is_control(unit: str) -> bool:
    """Whether a unit is of the control cell, by its name."""
    return unit.startswith("control-")


class _Taken(NamedTuple):
    """How many records were new, and which were not needed: why, by checksum."""

    new: int
    second: dict[str, str]


class _MachineRun:
    """The run folder of one machine, filled from what it sends."""

    def __init__(self, path: Path, study: Study, *, writes: bool) -> None:
        self._path = path
        self.checksums: set[str] = set()
        self.done: dict[tuple[Cell, int], Status] = {}
        self._keys: dict[Key, str] = {}
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

    def take(self, message: Lines, elsewhere: Container[tuple[Cell, int]]) -> "_Taken":
        """Append lines that are new.

        Args:
            message: From the machine.
            elsewhere: Cell and block of what other machines measured in its place.
        """
        assert self._file is not None
        second: dict[str, str] = {}
        new = []
        for line in message.data.splitlines(keepends=True):
            record = journals.decode(line)
            checksum = journals.checksum_of(line)
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
        return _Taken(len(new), second)

    def close(self) -> None:
        """Close the journal."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _note(self, record: Record, checksum: str) -> None:
        self.checksums.add(checksum)
        self._keys[key_of(record)] = checksum
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


def _words(record: Record) -> str:
    if isinstance(record, Repetition):
        return f"{record.cell} in block {record.block}"
    return f"a record of kind {type(record).__name__.lower()}"


def _plain(trace: str) -> str:
    """Check the name of a trace: it becomes that of a file."""
    if Path(trace).name != trace or trace.startswith(".") or not trace.endswith(".npz"):
        raise FileError(f"a machine sent a trace of the name {trace!r}; wanted NAME.npz")
    return trace


def study_of(text: str, source: str) -> Study:
    """Read a study from its text; names are taken as they are."""
    members, lines = parse_yaml_lines(text.encode())
    if not isinstance(members, dict):
        raise RunError(f"{source} holds no study; restore the file, or begin a new fleet")
    return make_study(members, source, lines)


def read_fleet(path: Path) -> FleetFile:
    """Read what the fleet in a folder is.

    Raises:
        RunError: There is none, or its file is damaged.
    """
    file = path / _FLEET
    try:
        return msgspec.json.decode(files.read_bytes(file, _MOST_BYTES), type=FleetFile)
    except FileNotFoundError as error:
        raise RunError(
            f"{path} is not a fleet: it has no {_FLEET}; name a folder that 'gb fleet run' made"
        ) from error
    except msgspec.MsgspecError as error:
        raise RunError(f"cannot read {file}: {error}; restore the file") from error


def _read_events(path: Path) -> Iterator[Event]:
    if not path.exists():
        return
    for line in files.read_bytes(path, _EVENTS_BYTES).splitlines():
        with suppress(msgspec.MsgspecError):  # a torn line; it is no measurement
            yield msgspec.json.decode(line, type=Event)


def _append(path: Path, data: bytes) -> None:
    descriptor = files.open_to_append(path)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _locked(path: Path) -> FileLock:
    files.require_own(path / ".lock")
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            f"another process collects the records of {path}; wait for it, or see what it does "
            f"with: gb fleet status {path}"
        ) from error
    return lock

"""The folder in which a fleet's records come together.

``fleet.json`` says what is measured how, ``machines/NAME`` is an ordinary run folder of each
machine, ``control/NAME`` that of its control cell, and ``events.jsonl`` and ``logs/NAME.log`` say
what happened. Each record is taken in once, by its key, so a machine may send it as often as it
likes.
"""

import hashlib
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Self

import msgspec
from filelock import FileLock, Timeout

from greenbatch import files
from greenbatch.errors import RunError
from greenbatch.names import check_name
from greenbatch.records import Cell, Status
from greenbatch.runners.fleet.control import is_control
from greenbatch.runners.fleet.events import Event, end_torn_line, read_events
from greenbatch.runners.fleet.fleet_file import FLEET, FleetFile, read_fleet, study_of
from greenbatch.runners.fleet.machine_run import MachineRun
from greenbatch.runners.fleet.messages import (
    Diagnosed,
    Ended,
    Lines,
    Message,
    Opened,
    Progressed,
    Step,
)

_EVENTS, _MACHINES, _LOGS = "events.jsonl", "machines", "logs"
_CONTROL, _DOCTOR, _CANCEL = "control", "doctor", "cancel"
_LOG_BYTES = 1000 * files.MEGABYTE_BYTES


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
        self.study = study_of(fleet.study, f"{path / FLEET}")
        self.control = study_of(fleet.control, f"{path / FLEET}") if fleet.control else None
        self._lock = lock
        self._controls: dict[str, MachineRun] = {}
        self._machines: dict[str, MachineRun] = {}
        self._not_needed: dict[str, set[str]] = defaultdict(set)
        if lock:
            end_torn_line(path / _EVENTS)
        self.events: list[Event] = list(read_events(path / _EVENTS))
        for folder in sorted((path / _MACHINES).glob("*")):
            self._machines[folder.name] = MachineRun(folder, self.study, writes=lock is not None)
        if self.control:
            for folder in sorted((path / _CONTROL).glob("*")):
                self._controls[folder.name] = MachineRun(
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
        files.write_atomically(path / FLEET, text + b"\n", durable=True)
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
        files.append_to(self.path / _EVENTS, msgspec.json.encode(event) + b"\n")
        return event

    def take(self, message: Message) -> int:
        """Take in what a machine sent, on the disk when this returns.

        Returns:
            The number of records that were new.

        Raises:
            MessageError: A line is not as it was written.
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
        files.append_to(self.path / _LOGS / f"{check_name('machine', machine)}.log", lines.encode())

    def logs(self) -> dict[str, str]:
        """Return the logs of the machines, by name."""
        return {
            path.stem: files.read_text(path, _LOG_BYTES)
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

    def _run_of(self, message: Message) -> MachineRun:
        """Return the run that a message is about, begun where there is none."""
        machine = message.machine
        if is_control(message.unit):
            if self.control is None:
                raise RunError(f"{machine} sent a control cell, and the fleet has none")
            if machine not in self._controls:
                folder = self.control_folder(machine)
                self._controls[machine] = MachineRun(folder, self.control, writes=True)
            return self._controls[machine]
        if machine not in self._machines:
            self._machines[machine] = MachineRun(self.folder(machine), self.study, writes=True)
        return self._machines[machine]


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

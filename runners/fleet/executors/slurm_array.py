"""Units on the nodes of a Slurm cluster: one job array for each node.

Everything travels through the fleet's folder, which the nodes must see: a task of an array reads
its assignment there and appends its messages to a file. So units go on without a client, Slurm
runs those of a node that failed again, and the next client reads the files from their beginning.
A node is asked for its facts by a job of its own.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from greenbatch.errors import FleetError, UsageError
from greenbatch.files import make_folder, write_atomically
from greenbatch.runners.fleet.executors import Seen
from greenbatch.runners.fleet.machines import MachineFacts
from greenbatch.runners.fleet.messages import Assignment, Ended, FileRef, encode

COMMANDS = ("sbatch", "squeue", "scancel", "sinfo")
TASK = "greenbatch.runners.fleet.executors.slurm_task"
_USABLE = ("idle", "mixed", "allocated", "completing", "planned", "reserved")
_LOOK_S = 1.0  # how often squeue and the files are looked at
_LONGEST_S = 120.0  # of a command of Slurm
_COME_S = 7 * 24 * 3600.0
"""How long a busy cluster is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmOptions:
    """How jobs are submitted.

    Attributes:
        partition: Whose nodes are used; empty: the default one's.
        constraint: Features that a node must have, ``A&B``; empty: none.
        setup: A line of shell to run on the node first, e.g. ``module load python``.
        python: The interpreter on the nodes.
        more: Further options of sbatch, e.g. ``--account=lab --time=02:00:00``.
    """

    partition: str = ""
    constraint: str = ""
    setup: str = ""
    python: str = sys.executable
    more: str = ""

    @property
    def arguments(self) -> list[str]:
        """The options of sbatch that all jobs share."""
        found = ["--exclusive", "--requeue", "--open-mode=append", "--parsable"]
        found += [f"--partition={self.partition}"] if self.partition else []
        return found + shlex.split(self.more)


@dataclass(slots=True)
class _Array:
    """A job array.

    Attributes:
        job: Slurm's number of it.
        machine: Whose it is.
        folder: Of its assignments and messages.
        units: Names of its units, by the number of the task.
        ended: Tasks whose end was seen.
    """

    job: str
    machine: str
    folder: Path
    units: list[str]
    ended: set[int]


def require_commands() -> None:
    """Check that this host has Slurm's commands.

    Raises:
        UsageError: One is missing.
    """
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        raise UsageError(
            f"--slurm needs the command {missing[0]}, which is not on this host; run it on a "
            "login node of the cluster"
        )


class SlurmArrays:
    """Units on the nodes of a Slurm cluster; see `greenbatch.runners.fleet.executors.Executor`.

    Args:
        options: See `SlurmOptions`.
        fleet: Identifies the fleet.
        home: The fleet's folder, on a file system that all nodes share.
    """

    name = "slurm"
    link = ""
    come_s = _COME_S

    def __init__(self, options: SlurmOptions, fleet: str, home: Path) -> None:
        self._options = options
        self._job_name = f"gb-{fleet}"
        self._spool = home.resolve() / "spool"
        make_folder(self._spool)
        self._arrays: list[_Array] = []
        self._probes: dict[str, str] = {}  # job by node
        self._offsets: dict[Path, int] = {}
        self._queue: dict[tuple[str, int], str] = {}  # state by job and task
        self._looked_s = 0.0
        self._scancel("--state=PENDING", f"--name={self._job_name}")

    @classmethod
    @contextmanager
    def opened(cls, options: SlurmOptions, fleet: str, home: Path) -> Iterator[Self]:
        """Use the cluster of this host.

        Raises:
            UsageError: Slurm's commands are not there.
            FleetError: Its controller does not answer.
        """
        require_commands()
        yield cls(options, fleet, home)

    @property
    def awaited(self) -> int:
        """The number of nodes that can be used."""
        return sum(usable for usable in self._nodes().values())

    def machines(self) -> dict[str, Seen]:
        """Return the nodes that can be used and have answered; see `Executor`."""
        found = {}
        for node, usable in self._nodes().items():
            if not usable:
                continue
            answer = self._spool / f"{node}.facts"
            if answer.exists():
                found[node] = Seen(msgspec.json.decode(answer.read_bytes(), type=MachineFacts))
            elif (reason := self._ask(node)) is not None:
                found[node] = Seen(None, reason)
        return found

    def lacking(self, machine: str, files: Sequence[FileRef], folder: Path) -> list[FileRef]:
        """Return nothing: the nodes copy from the shared folder; see `Executor`."""
        return []

    def send_file(self, machine: str, file: FileRef, path: Path) -> None:
        """Do nothing; see `lacking`."""

    def submit(self, machine: str, assignments: Sequence[Assignment]) -> None:
        """Submit an array with a task for each unit; see `Executor`."""
        folder = self._spool / f"{machine}-{time.time_ns():x}"
        make_folder(folder)
        for number, assignment in enumerate(assignments):
            write_atomically(folder / f"{number}.assignment", encode(assignment))
        tasks = f"--array=0-{len(assignments) - 1}%1"
        job = self._sbatch(machine, folder, tasks)
        units = [assignment.unit for assignment in assignments]
        self._arrays.append(_Array(job, machine, folder, units, set()))
        self._look(now=True)

    def lost(self) -> list[str]:
        """Return the nodes with units that cannot be used now; see `Executor`."""
        usable = {node for node, ok in self._nodes().items() if ok}
        return [
            machine
            for machine in dict.fromkeys(array.machine for array in self._arrays)
            if machine not in usable
            and any(self._waiting(array) for array in self._of(machine))
            and not any(self._running(array) for array in self._of(machine))
        ]

    def withdraw(self, machine: str) -> list[str]:
        """Cancel the tasks of a node that have not begun; see `Executor`."""
        self._look(now=True)
        units = []
        for array in self._of(machine):
            for task in self._waiting(array):
                units.append(array.units[task])
                array.ended.add(task)
                self._scancel("--state=PENDING", f"{array.job}_{task}")
        return units

    def receive(self, timeout_s: float) -> list[bytes]:
        """Return what was appended to the files, and how jobs ended that say nothing."""
        time.sleep(min(timeout_s, _LOOK_S))
        before = self._look()
        found = self._read_files()
        for array in self._arrays if before else ():
            for task, unit in enumerate(array.units):
                if task not in array.ended and (array.job, task) not in self._queue:
                    array.ended.add(task)
                    found.append(encode(self._silent(array, task, unit)))
        return found

    def cancel(self) -> None:
        """Cancel all jobs of the fleet; see `Executor`."""
        self._scancel(f"--name={self._job_name}")

    def close(self) -> None:
        """Leave; the jobs go on."""

    def _silent(self, array: _Array, task: int, unit: str) -> Ended:
        state = self._state_of(f"{array.job}_{task}")
        reason = f"the Slurm job {array.job}_{task} ended without a result{state}"
        return Ended(machine=array.machine, unit=unit, outcome="failed", reason=reason)

    def _state_of(self, job: str) -> str:
        done = self._run("scontrol", "show", "job", job, check=False)
        state = re.search(r"JobState=(\w+)", done)
        return f" ({state[1]})" if state else ""

    def _read_files(self) -> list[bytes]:
        """Return the whole lines that were appended to messages since the last call."""
        found: list[bytes] = []
        ends = {array.folder.name: array for array in self._arrays}
        for path in sorted(self._spool.glob("*/*.messages")):
            offset = self._offsets.get(path, 0)
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._offsets[path] = offset + len(whole)
            lines = whole.splitlines(keepends=True)
            found += lines
            array = ends.get(path.parent.name)
            if array and any(b'"type":"Ended"' in line for line in lines):
                array.ended.add(int(path.name.partition(".")[0]))
        return found

    def _look(self, *, now: bool = False) -> bool:
        """Ask for the jobs of the fleet, at most every second; say whether it was asked."""
        if not now and time.monotonic() - self._looked_s < _LOOK_S:
            return False
        self._looked_s = time.monotonic()
        text = self._run(
            *("squeue", "--noheader", "--array", f"--name={self._job_name}", "--format=%F|%K|%T")
        )
        self._queue = {}
        for line in text.splitlines():
            job, task, state = line.strip().split("|")
            if task.isdigit():
                self._queue[job, int(task)] = state
        return True

    def _of(self, machine: str) -> list[_Array]:
        return [array for array in self._arrays if array.machine == machine]

    def _waiting(self, array: _Array) -> list[int]:
        return [
            task
            for task in range(len(array.units))
            if task not in array.ended and self._queue.get((array.job, task)) == "PENDING"
        ]

    def _running(self, array: _Array) -> list[int]:
        return [
            task
            for task in range(len(array.units))
            if self._queue.get((array.job, task)) in ("RUNNING", "COMPLETING", "CONFIGURING")
        ]

    def _nodes(self) -> dict[str, bool]:
        """Return the nodes of the partition with the features, and whether each can be used."""
        where = [f"--partition={self._options.partition}"] if self._options.partition else []
        text = self._run("sinfo", "--noheader", "--Node", "--format=%N|%T|%f|%P", *where)
        wanted = set(filter(None, self._options.constraint.split("&")))
        found = {}
        for line in text.splitlines():
            node, state, features, partition = line.strip().split("|")
            if not self._options.partition and not partition.endswith("*"):
                continue
            if wanted <= set(features.split(",")):
                found[node] = state.rstrip("*~#!%$@^-") in _USABLE and not state.endswith("*")
        return found

    def _ask(self, node: str) -> str | None:
        """Have a node describe itself; return why it cannot, ``None`` while it may."""
        failure = self._spool / f"{node}.unfit"
        if failure.exists():
            return failure.read_text(encoding="utf-8", errors="replace").strip()
        if node not in self._probes:
            folder = self._spool / f"{node}-facts"
            make_folder(folder)
            self._probes[node] = self._sbatch(node, folder)
            return None
        job = self._probes[node]
        if self._run("squeue", "--noheader", f"--jobs={job}", check=False).strip():
            return None
        if (self._spool / f"{node}.facts").exists():
            return None
        log = self._spool / f"{node}-facts" / "log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        if any("No module named 'greenbatch'" in line for line in lines):
            return "it lacks the module greenbatch; install it there, or name --setup"
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"its job ended without facts{f': {last}' if last else ''}"

    def _sbatch(self, node: str, folder: Path, *more: str) -> str:
        options = self._options
        task = [options.python, "-m", TASK, str(self._spool), str(folder)]
        script = "\n".join(
            [
                "#!/bin/bash",
                options.setup,
                'export GB_MACHINE="${GB_MACHINE:-$SLURMD_NODENAME}"',
                f"exec {shlex.join(task)}",
                "",
            ]
        )
        log = folder / "log"
        done = self._run(
            *("sbatch", *options.arguments, f"--job-name={self._job_name}"),
            *(f"--nodelist={node}", "--nodes=1", f"--output={log}", *more),
            text=script,
        )
        return done.strip().partition(";")[0]

    def _scancel(self, *arguments: str) -> None:
        self._run("scancel", "--quiet", *arguments, check=False)

    @staticmethod
    def _run(*command: str, text: str = "", check: bool = True) -> str:
        """Run a command of Slurm; return what it prints.

        Raises:
            FleetError: It fails.
        """
        environ = {name: value for name, value in os.environ.items() if name != "GB_MACHINE"}
        try:
            done = subprocess.run(
                command,
                input=text,
                capture_output=True,
                text=True,
                check=False,
                timeout=_LONGEST_S,
                env=environ,
            )
        except subprocess.TimeoutExpired as error:
            raise FleetError(f"{command[0]} did not answer within {_LONGEST_S:g} s") from error
        if check and done.returncode:
            reason = done.stderr.strip().splitlines()
            raise FleetError(
                f"{command[0]} failed: {reason[-1] if reason else f'code {done.returncode}'}"
            )
        return done.stdout

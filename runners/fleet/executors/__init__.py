"""What runs the units of a fleet on its machines: Dask, or Slurm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from greenbatch.runners.fleet.machines import MachineFacts
from greenbatch.runners.fleet.messages import Assignment, FileRef


@dataclass(frozen=True, slots=True)
class Seen:
    """A machine that can be reached.

    Attributes:
        facts: What it says of itself; ``None`` where it cannot measure.
        unfit: Why it cannot, one sentence.
    """

    facts: MachineFacts | None
    unfit: str = ""


class Executor(Protocol):
    """Runs units on machines; closed by leaving its context.

    Whatever it loses is submitted again: machines keep what they measured, and the home folder
    takes each record once.
    """

    name: str
    come_s: float
    """How long the first machines are waited for, in s."""

    @property
    def awaited(self) -> int:
        """The number of machines that are known to come; 0: that is not known."""

    @property
    def link(self) -> str:
        """The address of a page that shows what runs; empty where there is none."""

    def machines(self) -> Mapping[str, Seen]:
        """Return the machines that can be reached now, by name.

        Raises:
            FleetError: Nothing can be reached any more.
        """

    def lacking(self, machine: str, files: Sequence[FileRef], folder: Path) -> list[FileRef]:
        """Return the files of artifacts that a machine has not, and cannot copy from ``folder``."""

    def send_file(self, machine: str, file: FileRef, path: Path) -> None:
        """Bring a file to a machine; ``path`` is where the client has it."""

    def submit(self, machine: str, assignments: Sequence[Assignment]) -> None:
        """Have a machine measure these units one after another, after those before."""

    def lost(self) -> list[str]:
        """Return the machines with units that nothing will measure: what ran them is gone."""

    def withdraw(self, machine: str) -> list[str]:
        """Take back the units of a machine; return those that had not begun."""

    def receive(self, timeout_s: float) -> list[bytes]:
        """Return the messages that came, each a line; wait for the first of them.

        Raises:
            FleetError: Nothing can be reached any more.
        """

    def cancel(self) -> None:
        """End what runs, and take back the rest."""

    def close(self) -> None:
        """Let go of the machines; units that run there go on where that is possible."""

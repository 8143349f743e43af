"""One measuring run at a time on a machine."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from greenbatch.errors import FileError, MeasurementError
from greenbatch.files import read_text, write_atomically
from greenbatch.user_folders import runtime_folder

_LIMIT_BYTES = 10_000
_CHILD = "greenbatch.runners.child.main"


class MachineLock:
    """The lock of this machine, for the runs of one user; it ends with the process.

    Attributes:
        held: Whether this run holds it; else another run measures at the same time.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self._lock = FileLock(folder / "measuring.lock", mode=0o600)
        self._holder = folder / "measuring.txt"
        self._run = run
        self.held = False

    def acquire(self) -> bool:
        """Take the lock if no other run has it; say whether this one has."""
        if not self.held:
            with contextlib.suppress(Timeout):
                self._lock.acquire(timeout=0)
                self.held = True
                write_atomically(self._holder, f"{os.getpid()} {self._run}")
        return self.held

    def release(self) -> None:
        """Let other runs measure."""
        if self.held:
            self._lock.release()
            self.held = False

    @property
    def holder(self) -> str:
        """The process that has the lock, and its run, for a person."""
        try:
            pid, _, run = read_text(self._holder, _LIMIT_BYTES).partition(" ")
        except (FileNotFoundError, FileError):
            return "another process"
        return f"process {pid} ({run})"

    def neighbours(self) -> tuple[str, ...]:
        """Name the run that measures beside this one; none where this one has the machine.

        Where the other run has ended, this one takes the lock.
        """
        return () if self.acquire() else (f"host: {self.holder}",)


@contextmanager
def machine_for(
    run: str, *, share: bool | None, on_step: Callable[[str], None] = lambda sentence: None
) -> Iterator[MachineLock]:
    """Hold the lock of this machine while a run measures.

    Args:
        run: What measures, for whoever has to wait.
        share: Measure beside another run; ``None``: that is not offered.
        on_step: Receives a sentence where another run measures too.

    Raises:
        MeasurementError: Another run measures, and this one is not to share the machine; or the
            lock cannot be made.
        FileError: The folder of the lock belongs to another user.
    """
    try:
        lock = MachineLock(runtime_folder(), run)
        alone = lock.acquire()
    except OSError as error:
        raise MeasurementError(
            f"this machine cannot be locked for one run: {error}; set XDG_RUNTIME_DIR to a folder "
            "that you may write to"
        ) from error
    try:
        if not alone:
            _share(lock, share, on_step)
        for other in _of_other_users():
            on_step(f"{other} is measuring on this machine too; both runs are disturbed")
        yield lock
    finally:
        lock.release()


def _share(lock: MachineLock, share: bool | None, on_step: Callable[[str], None]) -> None:
    if not share:
        offer = ", or add --share-machine: its repetitions are then flagged as disturbed"
        raise MeasurementError(
            f"{lock.holder} is measuring on this machine, and two runs would disturb each other; "
            f"wait for it{'' if share is None else offer}"
        )
    on_step(f"{lock.holder} is measuring too; repetitions beside it are flagged as disturbed")


def _of_other_users() -> list[str]:
    """Name the measuring processes of other users, as far as the system shows them."""
    if os.name != "posix":
        return []
    found = []
    for process in psutil.process_iter(["uids", "cmdline", "username"]):
        info = process.info
        other = info["uids"] is not None and info["uids"].effective != os.geteuid()
        if other and _CHILD in (info["cmdline"] or ()):
            found.append(f"process {process.pid} of {info['username']}")
    return found

"""One measuring run at a time on a machine."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from greenbatch.errors import FileError, MeasurementError
from greenbatch.files import read_text, write_atomically
from greenbatch.user_folders import runtime_folder

_LIMIT_BYTES = 10_000
_LOOK_S = 0.5  # how often a run that waits tries again
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CHILD = "greenbatch.runners.child.main"


def boot_id() -> str:
    """Identify the running system, from its start to its end; empty where it has no such number.

    Machines that share a folder have different ones, and the containers of a machine the same.
    """
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class MachineLock:
    """The lock of this machine, for the runs of one user; it ends with the process.

    Its file is named by `boot_id`: machines that have one folder do not wait for each other.

    Attributes:
        held: Whether this run holds it; else another run measures at the same time.
    """

    def __init__(self, folder: Path, run: str) -> None:
        name = "-".join(filter(None, ("measuring", boot_id())))
        self._lock = FileLock(folder / f"{name}.lock", mode=0o600)
        self._holder = folder / f"{name}.txt"
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
    run: str,
    *,
    share: bool | None,
    wait_s: float = 0.0,
    on_step: Callable[[str], None] = lambda sentence: None,
) -> Iterator[MachineLock]:
    """Hold the lock of this machine while a run measures.

    Args:
        run: What measures, for whoever has to wait.
        share: Measure beside another run; ``None``: that is not offered.
        wait_s: How long to wait for another run to end, in s.
        on_step: Receives a sentence where another run measures too.

    Raises:
        MeasurementError: Another run measures, and this one is not to share the machine; or the
            lock cannot be made.
        FileError: The folder of the lock belongs to another user.
    """
    try:
        lock = MachineLock(runtime_folder(), run)
        alone = lock.acquire() or _wait(lock, wait_s, on_step)
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


def _wait(lock: MachineLock, wait_s: float, on_step: Callable[[str], None]) -> bool:
    """Wait until this run has the lock; say whether it has."""
    end_s = time.monotonic() + wait_s
    holder = ""
    while (left_s := end_s - time.monotonic()) > 0:
        if lock.holder != holder:
            holder = lock.holder
            on_step(f"{holder} is measuring on this machine; waiting for it")
        time.sleep(min(_LOOK_S, left_s))
        if lock.acquire():
            return True
    return False


def _share(lock: MachineLock, share: bool | None, on_step: Callable[[str], None]) -> None:
    if not share:
        offer = (
            " (--wait-machine 1h), or add --share-machine: its repetitions are then flagged as "
            "disturbed"
        )
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

"""A measuring child process, seen from its parent: its events, its time limit, its end."""

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Protocol, Self

from greenbatch.errors import FileError, MessageError
from greenbatch.processes import python_command
from greenbatch.records import Status
from greenbatch.runners.child.memory_errors import is_memory
from greenbatch.runners.child.messages import (
    Failed,
    Message,
    MessageT,
    Order,
    Ready,
    Request,
    decode,
    encode,
)
from greenbatch.runners.metering.meter import BY_BUS

_LONGEST_LINE_BYTES = 10_000_000


class ChildFailed(Exception):
    """The child failed, died or hung; caught where the repetition's record is made."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@contextmanager
def reported_figures() -> Iterator[None]:
    """Make records of what a child reported; figures that make none are its failure.

    Raises:
        ChildFailed: They make none, or the file that it should have written is not there.
    """
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        cause = " ".join(str(error).split())[:300]
        reason = f"the process reported figures that make no record: {cause}"
        raise ChildFailed(Status.ERROR, reason) from error


class Running(Protocol):
    """A child process that runs.

    Attributes:
        pid: Its process id.
        stdin, stdout: The other ends of its streams.
    """

    pid: int
    stdin: IO[bytes]
    stdout: IO[bytes]

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return its exit code, negative of a signal; ``None``: not ended in time, or unknown."""

    def kill(self) -> None:
        """Kill it, with all that it started, and wait for its end."""


class _Fresh(Running):
    """A fresh interpreter."""

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str], errors: int):
        self._process = subprocess.Popen(
            python_command("greenbatch.runners.child.main", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment_with(environment),
            start_new_session=True,  # Ctrl-C reaches the parent alone, and it ends the child
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.pid, self.stdin, self.stdout = (
            self._process.pid,
            self._process.stdin,
            self._process.stdout,
        )

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return its exit code; ``None`` where it has not ended in time."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kill it, with all that it started."""
        kill_group(self.pid)
        self._process.wait()


def environment_with(environment: Mapping[str, str]) -> dict[str, str]:
    """Return all variables of a child that gets these beside those of this process."""
    return {**os.environ, **BY_BUS, **environment}


def kill_group(pid: int) -> None:
    """Kill a process with its group, or alone where it has no group of its own yet."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class ChildProcess:
    """Runs ``greenbatch.runners.child.main`` and reads its events; a context manager.

    Leaving the context lets a child that has done its work end by itself, and kills any other,
    with everything it started.

    Args:
        timeout_s: From now, for all that is asked of it.
        arguments: Passed on to the child's command line.
        renews: Each event gives it the whole time again: only silence is limited.
        environment: Variables that it gets beside those of this process.
        begin: Starts it in another way, see `greenbatch.runners.child.starting`, from the
            descriptor that takes its standard error; ``None``: a fresh interpreter.
        isolation: How it is started, for the record: ``fork``, ``spawn`` or ``spawn: REASON``.

    Attributes:
        goes_on: Whether another request of its job may follow; its last result says so.
    """

    def __init__(
        self,
        timeout_s: float,
        *arguments: str,
        renews: bool = False,
        environment: Mapping[str, str] = MappingProxyType({}),
        begin: Callable[[int], Running] | None = None,
        isolation: str = "spawn",
    ) -> None:
        self.isolation = isolation
        self.goes_on = False
        self._is_ready = False
        self._timeout_s = timeout_s
        self._renews = renews
        self._deadline_s = time.perf_counter() + timeout_s
        self._oom_kills = _oom_kills()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__
        try:
            self._process = (
                begin(self._errors.fileno())
                if begin
                else _Fresh(arguments, environment, self._errors.fileno())
            )
        except BaseException:
            self._errors.close()
            raise
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, name="child", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if self._process.wait(0.0 if failure else 10.0) is None:
            self._process.kill()
        self._listener.join()
        self._process.stdout.close()
        self._errors.close()

    @property
    def has_ended(self) -> bool:
        """Whether its process has ended."""
        return self._process.wait(0.0) is not None

    def allow(self, timeout_s: float) -> None:
        """Give it so much time from now on, for all that is asked of it."""
        self._timeout_s = timeout_s
        self._deadline_s = time.perf_counter() + timeout_s

    def begin(self, job: str, backend: str) -> None:
        """Order a job; the child gets ready for it while the caller does something else.

        Args:
            job: One of `greenbatch.runners.child.jobs.JOBS`.
            backend: Its name.
        """
        self.send(Order(job=job, backend=backend))

    def finish(
        self,
        request: Request,
        result: type[MessageT],
        on_event: Callable[[Message], None] = lambda event: None,
    ) -> MessageT:
        """Send a request of the job that was begun, and return its result.

        Args:
            request: Of the job.
            result: The message that the job ends with.
            on_event: Receives each message before that, at once.

        Raises:
            ChildFailed: It failed, died, took too long or sent something else.
            FileError: It could not write a file, for the disk is full, read-only or faulty.
        """
        if not self._is_ready:
            self.event(Ready)
            self._is_ready = True
        self.send(request)
        stage = "loading"
        while not isinstance(event := self.event(result, *request.events, stage=stage), result):
            on_event(event)
            stage = "measuring"
        return event

    def event(self, *kinds: type[MessageT], stage: str = "starting") -> MessageT:
        """Wait for the next message.

        Args:
            kinds: Those that can come now, beside `Failed`.
            stage: What the child is doing, for the reason of a failure.

        Raises:
            ChildFailed: It failed, died, took too long or sent something else.
            FileError: It could not write a file, for the disk is full, read-only or faulty.
        """
        try:
            message: Message = decode(self._line(stage), *kinds, Failed)
        except MessageError as error:
            reason = f"the process sent an invalid message while {stage}: {error}"
            raise ChildFailed(Status.ERROR, reason) from error
        if isinstance(message, kinds):
            return message
        assert isinstance(message, Failed)
        if message.disk:
            raise FileError(message.disk)
        raise ChildFailed(message.status, message.reason)

    def send(self, message: Message) -> None:
        """Send a message that the child waits for."""
        with contextlib.suppress(BrokenPipeError):  # dead already: the events will say how
            self._process.stdin.write(encode(message))
            self._process.stdin.flush()

    def _line(self, stage: str) -> bytes:
        remaining_s = max(0.0, self._deadline_s - time.perf_counter())
        try:
            line = self._lines.get(timeout=remaining_s)
        except queue.Empty:
            raise ChildFailed(
                Status.TIMEOUT,
                f"stopped while {stage}: it {'sent nothing' if self._renews else 'took longer'} "
                f"{'for' if self._renews else 'than'} {self._timeout_s:g} s "
                "(the protocol's timeout_s, or what is left of a budget)",
            ) from None
        if line is None:
            raise self._death(stage)
        if self._renews:
            self._deadline_s = time.perf_counter() + self._timeout_s
        return line

    def _listen(self) -> None:
        while line := self._process.stdout.readline(_LONGEST_LINE_BYTES):
            self._lines.put(line)
        self._lines.put(None)

    def _death(self, stage: str) -> ChildFailed:
        code = self._process.wait()
        if code is None:
            reason = f"the process that it was forked from ended while {stage}"
            return ChildFailed(Status.ERROR, reason)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        message = f"; its last words: {lines[-1][:300]}" if lines else ""
        if code >= 0:
            return ChildFailed(Status.ERROR, f"the process ended ({code}) while {stage}{message}")
        if -code == signal.SIGKILL and _oom_kills() > self._oom_kills:
            reason = f"the kernel killed the process for memory while {stage}{message}"
            return ChildFailed(Status.OOM, reason)
        name = signal.Signals(-code).name
        # An exception of C++ that nobody catches aborts the process.
        status = Status.OOM if is_memory(message, lambda: "\n".join(lines)) else Status.ERROR
        return ChildFailed(status, f"the process was killed by {name} while {stage}{message}")


def _oom_kills() -> int:
    """Return how many processes the kernel has killed for memory since it started."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

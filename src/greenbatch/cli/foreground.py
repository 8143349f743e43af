"""Run a command in the foreground, as a shell would: its signals, its exit code, its refusals.

A signal reaches the command once: one that the terminal sends to the whole process group is not
handed on, and one that a process sends to this process is. A signal sent by a process to the whole
group (``kill -- -GROUP``) cannot be distinguished from that, and is handed on too.
"""

import contextlib
import errno
import os
import shutil
import signal
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from greenbatch.cli.signals import BY_SIGNAL

# As a shell does: 127 and 126 where a command cannot be started, 128 + n where signal n ended it.
NOT_FOUND, NOT_EXECUTABLE = 127, 126

_LOOK_S = 0.2  # how often to look for signals that a thread of a library took
_FROM_KERNEL = 0x80  # si_code SI_KERNEL: the terminal sent it, to each process of the group
_FIRST_BYTES = 256  # of a script: Linux reads as many for the interpreter
# Faults of this process itself, its own limits, its children and its place behind a terminal.
_OWN = "KILL STOP CHLD SEGV BUS FPE ILL TRAP SYS PIPE XCPU XFSZ TTIN TTOU"


class CannotRun(Exception):
    """A command that cannot be started; the text is the cause.

    Attributes:
        exit_code: 126 or 127.
    """

    def __init__(self, cause: str, exit_code: int) -> None:
        super().__init__(cause)
        self.exit_code = exit_code


def check_command(name: str) -> None:
    """See that there is something to run.

    Raises:
        CannotRun: It is not there, or is not executable.
    """
    if not name:
        raise CannotRun("its name is empty", NOT_FOUND)
    if "\0" in name:  # which no system takes
        raise CannotRun("there is no such command", NOT_FOUND)
    if shutil.which(name):
        return
    if os.sep not in name:
        if found := shutil.which(name, os.F_OK):
            raise CannotRun(f"{found} is not executable", NOT_EXECUTABLE)
        raise CannotRun("there is no such command", NOT_FOUND)
    try:
        folder = stat.S_ISDIR(Path(name).stat().st_mode)
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        cause = "there is no such command" if missing else (error.strerror or "").lower()
        raise CannotRun(cause, NOT_FOUND if missing else NOT_EXECUTABLE) from error
    raise CannotRun("it is a folder" if folder else "it is not executable", NOT_EXECUTABLE)


def run(command: Sequence[str]) -> int:
    """Run a command and hand on to it the signals that come, but for those ignored from the start.

    Args:
        command: Its name and arguments.

    Returns:
        Its exit code; 128 + n where signal n ended it.

    Raises:
        CannotRun: It cannot be started.
    """
    with _held_back() as (numbers, received, mask):
        child = _start(command, mask)
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            came = signal.sigtimedwait({*numbers, signal.SIGCHLD}, _LOOK_S)
            both = came is not None and came.si_code == _FROM_KERNEL
            if came is not None and came.si_signo != signal.SIGCHLD:
                if not both and came.si_pid != child:
                    os.kill(child, came.si_signo)
                if came.si_signo == signal.SIGTSTP:
                    _stop()
            while received:
                os.kill(child, received.pop(0))
        while signal.sigtimedwait(numbers, 0):
            pass  # what came while it ended was for it
    code = os.waitstatus_to_exitcode(ended[1])
    return code if code >= 0 else BY_SIGNAL - code


def _handed_on() -> set[int]:
    """Return the numbers of the signals that a command gets: none that is ignored here."""
    own = {getattr(signal, f"SIG{name}", None) for name in _OWN.split()}
    return {
        number
        for number in signal.valid_signals()
        if number not in own and signal.getsignal(number) not in (signal.SIG_IGN, None)
    }


@contextlib.contextmanager
def _held_back() -> Iterator[tuple[set[int], list[int], set[int]]]:
    """Hold back the signals that are handed on, until they are waited for.

    Yields:
        Their numbers, a list of those that came nevertheless, for which nothing waited, and the
        numbers of those that were held back before.
    """
    numbers, received = _handed_on(), list[int]()

    def receive(number: int, _: FrameType | None) -> None:
        received.append(number)

    # Where the parent ignores the ends of its children, so would this process: no exit code.
    ends = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = {number: signal.signal(number, receive) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*numbers, signal.SIGCHLD})
    try:
        yield numbers, received, set(map(int, mask))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.signal(signal.SIGCHLD, ends)


def _stop() -> None:
    """Stop as Ctrl-Z stops a process that does not handle it, until it is continued."""
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    held = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
    signal.raise_signal(signal.SIGTSTP)
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    signal.signal(signal.SIGTSTP, handler)


def _start(command: Sequence[str], mask: set[int]) -> int:
    """Start a command, a script without an interpreter of its own by ``sh``; return its number.

    Args:
        command: Its name and arguments.
        mask: The signals that it holds back. This process goes on holding back its own: one that
            came while both let it through would be handed on although the command had it.
    """
    path = shutil.which(command[0]) or command[0]
    try:
        return _spawn(path, command, mask)
    except OSError as error:
        first = _first_bytes(Path(path))
        if error.errno == errno.ENOEXEC and b"\0" not in first.partition(b"\n")[0]:
            with contextlib.suppress(OSError):
                return _spawn("/bin/sh", ["/bin/sh", path, *command[1:]], mask)
        raise _refusal(error, first) from error


def _spawn(path: str, command: Sequence[str], mask: set[int]) -> int:
    # Python ignores these two, and a program does not expect that (as `subprocess` restores them).
    restored = [signal.SIGPIPE, signal.SIGXFSZ]
    return os.posix_spawn(path, list(command), os.environ, setsigmask=mask, setsigdef=restored)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_FIRST_BYTES)
    except OSError:
        return b""


def _refusal(error: OSError, first: bytes) -> CannotRun:
    """Say why the system did not start a file that is executable and begins so."""
    interpreter = os.fsdecode(first[2:].partition(b"\n")[0].strip(b" \t"))
    if error.errno == errno.ENOEXEC:
        return CannotRun(
            "it is no program for this machine; get or build it for this processor",
            NOT_EXECUTABLE,
        )
    if not first.startswith(b"#!"):
        if error.errno == errno.ENOENT and first:
            return CannotRun(
                "the loader that it names is not there; get or build it for this system", NOT_FOUND
            )
    elif error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
        missing = error.errno != errno.EACCES
        cause = "is not there" if missing else "is not executable"
        cure = "install it, or correct the first line"
        if interpreter.endswith("\r"):
            cure = "its lines end in CR LF; save it with LF alone"
        # An interpreter may be a script, too, whose own interpreter is not there.
        name = interpreter.partition(" ")[0].partition("\t")[0]
        return CannotRun(
            f"its interpreter {name!r} {cause}; {cure}", NOT_FOUND if missing else NOT_EXECUTABLE
        )
    cause = (error.strerror or type(error).__name__).lower()
    return CannotRun(cause, NOT_EXECUTABLE)

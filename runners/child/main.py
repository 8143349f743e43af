"""The process that does one job with one backend, and reports to its parent how it went.

``python -m greenbatch.runners.child.main`` reads two messages from its standard input, an order
(the job and the backend) and a request, and writes messages to its standard output; see
`greenbatch.runners.child.messages`. Between the two it imports what the backend needs. It keeps
running after its result until its input is closed, so that the parent can read its meters while the
process is still alive; another request of the same job may come until then. A process that
`greenbatch.runners.child.fork_server` forked does the same.

``python -m greenbatch.runners.child.main BACKEND`` says whether the backend can run here; with
``trial`` behind it, a one-node network is run to find out.
"""

import os
import sys
import time
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenbatch.records import Status
    from greenbatch.runners.child.messages import Failed, Message, Tried

BORN_S = time.perf_counter()


def main(arguments: list[str]) -> int:
    """Answer a probe, or do the job that is ordered."""
    if not arguments:
        return do_job(BORN_S)
    send = _channel()
    try:
        if arguments[1:] == ["trial"]:
            send(trial(arguments[0]))
            return 0
        from greenbatch.runners.child import messages

        send(messages.Probed(reason=probe(arguments[0])))
    except BaseException as error:  # whatever it is, the parent must hear of it
        send(_failed(error))
        return 1
    return 0


def do_job(born_s: float) -> int:
    """Do the job that standard input orders.

    Args:
        born_s: When this process began, on `time.perf_counter`.

    Returns:
        The exit code of a process that has no result; one that has ends here.
    """
    send = _channel()
    try:
        from greenbatch.runners.child import jobs, messages

        order = messages.decode(sys.stdin.buffer.readline(), messages.Order)
        answer = jobs.resolve(order.job)
        jobs.prepare(order.backend)
        send(messages.Ready())
        ready_s = time.perf_counter()
        line = sys.stdin.buffer.readline()
        if not line:  # the parent thought better of it
            return 0
        born_s += time.perf_counter() - ready_s  # the parent rests meanwhile
        while line:
            answer(line, send, born_s)
            line = sys.stdin.buffer.readline()  # the parent reads its meters, and may go on
            born_s = time.perf_counter()
    except BaseException as error:  # whatever it is, the parent must hear of it
        send(_failed(error))
        return 1
    os._exit(0)  # nothing is left to save, and taking a runtime apart can take a second


def probe(name: str) -> str | None:
    """Say why the backend ``name`` cannot run on this machine; ``None`` if it can."""
    from greenbatch import extras
    from greenbatch.runners import backends

    spec = backends.find(name)
    try:
        backend = backends.resolve(spec)
        return extras.reason(backend.packages) or backend.unavailable(spec.provider)
    except ImportError as error:
        again = f"its packages cannot be imported ({error}); install {spec.runtime} again"
        return extras.explain(error) or again


def trial(name: str) -> "Tried":
    """Run a one-node network on the backend ``name``; return its placement, or why it fails."""
    from greenbatch.runners import backends

    reason, placement, trial_s = probe(name), {}, None
    if reason is None:
        spec = backends.find(name)
        try:
            placement = dict(backends.resolve(spec).trial(spec.provider))
            trial_s = time.perf_counter() - BORN_S
        except Exception as error:  # whatever a runtime raises is the answer
            reason = _diagnose(error)[1]
    from greenbatch.runners.child.messages import Tried  # not before: the trial is timed

    return Tried(reason=reason, placement=placement, trial_s=trial_s)


def _failed(error: BaseException) -> "Failed":
    from greenbatch.runners.child.messages import Failed

    status, reason = _diagnose(error)
    return Failed(status=status, reason=_sendable(reason), disk=_fault_of_the_disk(error))


def _diagnose(error: BaseException) -> "tuple[Status, str]":
    """Return the status and the one-sentence reason of a failure."""
    from greenbatch.errors import GreenbatchError, UnsupportedCell
    from greenbatch.records import Status
    from greenbatch.runners.child.memory_errors import is_memory, printed_here

    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UnsupportedCell):
        return Status.UNSUPPORTED, text
    named = f"{type(error).__name__}: {text}"
    if isinstance(error, MemoryError) or is_memory(named, printed_here):
        return Status.OOM, f"out of memory: {text[:300]}"
    if isinstance(error, GreenbatchError):
        return Status.ERROR, text
    return Status.ERROR, f"{type(error).__name__}: {text[:600]}"


def _sendable(text: str) -> str:
    """Write out what UTF-8 cannot hold: a file's name may have any bytes."""
    return text.encode(errors="backslashreplace").decode()


def _fault_of_the_disk(error: BaseException) -> str | None:
    """Say what is the matter if a disk is full, read-only or faulty: the cell is not to blame."""
    from greenbatch.errors import FileError
    from greenbatch.files import disk_error, sentence

    if found := disk_error(error):
        fault = error if isinstance(error, FileError) else found
        return _sendable(sentence(fault, found.filename or "files"))
    return None


def _channel() -> "Callable[[Message], None]":
    """Return what sends a message to the parent."""
    events = _private_stdout()

    def send(message: "Message") -> None:
        from greenbatch.runners.child import messages

        events.write(messages.encode(message))
        events.flush()

    return send


def _private_stdout() -> BinaryIO:
    """Keep the parent's pipe for events; send what libraries print to standard error."""
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return private


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

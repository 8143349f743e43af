"""The process that does one job with one backend, and tells its parent how it went.

``python -m greenbatch.runners.child.main`` reads two lines of JSON from its standard input, an
order (the job and the backend) and a request, and writes events (JSON lines) to its standard
output. Between the two it imports what the backend needs and tells ``ready``. It keeps running
after its last event until its input is closed, so that the parent can read its meters while the
process is still alive.

``python -m greenbatch.runners.child.main BACKEND`` says whether the backend can run here; with
``trial`` behind it, a one-node network is run to find out.
"""

import json
import os
import sys
import time
from typing import Any, TextIO

BORN_S = time.perf_counter()


def main(arguments: list[str]) -> int:
    """Answer a probe, or do the job that is ordered."""
    events = _private_stdout()

    def tell(**members: Any) -> None:
        events.write(json.dumps(members) + "\n")
        events.flush()

    if arguments[1:] == ["trial"]:
        tell(event="trial", **trial(arguments[0]))
        return 0
    if arguments:
        tell(event="probe", reason=probe(arguments[0]))
        return 0
    try:
        from greenbatch.runners.child import jobs

        order = json.loads(sys.stdin.readline())
        jobs.prepare(order["backend"])
        tell(event="ready")
        line = sys.stdin.readline()
        if not line:  # the parent thought better of it
            return 0
        jobs.resolve(order["job"])(json.loads(line), tell, BORN_S)
    except BaseException as error:  # whatever it is, the parent must hear of it
        status, reason = _diagnose(error)
        tell(event="failed", status=status, reason=reason, disk=_fault_of_the_disk(error))
        return 1
    sys.stdin.read()  # until the parent has read its meters
    os._exit(0)  # nothing is left to save, and taking a runtime apart can take a second


def probe(name: str) -> str | None:
    """Say why the backend ``name`` cannot run on this machine; ``None`` if it can."""
    from greenbatch.runners import backends

    spec = backends.find(name)
    try:
        return backends.resolve(spec).unavailable(spec.provider)
    except ImportError as error:
        return f"its packages cannot be imported ({error}); install {spec.runtime} again"


def trial(name: str) -> dict[str, Any]:
    """Run a one-node network on the backend ``name``; tell its placement, or why it fails."""
    from greenbatch.runners import backends

    if reason := probe(name):
        return {"reason": reason}
    spec = backends.find(name)
    try:
        placement = backends.resolve(spec).trial(spec.provider)
    except Exception as error:  # whatever a runtime raises is the answer
        return {"reason": _diagnose(error)[1]}
    trial_s = time.perf_counter() - BORN_S
    return {"reason": None, "placement": dict(placement), "trial_s": trial_s}


def _diagnose(error: BaseException) -> tuple[str, str]:
    """Return the status and the one-sentence reason of a failure."""
    from greenbatch.errors import GreenbatchError, UnsupportedCell

    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UnsupportedCell):
        return "unsupported", text
    lowered = text.lower()
    if isinstance(error, MemoryError) or any(
        words in lowered
        for words in (
            "out of memory",
            "failed to allocate memory",
            "can't allocate memory",
            "cannot allocate memory",
            "bad_alloc",
            "not enough memory",
        )
    ):
        return "oom", f"out of memory: {text[:300]}"
    if isinstance(error, GreenbatchError):
        return "error", text
    return "error", f"{type(error).__name__}: {text[:600]}"


def _fault_of_the_disk(error: BaseException) -> str | None:
    """Say what is the matter if a disk is full, read-only or faulty: the cell is not to blame."""
    from greenbatch.errors import FileError
    from greenbatch.files import disk_error, sentence

    if found := disk_error(error):
        return sentence(error if isinstance(error, FileError) else found, found.filename or "files")
    return None


def _private_stdout() -> TextIO:
    """Keep the parent's pipe for events; send what libraries print to standard error."""
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return private


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

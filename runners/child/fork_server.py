"""A process that has imported what a backend needs, and forks a child for each job.

``python -m greenbatch.runners.child.fork_server BACKEND DESCRIPTOR`` imports the packages of a
backend that start no thread and open no device, and then forks on each `Fork` that comes through
the socket DESCRIPTOR. A child does what `greenbatch.runners.child.main` does in a fresh
interpreter. One child runs at a time; the server sleeps meanwhile.

A fork copies one thread alone: locks that another one holds are never released, and a device that
is open does not work in the copy. So the server says no where it has a second thread, a process of
its own or an open device. Libraries that are ready for a fork, such as OpenBLAS, end their threads
in the first one, which is a trial.
"""

import contextlib
import gc
import os
import socket
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path

from greenbatch.processes import end_with
from greenbatch.runners import backends
from greenbatch.runners.child import main, messages
from greenbatch.runners.child.fork_messages import (
    LARGEST_BYTES,
    Buried,
    Died,
    Fork,
    Forked,
    Serving,
)

_STREAMS = 3
_ENDING_S = 1.0  # a thread that was joined is listed for a moment longer
_DEVICES = ("/dev/nvidia", "/dev/dri", "/dev/kfd", "/dev/accel", "/dev/dxg")
_MODULES = (
    "numpy",
    "greenbatch.models.inputs",
    "greenbatch.runners.child.jobs",
    "greenbatch.runners.backends.cuda_driver",
    "greenbatch.runners.scenarios.batches",
    "greenbatch.runners.scenarios.offline",
    "greenbatch.runners.scenarios.preprocessing",
)
_MESSAGES = (
    *(messages.Order, messages.Ready, messages.Failed),
    *(messages.MeasureRepetition, *messages.MeasureRepetition.events, messages.Measured),
    *(messages.Settled, messages.TryBatch, messages.Fits, messages.MakeReference, messages.Made),
)


def serve(backend: str, channel: socket.socket) -> int:
    """Import what a backend needs, and fork children until the parent closes the channel.

    Returns:
        The exit code, of the server or of a child.
    """
    reason = preload(backend) or unsafe(after_trial=True)
    channel.send(messages.encode(Serving(reason=reason)))
    while not reason:
        line, streams, _, _ = socket.recv_fds(channel, LARGEST_BYTES, _STREAMS)
        if not line:
            break
        request = messages.decode(line, Fork)
        if reason := unsafe():
            channel.send(messages.encode(Forked(pid=None, reason=reason)))
            break
        server, born_s = os.getpid(), time.perf_counter()
        pid = os.fork()
        if pid == 0:
            channel.close()
            _become_child(server, request.cores, streams)
            return main.do_job(born_s)
        for stream in streams:
            os.close(stream)
        channel.send(messages.encode(Forked(pid=pid, reason=None)))
        _see_off(pid, channel)
    return 0


def preload(backend: str) -> str | None:
    """Import what a backend's children have in common, as far as that may be done before a fork.

    Returns:
        Why its children are not to be forked; ``None`` where they may be.
    """
    kind = backends.resolve(backends.find(backend))
    packages = vars(kind).get("preloads")  # a subclass may import more than its parent does
    if packages is None:
        return f"the backend {backend} does not declare what may be imported before a fork"
    for module in (*_MODULES, *packages):
        with contextlib.suppress(ImportError):  # the child will say what is missing
            import_module(module)
    for message in _MESSAGES:
        messages.adapter_of(message)
    gc.collect()
    gc.freeze()  # a collection in a child would write to, and so copy, all that is shared
    return None


def unsafe(*, after_trial: bool = False) -> str | None:
    """Say why this process must not be forked; ``None`` where it may.

    Args:
        after_trial: Fork once before, so that libraries which are ready for a fork end their
            threads.
    """
    if after_trial:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # of threads, which are counted next
            if (pid := os.fork()) == 0:
                os._exit(0)
        os.waitpid(pid, 0)
    until_s = time.perf_counter() + (_ENDING_S if after_trial else 0.0)
    while (threads := _threads()) > 1 and time.perf_counter() < until_s:
        time.sleep(0.001)
    if threads > 1:
        return f"what it imports starts threads ({threads - 1}), which a fork would not copy"
    if device := _open_device():
        return f"what it imports opens {device}, which does not work in a fork"
    if _has_children():
        return "what it imports starts processes, which a fork would share"
    return None


def _threads() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def _open_device() -> str | None:
    """Return a device that this process holds open, as a CUDA context or an initialised driver."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the descriptor of this very listing
            if (target := str(link.readlink())).startswith(_DEVICES):
                return target
    return None


def _has_children() -> bool:
    try:
        return bool(Path(f"/proc/self/task/{os.getpid()}/children").read_text().strip())
    except OSError:  # the kernel was built without
        return False


def _become_child(server: int, cores: list[int], streams: list[int]) -> None:
    """Make this process like a fresh interpreter: with a group, streams, cores of its own."""
    end_with(server)
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.sched_setaffinity(0, cores)
    if "numpy.random" in sys.modules:  # Python's own generator does so by itself
        import numpy as np

        np.random.seed()  # whoever uses the old one shall not repeat itself


def _see_off(pid: int, channel: socket.socket) -> None:
    """Wait for the end of a child, report it, and free its number once the parent has answered."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    channel.send(messages.encode(Died(code=code)))
    if line := channel.recv(LARGEST_BYTES):
        messages.decode(line, Buried)
    os.waitpid(pid, 0)


def run(backend: str, descriptor: str) -> int:
    """Serve through the socket with this descriptor."""
    return serve(backend, socket.socket(fileno=int(descriptor)))


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))

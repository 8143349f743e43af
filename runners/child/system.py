"""What a child asks its operating system: its cores, a calm stretch of time, its memory."""

import os
import sys
import time

from greenbatch.runners.child.messages import Idling, Settled, decode
from greenbatch.runners.child.windows import Send, clock

# ONNX Runtime's threads go on spinning for a while after a run: idle begins when they sleep.
_CALM_S = 0.2


def affinity() -> str:
    """Return the cores that this process may run on, as Linux writes them: ``0-3,8``."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return _ranges(cores) or "not told by the system"


def _ranges(numbers: list[int]) -> str:
    """Write sorted whole numbers as Linux does: ``0-3,8``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def idle_for(seconds: float, send: Send | None = None) -> tuple[float, float]:
    """Sleep; return begin and end of a stretch of ``seconds`` in which nothing ran.

    Args:
        seconds: How long.
        send: Where power takes its time to settle: sends `Idling` to the parent, whose answer on
            standard input is waited for; ``None``: a moment is enough.

    Raises:
        MessageError: The parent answers something else.
    """
    time.sleep(_CALM_S)
    if send:
        send(Idling())
        decode(sys.stdin.buffer.readline(), Settled)
    start_s = clock()
    time.sleep(seconds)
    return start_s, clock()


def peak_memory_bytes() -> tuple[int | None, int | None]:
    """Return the peaks of this process and of the largest that it started, in bytes."""
    try:
        import resource
    except ImportError:  # Windows has no getrusage
        return None, None
    unit = 1 if sys.platform == "darwin" else 1024
    own, started = (
        resource.getrusage(who).ru_maxrss * unit
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own, started


def gpu_uuid(backend: str) -> str | None:
    """Return the UUID of the GPU that this process computes on; ``None`` without CUDA.

    Args:
        backend: The name of the backend that it computes with.
    """
    from greenbatch.runners import backends
    from greenbatch.runners.backends import cuda_driver

    return cuda_driver.current_uuid() if backends.find(backend).device == "cuda" else None

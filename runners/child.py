"""The process that measures one repetition: load, warm up, run the window, tell the parent.

``python -m greenbatch.runners.child PARENT`` (the parent's process id) reads one request (a JSON
line) from its standard input and writes events (JSON lines) to its standard output. It keeps
running after its last event until its input is closed, so that the parent can read its meters
while the process is still alive. Instants are on `time.perf_counter`, which every process of a
machine shares.

``python -m greenbatch.runners.child PARENT BACKEND`` says whether the backend can run here; with
``trial`` behind it, a one-node network is run to find out.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

BORN_S = time.perf_counter()
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
clock = time.perf_counter
# ONNX Runtime's threads go on spinning for a while after a run: idle begins when they sleep.
_CALM_S = 0.2


def main(arguments: list[str]) -> int:
    """Answer a probe, or measure the requested repetition."""
    _die_with_parent(int(arguments[0]))
    events = _private_stdout()
    if arguments[2:] == ["trial"]:
        _tell(events, event="trial", **trial(arguments[1]))
        return 0
    if len(arguments) > 1:
        _tell(events, event="probe", reason=probe(arguments[1]))
        return 0
    request = json.loads(sys.stdin.readline())
    try:
        measure_repetition(request, events)
    except BaseException as error:  # whatever it is, the parent must hear of it
        status, reason = _diagnose(error)
        _tell(events, event="failed", status=status, reason=reason)
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
    return {"reason": None, "placement": dict(placement), "trial_s": clock() - BORN_S}


def measure_repetition(request: dict[str, Any], events: TextIO) -> None:
    """Load the cell's network, warm it up, measure its window, and tell the events.

    Args:
        request: The cell, the artifact's and the weights' paths, threads, seed, protocol, lead,
            window and idle lengths in s, and where to save latencies; `repetition` makes it.
        events: Where to write.
    """
    import numpy as np

    from greenbatch.models import inputs
    from greenbatch.records import Cell, parse_manifest
    from greenbatch.runners import backends
    from greenbatch.runners.profiles import MeasurementProtocol
    from greenbatch.runners.scenarios import offline

    cell = Cell(**request["cell"])
    protocol = MeasurementProtocol(**request["protocol"])
    manifest_path = Path(request["manifest"])
    manifest = parse_manifest(manifest_path.read_bytes(), manifest_path.name)
    images = inputs.synthetic_images(manifest.input, cell.batch_size, seed=request["seed"])
    task = backends.Task(
        cell=cell,
        artifact=Path(request["artifact"]),
        weights=Path(request["weights"]),
        manifest=manifest,
        threads=request["threads"],
        images=images,
        allow_fallback=request["allow_fallback"],
    )
    implementation = backends.resolve(backends.find(cell.backend))
    started_s = clock()
    _tell(events, event="started")

    backend = implementation(task)
    loaded_s = clock()
    _tell(events, event="loaded")

    backend.run()
    first_s = clock()
    _check_logits(backend.outputs(), cell.batch_size)
    idle: dict[str, tuple[float, float]] = {}
    if request["idle_before_s"]:
        idle["before"] = _idle(request["idle_before_s"])

    warm_up = offline.warm_up(backend.run, clock, protocol, first_s - loaded_s)
    _tell(events, event="warm")
    offline.keep_warm(backend.run, clock, request["lead_s"], warm_up)
    cpu_before_s = time.process_time()
    window = offline.measure(backend.run, clock, request["window_s"], protocol.window_iterations)
    cpu_s = time.process_time() - cpu_before_s
    _tell(events, event="ended")
    _check_logits(backend.outputs(), cell.batch_size)
    if request["idle_after_s"]:
        idle["after"] = _idle(request["idle_after_s"])

    latencies = np.asarray(window.latencies_s)
    np.save(request["latencies"], latencies)
    # Nearest rank: a quantile is a latency that happened, as in MLPerf.
    quantiles = np.quantile(latencies, QUANTILES, method="inverted_cdf")
    _tell(
        events,
        event="measured",
        pid=os.getpid(),
        window=(window.start_s, window.end_s),
        idle=idle,
        iterations=len(latencies),
        latency_s={str(q): float(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
        steady=_steady_halves(latencies, protocol.steady_tolerance),
        warm_up={
            "iterations": warm_up.iterations,
            "duration_s": warm_up.duration_s,
            "settled": warm_up.settled,
        },
        cpu_s=cpu_s,
        memory_host_bytes=_peak_memory_bytes(),
        placement=dict(backend.placement),
        fell_back=backend.fell_back,
        settings=dict(backend.settings),
        phases_s={
            "start": started_s - BORN_S,
            "load": loaded_s - started_s,
            "first": first_s - loaded_s,
            "warm_up": warm_up.duration_s,
            "window": window.end_s - window.start_s,
        },
    )


def _check_logits(logits: Any, batch_size: int) -> None:
    import numpy as np

    if logits.ndim != 2 or len(logits) != batch_size or not np.isfinite(logits).all():
        raise ArithmeticError(
            f"the logits have shape {logits.shape} and "
            f"{int(np.count_nonzero(~np.isfinite(logits)))} values that are not finite; wanted "
            f"{batch_size} rows of finite numbers"
        )


def _steady_halves(latencies: Any, tolerance: float) -> bool:
    """Tell whether the window's halves agree: a drift that began after the warm-up shows here."""
    import numpy as np

    if len(latencies) < 2:
        return True
    first, second = np.array_split(latencies, 2)
    middle = float(np.median(latencies))
    return abs(float(np.median(second)) - float(np.median(first))) <= tolerance * middle


def _idle(seconds: float) -> tuple[float, float]:
    time.sleep(_CALM_S)
    start_s = clock()
    time.sleep(seconds)
    return start_s, clock()


def _peak_memory_bytes() -> int | None:
    try:
        import resource
    except ImportError:  # Windows has no getrusage
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


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
            "bad_alloc",
            "not enough memory",
        )
    ):
        return "oom", f"out of memory: {text[:300]}"
    if isinstance(error, GreenbatchError):
        return "error", text
    return "error", f"{type(error).__name__}: {text[:600]}"


def _tell(events: TextIO, **members: Any) -> None:
    events.write(json.dumps(members) + "\n")
    events.flush()


def _private_stdout() -> TextIO:
    """Keep the parent's pipe for events; send what libraries print to standard error."""
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return private


def _die_with_parent(parent: int) -> None:
    """Ask Linux to end this process when its parent ends, however that ends."""
    if sys.platform == "linux":
        import ctypes
        import signal

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the request was made
            os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

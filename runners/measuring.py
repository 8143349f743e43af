"""What a child process is asked to do: measure a repetition, try a batch, make a reference.

Each job loads one network in one backend. Instants are on `time.perf_counter`, which every process
of a machine shares.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.errors import MeasurementError
from greenbatch.records import AS_RECORDED, FACTORS, Cell, Manifest, WarmUp, parse_manifest
from greenbatch.runners import backends
from greenbatch.runners.profiles import MeasurementProtocol

if TYPE_CHECKING:
    import numpy as np

    from greenbatch.queueing.arrivals import Arrivals

Request = Mapping[str, Any]
Tell = Callable[..., None]

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
REFERENCE_IMAGES = 4
"""How many of a batch's images are held to the reference: enough for a wrong row to show, few
enough to cost little. That every row is right at any batch size is the artifact's own proof."""

clock = time.perf_counter
_RUNS_EACH = 2  # of each size that can occur, before the warm-up
_FEWEST_BATCHES = 2  # that a server's window has time for
# ONNX Runtime's threads go on spinning for a while after a run: idle begins when they sleep.
_CALM_S = 0.2


def prepare(backend: str) -> None:
    """Import all that a job on a backend needs, so that its load is timed without it."""
    for package in ("numpy", *backends.resolve(backends.find(backend)).packages):
        import_module(package)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A backend that has run its batch once.

    Attributes:
        backend: With its network.
        task: It was loaded with.
        first_s: How long its first inference took.
        settings: What was in force then.
    """

    backend: backends.Backend
    task: backends.Task
    first_s: float
    settings: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Measured:
    """What a scenario gave: the ends of its window, and the members of the event it is told in."""

    window: tuple[float, float]
    warm_up: WarmUp
    arrays: Mapping[str, "np.ndarray"]
    members: Mapping[str, Any]


def measure_repetition(request: Request, tell: Tell, born_s: float) -> None:
    """Load a cell's network, hold it to the reference, warm it up and measure its window.

    Args:
        request: As `repetition` makes it: the cell, the files of its artifact, protocol, lead,
            window and idle lengths in s, and where to save latencies.
        tell: Writes an event: ``loaded``, ``warm``, ``ended``, ``measured``.
        born_s: When the process began.

    Raises:
        MeasurementError: The backend computes something else than the reference, or what was in
            force changed while it was measured.
    """
    import numpy as np

    ready_s = clock()
    task = _task(request)
    cached = task.cache is not None and any(task.cache.iterdir())
    load_s = clock()
    backend = backends.resolve(backends.find(task.cell.backend))(task)
    loaded_s = clock()
    tell(event="loaded")

    backend.run()
    first_s = clock()
    agreement = _agreement(backend.outputs(), task, request["reference"])
    settings = dict(backend.settings)
    idle: dict[str, tuple[float, float]] = {}
    if request["idle_before_s"]:
        idle["before"] = _idle(request["idle_before_s"])
    measure = _serve if task.cell.is_server else _run_back_to_back
    measured = measure(Loaded(backend, task, first_s - loaded_s, settings), request, tell)
    _check_logits(backend.outputs(), task.cell.batch_size)
    _check_unchanged(settings, dict(backend.settings))
    if request["idle_after_s"]:
        idle["after"] = _idle(request["idle_after_s"])

    np.savez(request["arrays"], **dict(measured.arrays))  # type: ignore[arg-type]
    host_bytes, children_bytes = _peak_memory_bytes()
    start_s, end_s = measured.window
    members = {
        "pid": os.getpid(),
        "window": measured.window,
        "idle": idle,
        "one_off": {"load": (load_s, loaded_s), "first": (loaded_s, first_s)},
        "cache": _cache(task.cache, cached),
        "agreement": agreement,
        "warm_up": asdict(measured.warm_up),
        "memory_host_bytes": host_bytes,
        "memory_children_bytes": children_bytes,
        "placement": dict(backend.placement),
        "fell_back": backend.fell_back,
        "settings": {**_surroundings(task.cell), **settings},
        "phases_s": {
            "start": ready_s - born_s,
            "images": load_s - ready_s,
            "load": loaded_s - load_s,
            "first": first_s - loaded_s,
            "warm_up": measured.warm_up.duration_s,
            "window": end_s - start_s,
        },
    }
    tell(**(members | dict(measured.members)), event="measured")


def _run_back_to_back(loaded: Loaded, request: Request, tell: Tell) -> Measured:
    """Measure the closed loop."""
    import numpy as np

    from greenbatch.runners.scenarios import offline

    run = loaded.backend.run
    protocol = MeasurementProtocol(**request["protocol"])
    warm_up = offline.warm_up(run, clock, protocol, loaded.first_s)
    tell(event="warm")
    offline.keep_warm(run, clock, request["lead_s"], warm_up)
    cpu_before_s = time.process_time()
    window = offline.measure(run, clock, request["window_s"], protocol.window_iterations)
    cpu_s = time.process_time() - cpu_before_s
    tell(event="ended")
    latencies = np.asarray(window.latencies_s)
    return Measured(
        (window.start_s, window.end_s),
        warm_up,
        {"latency_s": latencies},
        {
            "iterations": len(latencies),
            "images": len(latencies) * loaded.task.cell.batch_size,
            "latency_s": _quantiles(latencies),
            "steady": _steady_halves(latencies, protocol.steady_tolerance),
            "cpu_s": cpu_s,
        },
    )


def _serve(loaded: Loaded, request: Request, tell: Tell) -> Measured:
    """Measure the open loop: requests arrive, and a policy forms the batches."""
    from greenbatch.queueing.overload import load
    from greenbatch.queueing.policies import parse_policy
    from greenbatch.runners.scenarios import offline
    from greenbatch.runners.scenarios.batches import Batches
    from greenbatch.runners.scenarios.generator import Generator
    from greenbatch.runners.scenarios.server import serve

    task = loaded.task
    policy = parse_policy(dict(task.cell.traffic)["policy"])
    protocol = MeasurementProtocol(**request["protocol"])
    batches = Batches(loaded.backend, task, policy.batch_sizes())
    began_s = clock()
    warmed = batches.warm(_RUNS_EACH, clock, protocol.warm_up_max_s)
    warm_up = offline.warm_up(loaded.backend.run, clock, protocol, loaded.first_s)
    batch_s = warm_up.duration_s / warm_up.iterations
    warm_up = replace(warm_up, duration_s=clock() - began_s)
    arrivals, rate_hz = _traffic(task.cell)
    # The largest batch fills and runs in it, twice, if its requests come as often as that.
    fill_s = policy.largest / rate_hz if rate_hz else 0.0
    window_s = max(request["window_s"], fill_s + _FEWEST_BATCHES * batch_s)
    duration_s = request["lead_s"] + window_s
    planned_s = arrivals.times(rate_hz, seed=request["arrivals_seed"], duration_s=duration_s)
    with Generator(planned_s) as generator:
        tell(event="warm", window_s=window_s)
        cpu_before_s = time.process_time()
        drain_s = max(window_s / 2, _FEWEST_BATCHES * batch_s)
        loop = serve(batches.run, policy, generator, clock, request["lead_s"], drain_s)
        cpu_s = time.process_time() - cpu_before_s
    tell(event="ended")
    time.sleep(request["tail_s"])
    served, (start_s, end_s) = loop.served, loop.window
    inside = (served.batch_start_s >= start_s) & (served.batch_start_s < end_s)
    latencies = (served.batch_end_s - served.batch_start_s)[inside]
    response_s, lateness_s = loop.response_s, loop.lateness_s
    if not len(response_s) or not len(latencies) or not loop.completed:
        raise MeasurementError(
            f"no request was both planned and served in the window of {end_s - start_s:.3g} s; "
            "ask for more requests, a higher rate, or a smaller batch"
        )
    sizes, counts = _counted(served.batch_size[inside])
    load_seen = load(served, policy.largest)
    return Measured(
        (start_s, end_s),
        warm_up,
        {
            "latency_s": latencies,
            "arrival_s": loop.planned_s,
            "handed_over_s": loop.handed_over_s,
            "batch_start_s": served.batch_start_s,
            "batch_end_s": served.batch_end_s,
            "batch_size": served.batch_size,
            "waiting": served.waiting,
        },
        {
            "iterations": int(inside.sum()),
            "images": loop.completed,
            "latency_s": _quantiles(latencies),
            "steady": True,  # sizes differ from batch to batch: halves of the window tell nothing
            "cpu_s": cpu_s + loop.generator_cpu_s,
            "overloaded": load_seen.overloaded or loop.unserved > 0,
            "late": loop.late,
            "tail_s": request["tail_s"],
            "settings": {
                **_surroundings(task.cell),
                **loaded.settings,
                "batches_padded_to": batches.padding,
                "batch_sizes_warmed": f"{warmed} of {len(batches.each())}",
            },
            "queue": {
                "requests": len(response_s),
                "unserved": loop.unserved,
                "response_s": _quantiles(response_s),
                "response_mean_s": float(response_s.mean()),
                "busy_s": loop.busy_s,
                "batch_sizes": dict(zip(sizes, counts, strict=True)),
                "waiting_mean": float(served.waiting[inside].mean()),
                "waiting_max": int(served.waiting[inside].max()),
                "lateness_s": _quantiles(lateness_s),
                "growth_hz": load_seen.growth_hz,
                "generator_cpu_s": loop.generator_cpu_s,
            },
        },
    )


def _traffic(cell: Cell) -> "tuple[Arrivals, float | None]":
    """Return how requests arrive, and their rate in Hz; a replay may keep its own."""
    from greenbatch.queueing.arrivals import parse_arrivals

    traffic = dict(cell.traffic)
    rate_hz = None if traffic["rate"] == AS_RECORDED else float(traffic["rate"])
    return parse_arrivals(traffic["arrivals"]), rate_hz


def _counted(numbers: "np.ndarray") -> tuple[list[int], list[int]]:
    import numpy as np

    values, counts = np.unique(numbers, return_counts=True)
    return values.tolist(), counts.tolist()


def _quantiles(values: "np.ndarray") -> dict[str, float]:
    """Return quantiles by nearest rank: each is a value that happened, as in MLPerf."""
    import numpy as np

    found = np.quantile(values, QUANTILES, method="inverted_cdf")
    return {str(q): float(value) for q, value in zip(QUANTILES, found, strict=True)}


def try_batch(request: Request, tell: Tell, born_s: float) -> None:
    """Load a cell's network and run its batch twice; tell ``fits``."""
    task = _task(request)
    backend = backends.resolve(backends.find(task.cell.backend))(task)
    backend.run()
    backend.run()
    _check_logits(backend.outputs(), task.cell.batch_size)
    tell(event="fits")


def make_reference(request: Request, tell: Tell, born_s: float) -> None:
    """Save the reference: a backend's logits of the first images; tell ``made``."""
    import numpy as np

    task = _task(request)
    backend = backends.resolve(backends.find(task.cell.backend))(task)
    backend.run()
    logits = backend.outputs()
    _check_logits(logits, task.cell.batch_size)
    np.save(request["out"], logits)
    tell(event="made")


JOBS = {"repetition": measure_repetition, "batch": try_batch, "reference": make_reference}


def _task(request: Request) -> backends.Task:
    from greenbatch.models import inputs

    cell = Cell(**request["cell"])
    manifest = _manifest(Path(request["manifest"]))
    return backends.Task(
        cell=cell,
        artifact=Path(request["artifact"]),
        weights=Path(request["weights"]),
        manifest=manifest,
        threads=request["threads"],
        images=inputs.synthetic_images(manifest.input, cell.batch_size, seed=request["seed"]),
        allow_fallback=request["allow_fallback"],
        settings=backends.check_settings(cell.backend, dict(cell.settings)),
        source=request["source"],
        cache=Path(request["cache"]) if request.get("cache") else None,
    )


def _manifest(path: Path) -> Manifest:
    return parse_manifest(path.read_bytes(), path.name)


def _agreement(logits: "np.ndarray", task: backends.Task, reference: str) -> dict[str, float]:
    """Hold a backend's logits to the reference's.

    Raises:
        MeasurementError: They are further apart than the precision explains.
    """
    import numpy as np

    from greenbatch.models.agreement import difference, fault

    _check_logits(logits, task.cell.batch_size)
    images = min(task.cell.batch_size, REFERENCE_IMAGES)
    wanted, got = np.load(reference)[:images], logits[:images]
    if wanted.shape != got.shape:
        raise MeasurementError(
            f"{task.cell.backend} puts out {got.shape[1]} numbers for an image, the reference "
            f"{wanted.shape[1]}; it runs another network, and is not timed"
        )
    found = difference(wanted, got)
    if wrong := fault(found, task.cell.precision):
        raise MeasurementError(
            f"{task.cell.backend} computes something else in {task.cell.precision} than ONNX "
            f"Runtime does on the CPU in fp32: {wrong}; it is not timed, try another version of it"
        )
    return {"images": images, "max_rel": found.max_rel, "cosine": found.cosine}


def _check_logits(logits: "np.ndarray", batch_size: int) -> None:
    import numpy as np

    if logits.ndim != 2 or len(logits) != batch_size or not np.isfinite(logits).all():
        raise MeasurementError(
            f"the logits have shape {logits.shape} and "
            f"{int(np.count_nonzero(~np.isfinite(logits)))} values that are not finite; wanted "
            f"{batch_size} rows of finite numbers, try another precision or version"
        )


def _check_unchanged(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse a window in which the rules of the comparison changed.

    Raises:
        MeasurementError: A factor that matters to a comparison is another than before the window.
    """
    for factor in FACTORS:
        if before.get(factor) != after.get(factor):
            raise MeasurementError(
                f"{factor} changed from {before.get(factor)} to {after.get(factor)} while it was "
                "measured, so the window stands for neither; set it for the whole run"
            )


def _surroundings(cell: Cell) -> dict[str, str]:
    """Tell the factors that the process sets, not the backend."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    on_cpu = backends.find(cell.backend).device == "cpu"
    inside = "none" if on_cpu or cell.io == "device" else "inputs and outputs, in the window"
    return {
        "affinity": _ranges(cores) or "not told by the system",
        "transfers": inside,
    }


def _ranges(numbers: list[int]) -> str:
    """Write sorted whole numbers as Linux does: ``0-3,8``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def _cache(folder: Path | None, cached: bool) -> str | None:
    if folder is None or not any(folder.iterdir()):
        return None
    return "warm" if cached else "cold"


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


def _peak_memory_bytes() -> tuple[int | None, int | None]:
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

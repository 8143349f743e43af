"""What a scenario measures in its window, with a backend that is loaded.

Instants are on `time.perf_counter`, which every process of a machine shares.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from greenbatch.errors import MeasurementError
from greenbatch.records import Cell, Pipeline, Queue, WarmUp
from greenbatch.runners import backends
from greenbatch.runners.child.messages import (
    Ended,
    MeasureRepetition,
    Message,
    Warm,
    WindowFigures,
)
from greenbatch.units import si

if TYPE_CHECKING:
    import numpy as np

    from greenbatch.queueing.arrivals import Arrivals
    from greenbatch.runners.scenarios.preprocessing import Preprocessor

Send = Callable[[Message], None]

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999, 1.0)

clock = time.perf_counter
_RUNS_EACH = 2  # of each size that can occur, before the warm-up
_FEWEST_BATCHES = 2  # that a server's window has time for


@dataclass(frozen=True, slots=True)
class Loaded:
    """A backend that has run its batch once.

    Attributes:
        backend: With its network.
        task: It was loaded with.
        first_s: How long its first inference took.
        settings: The effective ones.
        preprocessor: Where images are decoded and transformed in the window; else ``None``.
    """

    backend: backends.Backend
    task: backends.Task
    first_s: float
    settings: Mapping[str, backends.Setting]
    preprocessor: "Preprocessor | None" = None


@dataclass(frozen=True, eq=False)
class ScenarioResult:
    """What a scenario gave.

    Attributes:
        window: Its begin and its end.
        warm_up: Before it.
        cpu_s: CPU time used in it.
        arrays: Of its trace.
        figures: That were counted in it.
        settings: The effective ones beside the backend's.
    """

    window: tuple[float, float]
    warm_up: WarmUp
    cpu_s: float
    arrays: Mapping[str, "np.ndarray"]
    figures: WindowFigures
    settings: Mapping[str, str] = field(default_factory=dict)


def measure_offline(loaded: Loaded, request: MeasureRepetition, send: Send) -> ScenarioResult:
    """Measure the closed loop."""
    import numpy as np

    from greenbatch.runners.scenarios import offline

    run, size = loaded.backend.run, loaded.task.cell.batch_size
    if loaded.preprocessor:
        run = loaded.preprocessor.before(loaded.backend, run, size)
    protocol = request.protocol
    warm_up = offline.warm_up(run, clock, protocol, loaded.first_s)
    send(Warm(window_s=request.window_s))
    offline.keep_warm(run, clock, request.lead_s, warm_up)
    cpu_before_s = time.process_time()
    window = offline.measure(run, clock, request.window_s, protocol.window_iterations)
    cpu_s = time.process_time() - cpu_before_s
    pipeline = _pipeline(loaded, window.start_s, window.end_s)
    send(Ended())
    latencies = np.asarray(window.latencies_s)
    return ScenarioResult(
        (window.start_s, window.end_s),
        warm_up,
        cpu_s,
        {"latency_s": latencies},
        WindowFigures(
            iterations=len(latencies),
            images=len(latencies) * size,
            latency_s=_quantiles(latencies),
            steady=_steady_halves(latencies, protocol.steady_tolerance),
            overloaded=False,
            late=False,
            queue=None,
            pipeline=pipeline,
        ),
    )


def _pipeline(loaded: Loaded, start_s: float, end_s: float) -> Pipeline | None:
    """Return what was preprocessed in a window that has just ended."""
    return loaded.preprocessor.total(start_s, end_s) if loaded.preprocessor else None


def measure_server(loaded: Loaded, request: MeasureRepetition, send: Send) -> ScenarioResult:
    """Measure the open loop: requests arrive, and a policy forms the batches."""
    from greenbatch.queueing.overload import load
    from greenbatch.queueing.policies import parse_policy
    from greenbatch.runners.scenarios import offline
    from greenbatch.runners.scenarios.batches import Batches
    from greenbatch.runners.scenarios.generator import Generator
    from greenbatch.runners.scenarios.server import serve

    task = loaded.task
    policy = parse_policy(task.cell.served.policy)
    protocol = request.protocol
    batches = Batches(loaded.backend, task, policy.batch_sizes())
    began_s = clock()
    warmed = batches.warm(_RUNS_EACH, clock, protocol.warm_up_max_s)
    if loaded.preprocessor:
        batches.preprocess(loaded.preprocessor)
    warm_up = offline.warm_up(lambda: batches.run(policy.largest), clock, protocol, loaded.first_s)
    batch_s = warm_up.duration_s / warm_up.iterations
    warm_up = replace(warm_up, duration_s=clock() - began_s)
    arrivals, rate_hz = _traffic(task.cell)
    # The largest batch fills and runs in it, twice, if its requests come as often as that.
    fill_s = policy.largest / rate_hz if rate_hz else 0.0
    window_s = max(request.window_s, fill_s + _FEWEST_BATCHES * batch_s)
    duration_s = request.lead_s + window_s
    planned_s = arrivals.times(rate_hz, seed=request.arrivals_seed, duration_s=duration_s)
    with Generator(planned_s) as generator:
        send(Warm(window_s=window_s))
        cpu_before_s = time.process_time()
        drain_s = max(window_s / 4, batch_s)
        loop = serve(batches.run, policy, generator, clock, request.lead_s, drain_s)
        cpu_s = time.process_time() - cpu_before_s
    served, (start_s, end_s) = loop.served, loop.window
    pipeline = _pipeline(loaded, start_s, end_s)
    send(Ended())
    time.sleep(request.tail_s)
    inside = (served.batch_start_s >= start_s) & (served.batch_start_s < end_s)
    latencies = (served.batch_end_s - served.batch_start_s)[inside]
    response_s, lateness_s = loop.response_s, loop.lateness_s
    if not len(latencies) or not loop.completed:
        raise MeasurementError(
            f"no batch both began and ended in the window of {end_s - start_s:.3g} s; ask for more "
            "requests, a higher rate, or a smaller batch"
        )
    # All of them are missing where those before them took the server until it was given up.
    answered = len(response_s) > 0
    sizes, counts = _counted(served.batch_size[inside])
    load_seen = load(served, policy.largest)
    return ScenarioResult(
        (start_s, end_s),
        warm_up,
        cpu_s + loop.generator_cpu_s,
        {
            "latency_s": latencies,
            "arrival_s": loop.planned_s,
            "handed_over_s": loop.handed_over_s,
            "batch_start_s": served.batch_start_s,
            "batch_end_s": served.batch_end_s,
            "batch_size": served.batch_size,
            "waiting": served.waiting,
        },
        WindowFigures(
            iterations=int(inside.sum()),
            images=loop.completed,
            latency_s=_quantiles(latencies),
            steady=True,  # sizes differ from batch to batch: halves of the window tell nothing
            overloaded=load_seen.overloaded or loop.unserved > 0,
            late=loop.late,
            pipeline=pipeline,
            queue=Queue(
                requests=len(response_s),
                unserved=loop.unserved,
                response_s=_quantiles(response_s) if answered else {},
                response_mean_s=float(response_s.mean()) if answered else None,
                busy_s=loop.busy_s,
                batch_sizes=dict(zip(sizes, counts, strict=True)),
                waiting_mean=float(served.waiting[inside].mean()),
                waiting_max=int(served.waiting[inside].max()),
                lateness_s=_quantiles(lateness_s),
                growth_hz=load_seen.growth_hz,
                generator_cpu_s=loop.generator_cpu_s,
            ),
        ),
        {
            "batches_padded_to": batches.padding,
            "batch_sizes_warmed": f"{warmed} of {len(batches.each())}",
            "weights_held": f"{batches.loaded} x {si(task.manifest.size_bytes, 'B')}",
        },
    )


def _traffic(cell: Cell) -> "tuple[Arrivals, float | None]":
    """Return how requests arrive, and their rate in Hz; a replay may keep its own."""
    from greenbatch.queueing.arrivals import parse_arrivals

    return parse_arrivals(cell.served.arrivals), cell.served.rate_hz


def _counted(numbers: "np.ndarray") -> tuple[list[int], list[int]]:
    import numpy as np

    values, counts = np.unique(numbers, return_counts=True)
    return values.tolist(), counts.tolist()


def _quantiles(values: "np.ndarray") -> dict[str, float]:
    """Return quantiles by nearest rank: each is a value that happened, as in MLPerf."""
    import numpy as np

    found = np.quantile(values, QUANTILES, method="inverted_cdf")
    return {str(q): float(value) for q, value in zip(QUANTILES, found, strict=True)}


def _steady_halves(latencies: "np.ndarray", tolerance: float) -> bool:
    """Return whether the window's halves agree: a drift that began after the warm-up shows here."""
    import numpy as np

    if len(latencies) < 2:
        return True
    first, second = np.array_split(latencies, 2)
    middle = float(np.median(latencies))
    return abs(float(np.median(second)) - float(np.median(first))) <= tolerance * middle

"""The closed loop: batches back to back, as MLPerf's offline scenario."""

import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from greenbatch.design.protocol import MeasurementProtocol
from greenbatch.records import WarmUp
from greenbatch.runners.scenarios.steady import is_steady

# Judging stationarity costs time that grows with the series, so it is not asked each iteration.
_JUDGE_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Window:
    """What was measured: its ends on the run's clock, and the latency of each iteration, in s."""

    start_s: float
    end_s: float
    latencies_s: list[float]


def warm_up(
    run: Callable[[], None],
    clock: Callable[[], float],
    protocol: MeasurementProtocol,
    first_s: float,
) -> WarmUp:
    """Run batches until their latencies are stationary, within the protocol's bound.

    Args:
        run: Runs one batch from submit to result.
        clock: Monotonic, in s.
        first_s: Latency of the first inference, in s, which begins the series: where a batch takes
            seconds it is hardly slower than the next, and tells as much as they do.
        protocol: Its ``warm_up_*`` rules and ``steady_tolerance`` apply.

    Returns:
        How long it took, and whether the latencies settled.
    """
    latencies = [first_s]
    began = judged = last = clock()
    while True:
        run()
        now = clock()
        latencies.append(now - last)
        last = now
        over = now - began >= protocol.warm_up_max_s
        iterations = len(latencies) - 1
        if iterations < protocol.warm_up_iterations or now - began < protocol.warm_up_min_s:
            continue
        if over or now - judged >= _JUDGE_EVERY_S:
            judged = now
            settled = is_steady(latencies, protocol.steady_tolerance)
            if settled or over:
                return WarmUp(iterations=iterations, duration_s=now - began, settled=settled)
            last = clock()


def keep_warm(
    run: Callable[[], None], clock: Callable[[], float], lead_s: float, warm_up: WarmUp
) -> None:
    """Run batches for ``lead_s``, while the meters get ready for the window.

    Batches that take longer than that are not run: their window is long enough without.
    """
    if warm_up.duration_s < lead_s * warm_up.iterations:
        end_s = clock() + lead_s
        while clock() < end_s:
            run()


def measure(
    run: Callable[[], None], clock: Callable[[], float], window_s: float, iterations: int
) -> Window:
    """Run batches back to back for at least ``window_s`` and at least ``iterations`` times.

    One clock reading ends an iteration and begins the next: the latencies add up to the window,
    and nothing else happens inside it; Python's garbage collector is held off.

    Args:
        run: Runs one batch from submit to result.
        clock: Monotonic, in s.
        window_s: Shortest window, in s.
        iterations: Fewest iterations.
    """
    with collector_held_off():
        stamps = [clock()]
        stamp = stamps.append
        deadline = stamps[0] + window_s
        while stamps[-1] < deadline or len(stamps) <= iterations:
            run()
            stamp(clock())
    latencies = [after - before for before, after in pairwise(stamps)]
    return Window(stamps[0], stamps[-1], latencies)


@contextlib.contextmanager
def collector_held_off() -> Iterator[None]:
    """Collect garbage first, then not until the context is left."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

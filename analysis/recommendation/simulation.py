"""One backend under one policy and one traffic, simulated: response times, energy per request."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from greenbatch.analysis.recommendation.recorded import Recorded, in_short
from greenbatch.analysis.recommendation.service_curves import POINTS, Repeated, ServiceCurve
from greenbatch.queueing.arrivals import Arrivals, Bursty
from greenbatch.queueing.overload import load
from greenbatch.queueing.policies import Policy
from greenbatch.queueing.simulation import simulate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WARM_UP = 0.1
"""Share of the requests that come before the queue has its usual length; they are in no mean."""
_BURSTS = 20
_MOST_FOR_BURSTS = 30_000


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """Arrivals drawn once, so that all policies meet the same ones (common random numbers).

    Attributes:
        arrivals_s: In s, rising.
        draws: Which of its equally likely times the first, second, ... batch takes.
        rate_hz: Mean rate in requests/s.
        needed_hz: The rate that full batches have to hold.
        warm_up: How many of the first requests are in no mean.
        busiest: Places of the requests in the busiest stretch of a recording.
    """

    arrivals_s: "NDArray[np.float64]"
    draws: tuple[int, ...]
    rate_hz: float
    needed_hz: float
    warm_up: int
    busiest: slice | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the requests in one simulation.

    Attributes:
        mean_s, p99_s: Response time of a request, from its arrival to its result.
        busiest_mean_s, busiest_p99_s: The same of the busiest stretch; ``None`` where there is no
            recording.
        energy_j: Energy per request; ``None`` where that of a batch is missing.
        idle_j: The part of it in which no batch ran; ``None`` where it is not counted.
        batch: Mean batch size.
        busy: Share of the time in which a batch ran.
        interpolated: Share of the requests in batches of a size that was not measured.
        growing: Whether the queue grew all along.
    """

    mean_s: float
    p99_s: float
    busiest_mean_s: float | None
    busiest_p99_s: float | None
    energy_j: float | None
    idle_j: float | None
    batch: float
    busy: float
    interpolated: float
    growing: bool


def draw_traffic(arrivals: Arrivals, rate_hz: float | None, count: int, seed: int) -> Traffic:
    """Draw about ``count`` requests: more where they come in bursts.

    Raises:
        UsageError: The arrivals cannot be drawn at this rate.
    """
    if isinstance(arrivals, Bursty) and rate_hz:
        cycle_s = arrivals.burst_s / arrivals.share
        count = max(count, min(int(_BURSTS * cycle_s * rate_hz), _MOST_FOR_BURSTS))
    instants_s = arrivals.times(rate_hz, seed=seed, count=count)
    assert rate_hz is not None
    warm_up = int(WARM_UP * len(instants_s))
    return Traffic(instants_s, _draws(len(instants_s), seed), rate_hz, rate_hz, warm_up)


def replay_traffic(recorded: Recorded, seed: int, count: int | None = None) -> Traffic:
    """Replay what is judged of a recording, from its first request on.

    Args:
        recorded: The recording.
        seed: Of the times of batches; the arrivals are those of the recording.
        count: Make a short series of so many requests, see `in_short`; ``None``: replay all.
    """
    instants_s, busiest = recorded.instants_s, recorded.busiest_places
    if count is not None:
        instants_s, busiest = in_short(recorded, count)
    draws = _draws(len(instants_s), seed)
    return Traffic(instants_s, draws, recorded.rate_hz, recorded.needed_hz, 0, busiest)


def _draws(count: int, seed: int) -> tuple[int, ...]:
    import numpy as np

    return tuple(np.random.default_rng([seed, 1]).integers(POINTS, size=count).tolist())


def serve(
    traffic: Traffic, policy: Policy, curve: ServiceCurve, one: Repeated, *, idle: bool
) -> Outcome | None:
    """Simulate one repetition of a backend as a server.

    The energy of a request is that of the batches over their requests, and idle power for the rest
    of the time between two requests, 1/rate, which a server that sustains the rate has on average.

    Args:
        traffic: What arrives.
        policy: Whose batch sizes the curve has.
        curve: Of which ``one`` is a repetition.
        one: Time and energy of a batch.
        idle: Whether the energy between batches is counted; else that of batches alone.

    Returns:
        ``None`` where fewer than two batches are left to judge by.
    """
    import numpy as np

    rows = one.times_s.tolist()
    draw = cycle(traffic.draws).__next__
    smallest = curve.smallest
    # A flushed batch may be smaller than any that was measured; it is in no mean.
    by_size: list[list[float]] = [rows[0]] * smallest + rows

    def service(size: int) -> float:
        return by_size[size][draw()]

    served = simulate(traffic.arrivals_s, policy, service)
    requests = served.regular.copy()
    requests[: traffic.warm_up] = False
    first = int(served.batch[traffic.warm_up]) + 1 if traffic.warm_up else 0
    batches = slice(first, len(served.batch_size) - served.flushed)
    sizes = served.batch_size[batches]
    if len(sizes) < 2 or not requests.any():
        return None
    response_s = served.response_s[requests]
    count = int(sizes.sum())
    busy_s = float((served.batch_end_s - served.batch_start_s)[batches].sum()) / count
    energy_j = idle_j = None
    if one.energy_j is not None and not (idle and one.idle_w is None):
        energy_j = float(one.energy_j[sizes - smallest].sum()) / count
        if idle and one.idle_w is not None:
            idle_j = one.idle_w * max(1 / traffic.rate_hz - busy_s, 0.0)
            energy_j += idle_j
    guessed = ~np.isin(sizes, curve.measured)
    mean_s, p99_s = _mean_and_p99(response_s)
    busiest: tuple[float, float] | tuple[None, None] = (None, None)
    if traffic.busiest is not None:
        within = served.response_s[traffic.busiest][requests[traffic.busiest]]
        busiest = _mean_and_p99(within) if len(within) else (mean_s, p99_s)
    return Outcome(
        mean_s=mean_s,
        p99_s=p99_s,
        busiest_mean_s=busiest[0],
        busiest_p99_s=busiest[1],
        energy_j=energy_j,
        idle_j=idle_j,
        batch=count / len(sizes),
        busy=min(busy_s * traffic.rate_hz, 1.0),
        interpolated=float(sizes[guessed].sum()) / count,
        growing=load(served, policy.largest).overloaded,
    )


def _mean_and_p99(response_s: "NDArray[np.float64]") -> tuple[float, float]:
    import numpy as np

    return float(response_s.mean()), float(np.quantile(response_s, 0.99))


def averaged(curve: ServiceCurve) -> Repeated:
    """Return the mean repetition of a curve, to search with."""
    import numpy as np

    blocks = list(curve.blocks.values())
    energies = [one.energy_j for one in blocks if one.energy_j is not None]
    idles = [one.idle_w for one in blocks if one.idle_w is not None]
    return Repeated(
        times_s=np.mean([one.times_s for one in blocks], axis=0),
        energy_j=np.mean(energies, axis=0) if energies else None,
        idle_w=float(np.mean(idles)) if idles else None,
    )


def figures(outcomes: Mapping[int, Outcome], name: str) -> dict[int, float]:
    """Return one figure of the outcomes by block, where it is known."""
    values = {block: getattr(outcome, name) for block, outcome in outcomes.items()}
    return {block: float(value) for block, value in values.items() if value is not None}

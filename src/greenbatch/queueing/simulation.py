"""One queue before one server, simulated from event to event."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from greenbatch.errors import UsageError
from greenbatch.queueing.policies import Policy
from greenbatch.queueing.served import Served

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Service = Callable[[int], float]
"""Gives the time that a batch of a size takes, in s; called once for each batch, in order."""


def simulate(arrivals_s: "NDArray[np.float64]", policy: Policy, service: Service) -> Served:
    """Serve requests as a server would that takes no time but the batches'.

    Args:
        arrivals_s: When each request arrives, in s, rising.
        policy: Decides as it does for a real server.
        service: The time of a batch.
    """
    import numpy as np

    arrivals: list[float] = arrivals_s.tolist()
    total = len(arrivals)
    starts: list[float] = []
    ends: list[float] = []
    sizes: list[int] = []
    queue: list[int] = []
    flushed = False
    now_s = -np.inf
    served = arrived = 0
    while served < total:
        while arrived < total and arrivals[arrived] <= now_s:
            arrived += 1
        more = arrived < total
        decision = policy.decide(arrived - served, arrivals[served], now_s, more=more)
        if not decision.size:
            now_s = min(decision.look_s, arrivals[arrived]) if more else decision.look_s
            continue
        starts.append(now_s)
        queue.append(arrived - served)
        sizes.append(decision.size)
        flushed = decision.flushed
        served += decision.size
        now_s += service(decision.size)
        ends.append(now_s)
    return Served(
        arrival_s=np.asarray(arrivals_s, dtype=np.float64),
        batch_start_s=np.array(starts, dtype=np.float64),
        batch_end_s=np.array(ends, dtype=np.float64),
        batch_size=np.array(sizes, dtype=np.int64),
        waiting=np.array(queue, dtype=np.int64),
        flushed=flushed,
    )


def drawn(samples_s: Mapping[int, "ArrayLike"], seed: int) -> Service:
    """Make a service time that is drawn, with replacement, from what was measured.

    Args:
        samples_s: Times of batches by their size, in s.
        seed: Of the draws.

    Returns:
        Raises `UsageError` when it is asked for a size that was not measured.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    known = {size: np.asarray(times, dtype=np.float64) for size, times in samples_s.items()}

    def service(size: int) -> float:
        if size not in known:
            raise UsageError(
                f"no time of a batch of {size} is known, only of {sorted(known)}; measure it too"
            )
        return float(rng.choice(known[size]))

    return service

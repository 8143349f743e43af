"""One queue before one server, simulated from batch to batch."""

import math
from bisect import bisect_right
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

    A batch starts when the server is free and the policy would start it: when it can be full, or
    its oldest request has waited long enough. These are the instants at which `Policy.decide`
    starts a batch, without the steps between.

    Args:
        arrivals_s: When each request arrives, in s, rising.
        policy: How requests are batched.
        service: The time of a batch.
    """
    import numpy as np

    arrivals: list[float] = arrivals_s.tolist()
    total, largest, wait_s = len(arrivals), policy.largest, policy.wait_s
    starts: list[float] = []
    ends: list[float] = []
    firsts: list[int] = []
    free_s, first, flushed = -math.inf, 0, False
    while first < total:  # recordings have a million requests: no call that is not needed
        start_s = arrivals[first] + wait_s
        behind = first + largest
        if behind <= total:
            full_s = arrivals[behind - 1]
            if full_s < start_s:
                start_s = full_s
        else:
            behind = total
            if wait_s == math.inf:  # it will never be full: all that is left, when it is there
                start_s, flushed = arrivals[-1], True
        if free_s > start_s:
            start_s = free_s
        starts.append(start_s)
        firsts.append(first)
        if largest > 1:
            behind = bisect_right(arrivals, start_s, first + 1, behind)
        free_s = start_s + service(behind - first)
        ends.append(free_s)
        first = behind
    begins = np.array(firsts, dtype=np.int64)
    batch_start_s = np.array(starts, dtype=np.float64)
    every_s = np.asarray(arrivals_s, dtype=np.float64)
    return Served(
        arrival_s=every_s,
        batch_start_s=batch_start_s,
        batch_end_s=np.array(ends, dtype=np.float64),
        batch_size=np.diff(begins, append=total),
        waiting=np.searchsorted(every_s, batch_start_s, side="right") - begins,
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

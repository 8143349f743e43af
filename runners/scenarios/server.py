"""The open loop: single requests arrive and are batched by a policy, as MLPerf's server scenario.

Arrivals never wait for the server. A response time runs from the instant when a request was
*planned* to arrive to its result. Counted from when the server took notice of it, a slow batch
would hide the time that it kept others waiting, which is coordinated omission (Gil Tene, "How NOT
to measure latency").
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from greenbatch import units
from greenbatch.errors import MeasurementError
from greenbatch.queueing.policies import Policy
from greenbatch.queueing.served import Served
from greenbatch.runners.scenarios.offline import collector_held_off

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LATENESS_BOUND_S = 0.002
"""Requests of which more than 1 % were handed over later than this did not arrive as planned."""
# Between the message to the server and the first instant: the generator has to read the start.
_NOTICE_S = 0.02


class Source(Protocol):
    """Lets requests arrive; `greenbatch.runners.scenarios.generator.Generator` is one."""

    def begin(self, start_s: float) -> "Floats":
        """Let requests arrive from ``start_s`` on, and return the instants when they are to."""
        ...

    def handed_over(self, known: int, until_s: float) -> int:
        """Count the requests handed over; wait for more than ``known``, until ``until_s``."""
        ...

    def finish(self) -> tuple["Floats", float]:
        """Return when each request was handed over, and the CPU time that this took, in s."""
        ...


@dataclass(frozen=True, eq=False)
class OpenLoop:
    """What was measured. Instants in s on the run's clock.

    Attributes:
        served: The requests that were served, by the instants when they were planned to arrive, and
            the batches.
        planned_s, handed_over_s: When each request was to be, and was, handed over to the server.
        window: From the end of the lead to the last planned arrival. What is left then is served,
            so that no response time is cut off, but outside the window.
        generator_cpu_s: CPU time of whoever handed requests over, all in all.
    """

    served: Served
    planned_s: "Floats"
    handed_over_s: "Floats"
    window: tuple[float, float]
    generator_cpu_s: float

    @property
    def lateness_s(self) -> "Floats":
        """How much later than planned each request was handed over."""
        return self.handed_over_s - self.planned_s

    @property
    def unserved(self) -> int:
        """How many requests were still waiting when the server was given up."""
        return len(self.planned_s) - len(self.served.arrival_s)

    @property
    def late(self) -> bool:
        """Whether requests did not arrive as planned: the 99th percentile is over the bound."""
        import numpy as np

        p99_s = np.quantile(self.lateness_s, 0.99, method="inverted_cdf")
        return bool(p99_s > LATENESS_BOUND_S)

    @property
    def response_s(self) -> "Floats":
        """Response times of the requests planned in the window, but for flushed ones."""
        served = self.served
        return served.response_s[served.arrived_in(*self.window) & served.regular]

    @property
    def completed(self) -> int:
        """How many requests got their result in the window; its energy is theirs."""
        return int(self.served.ended_in(*self.window).sum())

    @property
    def busy_s(self) -> float:
        """For how long a batch was running in the window."""
        return self.served.busy_s(*self.window)


def serve(
    run: Callable[[int], None],
    policy: Policy,
    source: Source,
    clock: Callable[[], float],
    lead_s: float = 0.0,
    drain_s: float = math.inf,
) -> OpenLoop:
    """Serve every request that the source hands over; the policy decides when, and how many.

    Python's garbage collector is held off. The sizes of `Policy.batch_sizes` are to be warm.

    Args:
        run: Runs a batch of so many requests, from submit to result.
        policy: Asked whenever the server is free.
        source: Not yet begun.
        clock: Monotonic, in s; the source's.
        lead_s: The first stretch, outside the window: the meters get ready, and the queue reaches
            its usual length.
        drain_s: For how long what is left after the last arrival is served. A server that cannot
            hold its rate may have a queue that takes hours.

    Raises:
        MeasurementError: The source gave up, or its last request arrives within the lead.
    """
    import numpy as np

    starts: list[float] = []
    ends: list[float] = []
    sizes: list[int] = []
    queue: list[int] = []
    flushed = False
    start_s = clock() + _NOTICE_S
    planned_s = source.begin(start_s)
    planned = planned_s.tolist()
    total = len(planned)
    if not planned or planned[-1] <= start_s + lead_s:
        raise MeasurementError(
            f"{units.count(total, 'request')} arrive, none after the lead of {lead_s:g} s, so "
            "nothing is left to measure; ask for more requests, or for a longer time"
        )
    served = arrived = 0
    until_s = math.inf
    over_s = planned[-1] + drain_s
    with collector_held_off():
        while served < total and (not starts or ends[-1] < over_s):
            arrived = source.handed_over(arrived, until_s)
            waiting = arrived - served
            decision = policy.decide(waiting, planned[served], clock(), more=arrived < total)
            if not decision.size:
                until_s = decision.look_s
                continue
            starts.append(clock())
            run(decision.size)
            ends.append(clock())
            sizes.append(decision.size)
            queue.append(waiting)
            flushed = decision.flushed
            served += decision.size
            until_s = -math.inf
    handed_over_s, cpu_s = source.finish()
    return OpenLoop(
        served=Served(
            arrival_s=planned_s[:served],
            batch_start_s=np.array(starts, dtype=np.float64),
            batch_end_s=np.array(ends, dtype=np.float64),
            batch_size=np.array(sizes, dtype=np.int64),
            waiting=np.array(queue, dtype=np.int64),
            flushed=flushed,
        ),
        handed_over_s=handed_over_s,
        planned_s=planned_s,
        window=(start_s + lead_s, planned[-1]),
        generator_cpu_s=cpu_s,
    )

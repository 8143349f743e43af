"""Whether a server cannot hold a rate: whether its queue only grows."""

import math
from dataclasses import dataclass

from greenbatch.queueing.served import Served

STRETCHES = 20
# Student's t with 19 degrees of freedom exceeds it with a probability of 5 %.
_CRITICAL_T = 1.729


@dataclass(frozen=True, slots=True)
class Load:
    """What the queue says about the rate.

    Attributes:
        overloaded: Whether the queue grew, by more than chance and by more than a batch.
        growth: How many more requests waited at the end of the arrivals than at their begin.
        growth_hz: The same for each second: by so much the rate exceeds what the server holds.
        t: The mean change of the queue over its standard error.
    """

    overloaded: bool
    growth: int
    growth_hz: float
    t: float


def load(served: Served, largest: int) -> Load:
    """Judge from the queue whether the server holds the rate.

    The time from the first arrival to the last is cut into 20 equal stretches, and the change of
    the queue over each is taken. The server is overloaded if the mean change is above zero
    (one-sided t-test, 5 %) and the changes add up to more than one full batch. A stable queue comes
    back after it grew, so its changes cancel and the test is below its nominal 5 %; those of an
    overloaded one are nearly independent, as the server is never idle.
    ``benchmarks/overload_rule.py`` measures how often it is wrong.

    Args:
        served: From the first arrival on; the queue may be empty then.
        largest: The most requests in a batch: a queue shorter than that is the policy's own.

    Returns:
        Not overloaded where there are fewer requests than stretches: there is no decision.
    """
    import numpy as np

    if len(served.arrival_s) <= STRETCHES:
        return Load(overloaded=False, growth=0, growth_hz=0.0, t=0.0)
    first_s, last_s = float(served.arrival_s[0]), float(served.arrival_s[-1])
    changes = np.diff(served.queue_at(np.linspace(first_s, last_s, STRETCHES + 1)))
    growth = int(changes.sum())
    error = float(changes.std(ddof=1)) / math.sqrt(STRETCHES)
    mean = growth / STRETCHES
    t = mean / error if error else math.copysign(math.inf, mean) if mean else 0.0
    return Load(
        overloaded=t > _CRITICAL_T and growth > largest,
        growth=growth,
        growth_hz=growth / (last_s - first_s),
        t=t,
    )

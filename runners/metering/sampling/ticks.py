"""How often a counter is updated: found by watching it."""

import statistics
import time
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise

from greenbatch.runners.metering.meter import Clock

_ENOUGH_CHANGES = 6  # five periods


def probe_ticks(
    read: Callable[[], Mapping[str, float]],
    clock: Clock,
    limit_s: float,
    pause_s: float,
    wait_for: Collection[str] | None = None,
) -> dict[str, float | None]:
    """Watch counters until each has changed a few times.

    Args:
        read: Returns the value of each counter by name.
        clock: Returns the time in s.
        limit_s: The longest time to watch.
        pause_s: Sleep between two reads; it bounds how fine a period can be resolved.
        wait_for: The counters that are waited for; default all.

    Returns:
        The median period in s by name; ``limit_s`` for a counter that changed only once or
        twice, whose period is not known better; ``None`` for one that stood still.
    """
    values = dict(read())
    awaited = set(values if wait_for is None else wait_for)
    changes: dict[str, list[float]] = {name: [] for name in values}
    end_s = clock() + limit_s
    while clock() < end_s and any(len(changes[name]) < _ENOUGH_CHANGES for name in awaited):
        time.sleep(pause_s)
        seen, now_s = read(), clock()
        for name, value in seen.items():
            if value != values.setdefault(name, value):
                values[name] = value
                changes.setdefault(name, []).append(now_s)
    return {name: _period_s(instants, limit_s) for name, instants in changes.items()}


def _period_s(instants: list[float], limit_s: float) -> float | None:
    if not instants:
        return None
    if len(instants) < 3:
        return limit_s
    return statistics.median(later - earlier for earlier, later in pairwise(instants))

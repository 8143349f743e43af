"""When a series of latencies has become stationary."""

from collections.abc import Sequence
from statistics import median


def is_steady(latencies_s: Sequence[float], tolerance: float, stretches: int = 3) -> bool:
    """Tell whether the latest latencies have stopped drifting.

    The second half of the series (what came before may still be warm-up; of up to three latencies
    all of them) is cut into ``stretches`` of equal length. It is stationary when their medians
    lie within ``tolerance`` of one another, relative to the middle one. Medians, because one
    interrupted iteration says nothing about drift.

    Args:
        latencies_s: Latencies in the order they happened, in s.
        tolerance: Largest relative spread of the medians.
        stretches: How many stretches are compared.

    Returns:
        False also while the series is too short to tell (fewer than two latencies).
    """
    tail = latencies_s[len(latencies_s) // 2 :] if len(latencies_s) > 3 else latencies_s
    stretches = min(stretches, len(tail))
    if stretches < 2:
        return False
    length = len(tail) // stretches
    tail = tail[-length * stretches :]
    medians = [median(tail[i * length : (i + 1) * length]) for i in range(stretches)]
    return max(medians) - min(medians) <= tolerance * median(medians)

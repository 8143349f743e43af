"""When a series of latencies has become stationary."""

from collections.abc import Sequence
from itertools import accumulate
from statistics import fmean, linear_regression, median

AHEAD_S = 20.0
"""A drift counts when it would pass the tolerance within this time: most of what warms up in the
profiles' bounds is slower than the stretch in which it has to be seen."""
_STRETCHES = 12  # over which a drift is fitted: medians of so many are hardly correlated any more
_SORTED = 1000  # the median of so many is known to 4 % of their spread
_FEWEST_STRETCHES = 6  # below, a standard error of the slope says little


def is_steady(latencies_s: Sequence[float], tolerance: float, stretches: int = 3) -> bool:
    """Return whether the latest latencies have stopped drifting.

    Two things must hold. The second half of the series (what came before may still be warm-up; of
    up to three latencies all of them) is cut into ``stretches`` of equal length, whose medians lie
    within ``tolerance`` of one another, relative to the middle one. And its last two thirds do not
    drift: the slope of a line through the medians of twelve stretches is within its standard error
    of zero, or so small that it stays within ``tolerance`` for `AHEAD_S`. Medians, because one
    interrupted iteration says nothing about drift. ``benchmarks/protocol_rules.py`` prints how
    often this is right.

    Args:
        latencies_s: Latencies in the order they happened, back to back, in s.
        tolerance: Largest relative spread of the medians.
        stretches: How many stretches of the second half are compared.

    Returns:
        False also while the series is too short to tell (fewer than two latencies).
    """
    tail = latencies_s[len(latencies_s) // 2 :] if len(latencies_s) > 3 else latencies_s
    parts = _cut(tail, min(stretches, len(tail)))
    if len(parts) < 2:
        return False
    medians = [_middle(part) for part in parts]
    if max(medians) - min(medians) > tolerance * median(medians):
        return False
    return not _drifts(latencies_s[len(latencies_s) // 3 :], tolerance)


def _drifts(latencies_s: Sequence[float], tolerance: float) -> bool:
    parts = _cut(latencies_s, min(_STRETCHES, len(latencies_s)))
    if len(parts) < _FEWEST_STRETCHES:
        return False
    medians = [_middle(part) for part in parts]
    lengths_s = [sum(part) for part in parts]
    ends_s = accumulate(lengths_s)
    middles_s = [end_s - length_s / 2 for end_s, length_s in zip(ends_s, lengths_s, strict=True)]
    slope, intercept = linear_regression(middles_s, medians)
    pairs = list(zip(middles_s, medians, strict=True))
    residual = sum((value - intercept - slope * at_s) ** 2 for at_s, value in pairs)
    centre_s = fmean(middles_s)
    spread = sum((at_s - centre_s) ** 2 for at_s in middles_s)
    error = (residual / (len(parts) - 2) / spread) ** 0.5
    return abs(slope) > error and abs(slope) * AHEAD_S > tolerance * median(medians)


def _middle(values: Sequence[float]) -> float:
    """Return the median of a stretch; of a long one, of values that are evenly spread over it.

    A warm-up of short batches has hundreds of thousands: to sort them all at each look takes as
    long as the stretch between two looks, in which the device idles.
    """
    return median(values[:: -(-len(values) // _SORTED)])


def _cut(values: Sequence[float], parts: int) -> list[Sequence[float]]:
    """Cut into parts of equal length; what does not fit is left out at the beginning."""
    if parts == 0:
        return []
    length = len(values) // parts
    begin = len(values) - length * parts
    return [values[begin + i * length : begin + (i + 1) * length] for i in range(parts)]

"""When a series of latencies has become stationary."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import exp
from statistics import fmean, linear_regression, median
from typing import NamedTuple

AHEAD_S = 20.0
"""A drift counts when it would pass the tolerance within this time: most of what warms up in the
profiles' bounds is slower than the stretch in which it has to be seen."""
_STRETCHES = 12  # over which a drift is fitted: medians of so many are hardly correlated any more
_SORTED = 1000  # the median of so many is known to 4 % of their spread
_FEWEST_STRETCHES = 6  # below, a standard error of the slope says little
_TIME_CONSTANTS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2.0, 4.0)  # over what was seen
_T_99, _F_99 = 2.8, 10.6  # Student's t (one side) and F (one and nine degrees of freedom)
_LEFT_SHARE = 0.3  # of the tolerance: the rest is for what the fit does not see, look by look


def is_steady(latencies_s: Sequence[float], tolerance: float, stretches: int = 3) -> bool:
    """Return whether the latest latencies have stopped drifting.

    Two things must hold. The second half of the series (what came before may still be warm-up; of
    up to three latencies all of them) is cut into ``stretches`` of equal length, whose medians lie
    within ``tolerance`` of one another, relative to the middle one. And its last two thirds do not
    drift: the slope of a line through the medians of twelve stretches is within its standard error
    of zero, or so small that it stays within ``tolerance`` for `AHEAD_S`, or it is shown to level
    off: the upper bound of what an exponential warm-up has left is well within ``tolerance``.
    Medians, because one interrupted iteration says nothing about drift.
    ``benchmarks/protocol_rules.py`` prints how often this is right.

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


class _Stretches(NamedTuple):
    """A series, cut into stretches.

    Attributes:
        middles_s: When each stretch was half over, in s since the first began.
        end_s: When the last one ended.
        medians: Of the latencies of each, in s.
    """

    middles_s: list[float]
    end_s: float
    medians: list[float]


class _Line(NamedTuple):
    """A line fitted by least squares.

    Attributes:
        slope, error: And its standard error.
        residual: Sum of the squares that are left.
    """

    slope: float
    error: float
    residual: float


def _drifts(latencies_s: Sequence[float], tolerance: float) -> bool:
    """Whether a drift is seen that would pass the tolerance, and does not level off before."""
    parts = _cut(latencies_s, min(_STRETCHES, len(latencies_s)))
    if len(parts) < _FEWEST_STRETCHES:
        return False
    *before_s, end_s = accumulate(map(sum, parts))
    edges_s = [0.0, *before_s, end_s]
    middles_s = [fmean(edge) for edge in pairwise(edges_s)]
    seen = _Stretches(middles_s, end_s, [_middle(part) for part in parts])
    line = _line(seen.middles_s, seen.medians)
    limit_s = tolerance * median(seen.medians)
    drifts = abs(line.slope) > line.error and abs(line.slope) * AHEAD_S > limit_s
    return drifts and _left_s(seen) > limit_s * _LEFT_SHARE


def _left_s(seen: _Stretches) -> float:
    """Bound how far the latency still is from where an exponential warm-up ends, in s.

    Each time constant of a grid gives a line over the part of the warm-up that is left. Those that
    fit nearly as well as the best one (the profile likelihood, at 99 %) are plausible, and the
    largest upper bound of theirs is returned. A drift that does not slow down fits the longest time
    constants alone, which leave most.
    """
    lines = []
    for share in _TIME_CONSTANTS:
        constant_s = share * seen.end_s
        lines.append(
            _line([exp((seen.end_s - at_s) / constant_s) for at_s in seen.middles_s], seen.medians)
        )
    plausible = min(line.residual for line in lines) * (1 + _F_99 / (len(seen.medians) - 3))
    return max(abs(line.slope) + _T_99 * line.error for line in lines if line.residual <= plausible)


def _line(at: Sequence[float], values: Sequence[float]) -> _Line:
    slope, intercept = linear_regression(at, values)
    pairs = zip(at, values, strict=True)
    residual = sum((value - intercept - slope * x) ** 2 for x, value in pairs)
    centre = fmean(at)
    spread = sum((x - centre) ** 2 for x in at)
    return _Line(slope, (residual / (len(at) - 2) / spread) ** 0.5, residual)


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

"""The interval of a figure over few repetitions: one policy for every page, table and answer.

==================  ================================================================
repetitions         what is given
==================  ================================================================
1                   the figure; no interval
2                   the figure between smallest and largest, called a range: Student's
                    t of two (12.7) would say nothing but its width. A range excludes
                    nothing: no difference is shown by it
3 and more          an interval of 95 %: Student's t, on logarithms wherever all values
                    are positive; of a ratio, paired by block within a run, and Welch's
                    between two runs
==================  ================================================================

The repetition is the experimental unit: iterations of one process share its memory layout,
caches and clocks, so that their number says nothing about how well a figure repeats
(Georges, Buytaert & Eeckhout, OOPSLA 2007, section 3; Kalibera & Jones, ISMM 2013).

Centre and interval are made on the logarithm wherever a figure is positive: a quotient of two
geometric means is the geometric mean of the quotients (Fleming & Wallace, CACM 29(3), 1986),
so tables of figures and of ratios agree; and a bound is never negative.
"""

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from greenbatch.analysis.statistics.interval_methods import (
    LOGARITHMIC,
    MEANS,
    PAIRED,
    PLAIN,
    WELCH,
    welch_log_t,
)
from greenbatch.confidence import student_quantile
from greenbatch.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LEAST = 3
"""Repetitions from which there is an interval."""
_LARGEST_LOG = math.log(sys.float_info.max)

Kind = Literal["t", "range", "none"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and how far it is known.

    The bounds include the figure: one that rounding left on the wrong side of it is moved to it.

    Attributes:
        low, high: Bounds; ``None`` with one repetition, and where the method finds none.
        centre: Geometric mean, or arithmetic mean where the method is not on logarithms.
        n: Repetitions behind it; of a ratio between two runs, on the side that has fewer.
        method: How the bounds are obtained from `LEAST` repetitions on, in words.
    """

    low: float | None
    centre: float
    high: float | None
    n: int
    method: str = LOGARITHMIC

    def __post_init__(self) -> None:
        if self.low is not None and self.low > self.centre:
            object.__setattr__(self, "low", self.centre)
        if self.high is not None and self.high < self.centre:
            object.__setattr__(self, "high", self.centre)

    @property
    def kind(self) -> Kind:
        """``t``: an interval of 95 %; ``range``: smallest and largest of two; ``none``: of one."""
        return "t" if self.n >= LEAST else "range" if self.n == 2 else "none"

    @property
    def relative(self) -> float | None:
        """The wider side over the centre: 0.03 is ± 3 %."""
        if self.low is None or self.high is None or not self.centre:
            return None
        return max(self.high - self.centre, self.centre - self.low) / abs(self.centre)

    @property
    def known(self) -> bool:
        """Whether there are bounds that are within 100 % of the centre: wider ones say nothing."""
        return self.relative is not None and self.relative <= 1

    def excludes(self, value: float) -> bool:
        """Whether ``value`` is outside an interval of 95 %; a mere range excludes nothing."""
        if self.kind != "t" or self.low is None or self.high is None:
            return False
        return not self.low <= value <= self.high


def interval(values: Iterable[float], *, geometric: bool = True) -> Interval | None:
    """Bound one figure over repetitions.

    Args:
        values: One value for each repetition; NaN (missing) ones are left out.
        geometric: Work on logarithms; arithmetic all the same where a value is not positive.

    Returns:
        ``None`` when no value is left.

    Source:
        Student's t-interval (Student, Biometrika 6, 1908): mean ± t(0.975, n - 1) s / sqrt(n).
    """
    known = [float(value) for value in values if not math.isnan(value)]
    if not known:
        return None
    geometric = geometric and min(known) > 0
    scale = [math.log(value) for value in known] if geometric else known
    n = len(scale)
    mean = math.fsum(scale) / n
    back = _exp if geometric else float
    # exp(log(25)) is a little less than 25, and a mean is never outside its values.
    low: float | None
    high: float | None
    low, high = min(known), max(known)
    centre = min(max(back(mean), low), high)
    if n == 1:
        low = high = None
    elif n >= LEAST and low < high:
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in scale) / (n - 1))
        half = student_quantile(n - 1) * deviation / math.sqrt(n)
        low, high = back(mean - half), back(mean + half)
    return Interval(low, centre, high, n, LOGARITHMIC if geometric else PLAIN)


def ratio(over: Mapping[int, float], under: Mapping[int, float]) -> Interval | None:
    """Compare two cells of a run by the ratios of the blocks that both were measured in.

    A block is a pass over all cells close in time, so what drifts between blocks (room
    temperature, other load) cancels in the ratio: the interval is that of the mean of paired
    log-ratios.

    Args:
        over, under: A positive figure by block; NaN and unpaired blocks are left out.

    Returns:
        The interval of ``over / under``, or ``None`` when no block has both.
    """
    pairs = ((over[block], under[block]) for block in sorted(over.keys() & under.keys()))
    found = interval(a / b for a, b in pairs if a > 0 and b > 0)
    return found and Interval(found.low, found.centre, found.high, found.n, PAIRED)


def ratio_of_runs(over: Iterable[float], under: Iterable[float]) -> Interval | None:
    """Compare a cell of two runs, which share no block.

    Args:
        over, under: Positive figures, one for each repetition.

    Returns:
        The interval of ``over / under``, the ratio of geometric means; ``None`` where a side
        has no value.

    Raises:
        UsageError: A value is not finite or not positive.
    """
    import numpy as np

    a, b = (_positive(side) for side in (over, under))
    n = min(a.size, b.size)
    if not n:
        return None
    centre = float(np.exp(np.log(a).mean() - np.log(b).mean()))
    if n == 1:
        return Interval(None, centre, None, 1, WELCH)
    if n < LEAST:
        return Interval(float(a.min() / b.max()), centre, float(a.max() / b.min()), n, WELCH)
    low, high = welch_log_t(a, b)
    return Interval(float(low), centre, float(high), n, WELCH)


def limits(values: "Array", method: str = PLAIN) -> "tuple[Array, Array]":
    """Bound the last axis of an array without gaps: NaN of one value, the range of two."""
    import numpy as np

    n = values.shape[-1]
    if n >= LEAST:
        return MEANS[method](values)
    if n == 2:
        return values.min(-1), values.max(-1)
    nothing = np.full(values.shape[:-1], np.nan)
    return nothing, nothing


def bounded(values: "Array", method: str) -> "tuple[Array, Array, Array, NDArray[np.int64]]":
    """Bound the last axis, whose NaN are left out; cells with equally many values at once.

    Args:
        values: Shape (..., repetition).
        method: Of `MEANS`, from `LEAST` repetitions on. On logarithms the centre is the geometric
            mean; a cell with a value that is not positive gets `PLAIN` and its arithmetic mean.

    Returns:
        Lower bounds, centres, upper bounds and counts.
    """
    import numpy as np

    known = np.isfinite(values)
    counts = known.sum(-1)
    packed = np.take_along_axis(values, np.argsort(~known, axis=-1, kind="stable"), -1)
    low, centre, high = (np.full(counts.shape, np.nan) for _ in range(3))
    logarithmic = "logarithms" in method
    for n in np.unique(counts[counts > 0]).tolist():
        at = counts == n
        sample = packed[at][:, :n]
        positive = (sample > 0).all(-1)
        for rows, way in ((positive, method), (~positive, PLAIN if logarithmic else method)):
            if not rows.any():
                continue
            part = sample[rows]
            mean = np.exp(np.log(part).mean(-1)) if "logarithms" in way else part.mean(-1)
            place = tuple(axis[rows] for axis in np.nonzero(at))
            below, above = limits(part, way)
            centre[place] = mean
            low[place], high[place] = np.minimum(below, mean), np.maximum(above, mean)
    return low, centre, high, counts


def bounds(value: Interval) -> tuple[float, float]:
    """Return the ends of an interval, or the centre where there is none."""
    low = value.centre if value.low is None else value.low
    high = value.centre if value.high is None else value.high
    return low, high


def sides(centre: float, low: float, high: float) -> tuple[float, float]:
    """Return how far an error bar reaches below and above its centre; neither is negative."""
    return max(0.0, centre - low), max(0.0, high - centre)


def _exp(value: float) -> float:
    return math.exp(min(value, _LARGEST_LOG))


def _positive(values: Iterable[float]) -> "Array":
    import numpy as np

    array = np.fromiter(values, dtype=float)
    wrong = ~(np.isfinite(array) & (array > 0))
    if wrong.any():
        raise UsageError(
            f"a value is {array[wrong][0]}, and this interval needs it finite and above zero; "
            "leave missing repetitions out"
        )
    return array

"""Intervals over repetitions, never over the iterations inside one.

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
from typing import Literal

CONFIDENCE = 0.95
_LARGEST_LOG = math.log(sys.float_info.max)

Kind = Literal["t", "range", "none"]


@dataclass(frozen=True, slots=True)
class Summary:
    """A centre and how far it is known.

    The bounds include the centre: one that rounding left on the wrong side of it is moved to it.

    Attributes:
        centre: Geometric mean, or arithmetic mean where ``geometric`` is false.
        low, high: Bounds; ``None`` with one repetition, which knows nothing of its spread.
        n: Repetitions behind it.
        kind: ``t``: a 95 % confidence interval of the mean, for n >= 3. ``range``: smallest
            and largest of two, where a t-interval (t = 12.7) would say nothing but its width.
            ``none``: one repetition.
        geometric: Whether it was made on logarithms.
    """

    centre: float
    low: float | None
    high: float | None
    n: int
    kind: Kind
    geometric: bool = True

    def __post_init__(self) -> None:
        if self.low is not None and self.low > self.centre:
            object.__setattr__(self, "low", self.centre)
        if self.high is not None and self.high < self.centre:
            object.__setattr__(self, "high", self.centre)

    @property
    def relative(self) -> float | None:
        """The wider side of the interval over the centre: 0.03 is ± 3 %."""
        if self.low is None or self.high is None or not self.centre:
            return None
        return max(self.high - self.centre, self.centre - self.low) / abs(self.centre)

    def excludes(self, value: float) -> bool:
        """Whether ``value`` is outside a confidence interval; a mere range excludes nothing."""
        if self.kind != "t" or self.low is None or self.high is None:
            return False
        return not self.low <= value <= self.high


def interval(values: Iterable[float], *, geometric: bool = True) -> Summary | None:
    """Summarise one figure over repetitions.

    Args:
        values: One value for each repetition; NaN (missing) ones are left out.
        geometric: Work on logarithms; arithmetic all the same where a value is not positive.

    Returns:
        The interval, or ``None`` when no value is left.

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
    smallest, largest = min(known), max(known)
    centre = min(max(back(mean), smallest), largest)
    if n == 1:
        return Summary(centre, None, None, 1, "none", geometric)
    if n == 2:
        return Summary(centre, smallest, largest, 2, "range", geometric)
    if smallest == largest:
        return Summary(centre, centre, centre, n, "t", geometric)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in scale) / (n - 1))
    half = _t(n - 1) * deviation / math.sqrt(n)
    return Summary(centre, back(mean - half), back(mean + half), n, "t", geometric)


def ratio(over: Mapping[int, float], under: Mapping[int, float]) -> Summary | None:
    """Compare two cells by the ratios of the blocks that both were measured in.

    A block is a pass over all cells close in time, so what drifts between blocks (room
    temperature, other load) cancels in the ratio: the interval is that of the mean of paired
    log-ratios.

    Args:
        over, under: A positive figure by block; NaN and unpaired blocks are left out.

    Returns:
        The interval of ``over / under``, or ``None`` when no block has both.
    """
    pairs = ((over[block], under[block]) for block in sorted(over.keys() & under.keys()))
    return interval(a / b for a, b in pairs if a > 0 and b > 0)


def sides(centre: float, low: float, high: float) -> tuple[float, float]:
    """Return how far an error bar reaches below and above its centre; neither is negative."""
    return max(0.0, centre - low), max(0.0, high - centre)


def _exp(value: float) -> float:
    return math.exp(min(value, _LARGEST_LOG))


def _t(freedom: int) -> float:
    from scipy.special import stdtrit  # scipy.stats takes five times as long to import

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def bounds(value: Summary) -> tuple[float, float]:
    """The interval's ends, or the centre where there is none."""
    low = value.centre if value.low is None else value.low
    high = value.centre if value.high is None else value.high
    return low, high

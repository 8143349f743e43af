"""Where a curve over the batch size turns: knee and saturation.

Answers that could have been otherwise say so: every bound is over the repetitions (blocks).
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.flagged import with_flags
from greenbatch.analysis.statistics.claims import ALPHA, LEAST_SPREAD, p_above_zero
from greenbatch.analysis.statistics.interval_methods import RESAMPLES, SEED
from greenbatch.analysis.statistics.intervals import LEAST, limits
from greenbatch.analysis.tradeoffs.curve_selection import Curve, curve_count, curve_of
from greenbatch.confidence import TAILS
from greenbatch.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_FEWEST = 4
"""Batch sizes that a knee can be seen in: of three, any bend makes the middle one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """The batch size beyond which a larger batch gains less than before.

    Attributes:
        batch_size: One of those measured; ``None`` with a ``reason`` where no knee is shown.
        of_means: That of the means, shown or not; ``None`` where they have none.
        low, high: Between which it falls in 95 % of resamples of blocks, drawn whole. A resample
            without a knee counts as the smallest batch size.
        agreement: Share of the resamples with this very knee.
        flagged: How many repetitions of the curve carry each flag, in words.
    """

    name: str
    what: str
    batch_size: int | None = None
    of_means: int | None = None
    low: int | None = None
    high: int | None = None
    agreement: float | None = None
    repetitions: int = 0
    estimated: bool = False
    flagged: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return with_flags(self._sentence, self.flagged)

    @property
    def _sentence(self) -> str:
        kind = " (estimated)" if self.estimated else ""
        if self.batch_size is None:
            return f"No knee of {self.name} in {self.what}{kind} is shown: {self.reason}."
        return (
            f"The knee of {self.name} in {self.what}{kind} is at batch {self.batch_size} (95 % of "
            f"resamples: {self.low} … {self.high}; {100 * (self.agreement or 0.0):.0f} % agree, "
            f"{units.count(self.repetitions, 'repetition')})."
        )


def knee(dataset: "xr.Dataset", *, metric: str = "energy_per_image", **labels: Hashable) -> Knee:
    """Find the knee of a falling curve by kneedle's rule.

    Both axes are stretched to 0 ... 1, log2 of the batch size and the figure; the knee is the
    measured point furthest below the straight line from the upper left to the lower right corner.
    A knee is a claim: the distance of that point from the straight line between the ends of the
    curve, paired by block, is shown to be above zero by a one-sided t. It is corrected for the
    points between the ends, and for all curves of the dataset that may have a knee (Bonferroni), so
    that at most 5 % of datasets of straight lines have any.
    Source: Satopää, Albrecht, Irwin & Raghavan, Finding a "Kneedle" in a Haystack, ICDCSW 2011,
    section III, for all points at hand at once: without the smoothing and the sensitivity that
    streams need.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        metric: ``energy_per_image``, ``energy_per_image_net`` or ``latency``.
        labels: What is needed to name one curve.

    Raises:
        UnknownNameError: There is no such label or metric.
        UsageError: Several curves are left, or its energies rest on different things.
    """
    what = quantity_named(metric)
    curve = curve_of(dataset, labels, metric, "a knee")
    return knee_of(curve, what, knee_count(dataset, metric))


def knee_count(dataset: "xr.Dataset", metric: str = "energy_per_image") -> int:
    """Count the curves of a dataset that may have a knee, at least 1; see `knee_of`."""
    return curve_count(dataset, metric, _FEWEST)


def knee_of(curve: Curve, what: str, curves: int) -> Knee:
    """Find the knee of a curve; see `knee`.

    Args:
        curve: As `greenbatch.analysis.tradeoffs.curve_selection.curve_of` gives it.
        what: The quantity, in words.
        curves: Among which this one is claimed to have a knee.
    """
    import numpy as np

    x, values = np.log2(curve.batch_sizes), curve.whole
    n = values.shape[1]
    nothing = Knee(
        name=curve.name, what=what, estimated=curve.estimated, flagged=curve.flagged, repetitions=n
    )
    if len(x) < _FEWEST or not n:
        reason = f"{len(x)} batch sizes have it, and a knee needs {_FEWEST} or more"
        return replace(nothing, reason=reason if n else "no block has all points", repetitions=0)
    place = int(knee_at(x, values.mean(1)))
    if place < 0:
        return replace(nothing, reason="the curve does not fall and then flatten")
    size = int(curve.batch_sizes[place])
    nothing = replace(nothing, of_means=size)
    if not is_knee(x, values, place, curves):
        doubt = "significant" if n >= LEAST else f"sure with {units.count(n, 'repetition')}"
        reason = f"that of the means is at batch {size}, and the bend there is not {doubt}"
        return replace(nothing, reason=reason)
    drawn = resampled(values, lambda means: knee_at(x, means))
    low, high = np.quantile(np.maximum(drawn, 0), TAILS, method="inverted_cdf").astype(int)
    return replace(
        nothing,
        batch_size=size,
        low=int(curve.batch_sizes[low]),
        high=int(curve.batch_sizes[high]),
        agreement=float((drawn == place).mean()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """The batch size beyond which a figure falls by less than so much per doubling.

    Attributes:
        percent: Per doubling.
        smallest, largest: Batch sizes that were measured.
        batch_size: The smallest from which on every step falls by less; ``None`` where even the
            last step falls by as much.
        low: The smallest from which on no step is shown to fall by as much.
        flagged: How many repetitions of the curve carry each flag, in words.
        high: The smallest from which on every step is shown to fall by less; ``None`` where the
            last is not. Both from the 95 % intervals of the steps, paired by block; with two
            repetitions from their ranges.
    """

    name: str
    what: str
    percent: float
    smallest: int
    largest: int
    batch_size: int | None = None
    low: int | None = None
    high: int | None = None
    repetitions: int = 0
    estimated: bool = False
    flagged: str = ""
    reason: str = ""

    @property
    def open(self) -> bool:
        """Whether the interval includes everything, so that nothing is known."""
        known = self.low is not None and self.low > self.smallest
        return self.repetitions > 1 and self.high is None and not known and self.low is not None

    def __str__(self) -> str:
        return with_flags(self._sentence, self.flagged)

    @property
    def _sentence(self) -> str:
        kind = " (estimated)" if self.estimated else ""
        falls = f"{self.percent:g} % per doubling"
        if self.reason:
            return f"It is not known where {self.name} saturates: {self.reason}."
        if self.open:
            return (
                f"It is not known where {self.name} saturates ({falls}): anywhere from batch "
                f"{self.smallest} to beyond {self.largest}, "
                f"{units.count(self.repetitions, 'repetition')}."
            )
        if self.repetitions < 2:
            doubt = "no interval: one repetition has all points"
        else:
            beyond = f"beyond {self.largest}"
            interval = f"{self.low or beyond} … {self.high or beyond}" if self.low else beyond
            word = "95 %" if self.repetitions >= LEAST else "range"
            doubt = f"{word}: {interval}, {units.count(self.repetitions, 'repetition')}"
        if self.batch_size is None:
            return (
                f"{self.name} does not saturate up to batch {self.largest}: its {self.what}{kind} "
                f"still falls by {falls} or more ({doubt})."
            )
        return (
            f"{self.name} saturates at batch {self.batch_size}: beyond it the {self.what}{kind} "
            f"falls by less than {falls} ({doubt})."
        )


def saturation(
    dataset: "xr.Dataset",
    percent: float,
    *,
    metric: str = "energy_per_image",
    **labels: Hashable,
) -> Saturation:
    """Find the batch size beyond which a figure falls by less than ``percent`` per doubling.

    A step between batch sizes that are not doubles counts by its share: from 4 to 16 it is two.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        percent: Above 0 and below 100.
        metric: ``energy_per_image``, ``energy_per_image_net`` or ``latency``.
        labels: What is needed to name one curve.

    Raises:
        UnknownNameError: There is no such label or metric.
        UsageError: ``percent`` is out of range; several curves are left; or its energies rest on
            different things.
    """
    if not 0 < percent < 100:
        raise UsageError(f"saturation at {percent:g} % cannot be; give a percentage, such as 5")
    what = quantity_named(metric)
    return saturation_of(curve_of(dataset, labels, metric, "saturation"), what, percent)


def saturation_of(curve: Curve, what: str, percent: float) -> Saturation:
    """Find where a curve saturates; see `saturation`.

    Args:
        curve: As `greenbatch.analysis.tradeoffs.curve_selection.curve_of` gives it.
        what: The quantity, in words.
        percent: Above 0 and below 100.
    """
    import numpy as np

    values = curve.whole
    n = values.shape[1]
    nothing = Saturation(
        name=curve.name,
        what=what,
        percent=percent,
        estimated=curve.estimated,
        flagged=curve.flagged,
        repetitions=n,
        smallest=int(min(curve.batch_sizes, default=0)),
        largest=int(max(curve.batch_sizes, default=0)),
    )
    reason = ""
    if len(values) < 2:
        reason = "it needs two batch sizes that have the figure"
    elif not n:
        reason = "no block has all points"
    elif (values <= 0).any():
        reason = "a figure at or below zero falls by no percentage"
    if reason:
        return replace(nothing, reason=reason)
    doublings = np.diff(np.log2(curve.batch_sizes))[:, None]
    steps = np.diff(np.log(values), axis=0) / doublings
    limit = math.log1p(-percent / 100)

    def first(less: "NDArray[np.bool_]") -> int | None:
        """The batch size from which on every step is so; ``None`` where the last is not."""
        if not less[-1]:
            return None
        other = np.flatnonzero(~less)
        return int(curve.batch_sizes[other[-1] + 1 if other.size else 0])

    low, high = limits(steps)
    return replace(
        nothing,
        batch_size=first(steps.mean(1) > limit),
        low=first(high > limit),  # NaN of one repetition: neither
        high=first(low > limit),
    )


_QUANTITIES = {
    "energy_per_image": "energy per image",
    "energy_per_image_net": "net energy per image",
    "latency": "latency",
}


def quantity_named(metric: str) -> str:
    """Name the quantity of a metric that has a curve over the batch size.

    Raises:
        UnknownNameError: The metric has none.
    """
    if metric not in _QUANTITIES:
        raise UnknownNameError("metric", metric, _QUANTITIES)
    return _QUANTITIES[metric]


def resampled(values: "Array", statistic: "Callable[[Array], Array]") -> "Array":
    """Compute a statistic of the means over blocks, for blocks drawn whole.

    Args:
        values: Shape (batch size, block).
        statistic: Of means, shape (batch size, resample): one value for each resample.

    Returns:
        One value for each of ``RESAMPLES`` resamples.
    """
    import numpy as np

    n = values.shape[1]
    picks = np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))
    # Few blocks have few distinct resamples: each is worked out once.
    kinds, which = np.unique(np.sort(picks, axis=1), axis=0, return_inverse=True)
    return statistic(values[:, kinds].mean(2))[which.reshape(-1)]


def is_knee(x: "Array", values: "Array", place: int, curves: int = 1) -> bool:
    """Whether a point is shown to be below the straight line between a curve's ends.

    Args:
        x: Shape (batch size,).
        values: Shape (batch size, block). What a block shares is divided out.
        place: Of the point, which was picked among those between the ends.
        curves: Among which this one is claimed to have a knee.
    """
    shapes = values / values.mean(0) if (values > 0).all() else values
    share = (x[place] - x[0]) / (x[-1] - x[0])
    line = (1 - share) * shapes[0] + share * shapes[-1]
    p = float(p_above_zero(line - shapes[place], LEAST_SPREAD * float(abs(shapes).mean())))
    return p * (len(x) - 2) * curves <= ALPHA


def knee_at(x: "Array", y: "Array") -> "Array":
    """Return the positions of curves' knees by kneedle's rule, -1 where there is none.

    Args:
        x: Shape (batch size,).
        y: The curves, shape (batch size, ...).
    """
    import numpy as np

    across = ((x - x[0]) / (x[-1] - x[0])).reshape(-1, *[1] * (y.ndim - 1))
    low, high = y.min(0), y.max(0)
    falls = y[0] > low
    distance = (high - y) / np.where(falls, high - low, 1.0) - across
    place = np.argmax(distance, axis=0)
    shown = falls & (distance.max(0) > 0) & (place > 0) & (place < len(x) - 1)
    return np.where(shown, place, -1).astype(np.float64)

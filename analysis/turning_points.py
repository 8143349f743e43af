"""Where curves over the batch size turn: crossover, knee, saturation.

Between measured batch sizes a curve is taken as straight over log2 of the batch size. Answers
that could have been otherwise say so: every bound is over the repetitions (blocks).
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from greenbatch.analysis.curve_selection import Labels, curve_of
from greenbatch.analysis.intervals import CONFIDENCE, RESAMPLES, SEED, student
from greenbatch.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import xarray as xr

Method = Literal["inversion", "bootstrap"]
_GRID = 2001
_FEWEST = 4
"""Batch sizes that a knee can be seen in: of three, any bend makes the middle one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """From which batch size one curve is below another.

    Attributes:
        verdict: ``crosses``; ``always`` or ``never``: ``a`` is below (above) ``b`` at every batch
            size that both have; ``several``: they cross more than once; ``unknown``.
        winner: Which is below beyond ``batch_size``.
        batch_size: Interpolated; ``low`` and ``high`` bound it with 95 %. A bound is ``None``
            where it may lie outside the batch sizes measured, or with one repetition.
        between: The smallest and largest batch size that both have.
        sure: Whether the difference is shown at every batch size (``always``, ``never``), or at
            both ends (``crosses``).
        repetitions: Blocks that have all points of both.
    """

    a: str
    b: str
    what: str
    verdict: Literal["crosses", "always", "never", "several", "unknown"]
    winner: str | None = None
    batch_size: float | None = None
    low: float | None = None
    high: float | None = None
    between: tuple[int, int] | None = None
    sure: bool = False
    repetitions: int = 0
    estimated: bool = False
    reason: str = ""

    def __str__(self) -> str:
        kind = " (estimated)" if self.estimated else ""
        if self.between is None:
            return f"It is not known where {self.a} and {self.b} cross: {self.reason}."
        first, last = self.between
        doubt = self._doubt()
        if self.verdict in ("always", "never"):
            less, more = (self.a, self.b) if self.verdict == "always" else (self.b, self.a)
            return (
                f"{less} has less {self.what}{kind} than {more} at every batch size from {first} "
                f"to {last}{doubt}."
            )
        if self.verdict == "several" or self.batch_size is None:
            return (
                f"{self.a} and {self.b} cross more than once in {self.what}{kind} between batch "
                f"{first} and {last}: there is no one batch size{doubt}."
            )
        loser = self.b if self.winner == self.a else self.a
        text = (
            f"{self.winner} overtakes {loser} in {self.what}{kind} at a batch of about "
            f"{self.batch_size:.3g}"
        )
        if self.repetitions < 2:
            return f"{text} (no interval: one repetition has all points)."
        low = f"{self.low:.3g}" if self.low is not None else f"below {first}"
        high = f"{self.high:.3g}" if self.high is not None else f"beyond {last}"
        return f"{text} (95 %: {low} … {high}, {self.repetitions} repetitions)."

    def _doubt(self) -> str:
        if self.repetitions < 2:
            return " (one repetition: how sure is not known)"
        return "" if self.sure else ", though not beyond the spread at each of them"


def crossover(
    dataset: "xr.Dataset",
    a: "str | Labels",
    b: "str | Labels",
    *,
    metric: str = "energy_per_image",
    method: Method = "inversion",
    **labels: Hashable,
) -> Crossover:
    """Find the batch size from which one backend needs less than another.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        a, b: Backends, or labels by dimension: ``{"backend": "onnxruntime-cpu", "precision":
            "int8"}``.
        metric: ``energy_per_image``, ``energy_per_image_net`` or ``latency``.
        method: Of the bounds. ``inversion``: the batch sizes at which the paired t-interval of
            the difference (of logarithms, where all is positive) holds zero, as Fieller did for a
            ratio (JRSS B 16, 1954). ``bootstrap``: percentiles over blocks drawn whole, which
            hold the truth less often with few repetitions (``docs/dataset.md``).
        labels: What else is needed to name one curve of each: ``model="alexnet"``.

    Raises:
        UnknownNameError: There is no such label, metric or method.
        UsageError: Several curves are left, or an estimate would be compared with a measurement.
    """
    import numpy as np

    what = _quantity(metric)
    if method not in ("inversion", "bootstrap"):
        raise UnknownNameError("method", method, ("inversion", "bootstrap"))
    one, two = (
        curve_of(
            dataset,
            labels | ({"backend": side} if isinstance(side, str) else dict(side)),
            metric,
            "a crossover",
        )
        for side in (a, b)
    )
    if one.estimated != two.estimated and one.values.size and two.values.size:
        kinds = ["estimated" if side.estimated else "measured" for side in (one, two)]
        raise UsageError(
            f"the energy of {one.name} is {kinds[0]} and that of {two.name} {kinds[1]}; an "
            "estimate is not compared with a measurement"
        )
    sizes, at_a, at_b = np.intersect1d(one.batch_sizes, two.batch_sizes, return_indices=True)
    names: dict[str, Any] = {"a": one.name, "b": two.name, "what": what, "estimated": one.estimated}
    left, right = one.values[at_a], two.values[at_b]
    whole = np.isfinite(left).all(0) & np.isfinite(right).all(0)
    if not sizes.size or not whole.any():
        lacking = "no batch size has both" if not sizes.size else "no block has all points of both"
        return Crossover(verdict="unknown", reason=lacking, **names)
    left, right = left[:, whole], right[:, whole]
    positive = (left > 0).all() and (right > 0).all()
    moved = np.log(left / right) if positive else left - right
    n = moved.shape[1]
    names |= {"between": (int(sizes[0]), int(sizes[-1])), "repetitions": n}
    centre = moved.mean(1)
    shown = np.zeros(len(sizes), dtype=bool)
    if n > 1:
        low, high = student(moved)
        shown = (low > 0) | (high < 0)
    below = centre < 0
    changes = np.flatnonzero(below[1:] != below[:-1])
    if not changes.size:
        verdict: Any = "always" if below[0] else "never"
        winner = one.name if below[0] else two.name
        return Crossover(verdict=verdict, winner=winner, sure=bool(shown.all()), **names)
    if changes.size > 1:
        return Crossover(verdict="several", sure=bool(shown.all()), **names)
    x = np.log2(sizes)
    at = _zero(x, centre)
    bounds: tuple[float | None, float | None] = (None, None)
    if n > 1:
        bounds = _inverted(x, moved, at) if method == "inversion" else _drawn(x, moved)
    return Crossover(
        verdict="crosses",
        winner=one.name if below[-1] else two.name,
        batch_size=2**at,
        low=bounds[0],
        high=bounds[1],
        sure=bool(shown[0] and shown[-1]),
        **names,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """The batch size beyond which a larger batch gains less than before.

    Attributes:
        batch_size: One of those measured; ``None`` with a ``reason``.
        low, high: Between which it falls in 95 % of resamples of blocks, drawn whole; ``None``
            with one repetition. A resample without a knee counts as the smallest batch size.
        agreement: Share of the resamples with this very knee.
    """

    name: str
    what: str
    batch_size: int | None = None
    low: int | None = None
    high: int | None = None
    agreement: float | None = None
    repetitions: int = 0
    estimated: bool = False
    reason: str = ""

    def __str__(self) -> str:
        kind = " (estimated)" if self.estimated else ""
        if self.batch_size is None:
            return f"{self.name} has no knee in {self.what}{kind}: {self.reason}."
        text = f"The knee of {self.name} in {self.what}{kind} is at batch {self.batch_size}"
        if self.agreement is None:
            return f"{text} (no interval: one repetition has all points)."
        return (
            f"{text} (95 % of resamples: {self.low} … {self.high}; {100 * self.agreement:.0f} % "
            f"agree, {self.repetitions} repetitions)."
        )


def knee(dataset: "xr.Dataset", *, metric: str = "energy_per_image", **labels: Hashable) -> Knee:
    """Find the knee of a falling curve by kneedle's rule.

    Both axes are stretched to 0 ... 1, log2 of the batch size and the figure; the knee is the
    measured point furthest below the straight line from the upper left to the lower right corner.
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
    import numpy as np

    what = _quantity(metric)
    curve = curve_of(dataset, labels, metric, "a knee")
    names: dict[str, Any] = {"name": curve.name, "what": what, "estimated": curve.estimated}
    x, values = np.log2(curve.batch_sizes), curve.whole
    n = values.shape[1]
    if len(x) < _FEWEST or not n:
        reason = f"{len(x)} batch sizes have it, and a knee needs {_FEWEST} or more"
        return Knee(reason=reason if n else "no block has all points", **names)
    place = int(_knee_at(x, values.mean(1)))
    if place < 0:
        return Knee(reason="the curve does not fall and then flatten", repetitions=n, **names)
    size = int(curve.batch_sizes[place])
    if n == 1:
        return Knee(batch_size=size, repetitions=1, **names)
    drawn = _resampled(values, lambda means: _knee_at(x, means))
    low, high = np.quantile(np.maximum(drawn, 0), _TAILS, method="inverted_cdf").astype(int)
    return Knee(
        batch_size=size,
        low=int(curve.batch_sizes[low]),
        high=int(curve.batch_sizes[high]),
        agreement=float((drawn == place).mean()),
        repetitions=n,
        **names,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """The batch size beyond which a figure falls by less than so much per doubling.

    Attributes:
        percent: Per doubling.
        batch_size: The smallest from which on every step falls by less; ``None`` where even the
            last step falls by as much (``largest`` is the largest batch size measured).
        low: The smallest from which on no step is shown to fall by as much.
        high: The smallest from which on every step is shown to fall by less; ``None`` where the
            last is not. Both from the 95 % intervals of the steps, paired by block.
    """

    name: str
    what: str
    percent: float
    largest: int
    batch_size: int | None = None
    low: int | None = None
    high: int | None = None
    repetitions: int = 0
    estimated: bool = False
    reason: str = ""

    def __str__(self) -> str:
        kind = " (estimated)" if self.estimated else ""
        falls = f"{self.percent:g} % per doubling"
        if self.reason:
            return f"It is not known where {self.name} saturates: {self.reason}."
        if self.repetitions < 2:
            doubt = "no interval: one repetition has all points"
        else:
            beyond = f"beyond {self.largest}"
            span = f"{self.low or beyond} … {self.high or beyond}" if self.low else beyond
            doubt = f"95 %: {span}, {self.repetitions} repetitions"
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
    import numpy as np

    if not 0 < percent < 100:
        raise UsageError(f"saturation at {percent:g} % cannot be; give a percentage, such as 5")
    what = _quantity(metric)
    curve = curve_of(dataset, labels, metric, "saturation")
    values = curve.whole
    n = values.shape[1]
    names: dict[str, Any] = {"name": curve.name, "what": what, "percent": percent}
    names |= {"estimated": curve.estimated, "repetitions": n}
    names["largest"] = int(max(curve.batch_sizes, default=0))
    reason = ""
    if len(values) < 2:
        reason = "it needs two batch sizes that have the figure"
    elif not n:
        reason = "no block has all points"
    elif (values <= 0).any():
        reason = "a figure at or below zero falls by no percentage"
    if reason:
        return Saturation(reason=reason, **names)
    doublings = np.diff(np.log2(curve.batch_sizes))[:, None]
    steps = np.diff(np.log(values), axis=0) / doublings
    limit = math.log1p(-percent / 100)

    def first(less: Any) -> int | None:
        """The batch size from which on every step is so; ``None`` where the last is not."""
        if not less[-1]:
            return None
        other = np.flatnonzero(~less)
        return int(curve.batch_sizes[other[-1] + 1 if other.size else 0])

    found: dict[str, Any] = {"batch_size": first(steps.mean(1) > limit)}
    if n > 1:
        low, high = student(steps)
        found |= {"low": first(high > limit), "high": first(low > limit)}
    return Saturation(**found, **names)


_TAILS = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
_QUANTITIES = {
    "energy_per_image": "energy per image",
    "energy_per_image_net": "net energy per image",
    "latency": "latency",
}


def _quantity(metric: str) -> str:
    if metric not in _QUANTITIES:
        raise UnknownNameError("metric", metric, _QUANTITIES)
    return _QUANTITIES[metric]


def _zero(x: Any, y: Any) -> float:
    """Where the last change of sign of a broken line is; infinite where there is none."""
    import numpy as np

    below = y < 0
    changes = np.flatnonzero(below[1:] != below[:-1])
    if not changes.size:
        return math.nan
    i = changes[-1]
    return float(x[i] + (x[i + 1] - x[i]) * y[i] / (y[i] - y[i + 1]))


def _inverted(x: Any, moved: Any, at: float) -> tuple[float | None, float | None]:
    """The stretch around ``at`` in which the t-interval of the mean holds zero."""
    import numpy as np

    grid = np.union1d(np.linspace(x[0], x[-1], _GRID), at)
    lines = np.stack([np.interp(grid, x, block) for block in moved.T], axis=-1)
    low, high = student(lines)
    apart = (low > 0) | (high < 0)
    middle = int(np.searchsorted(grid, at))
    before, after = np.flatnonzero(apart[:middle]), np.flatnonzero(apart[middle:])
    return (
        float(2 ** grid[before[-1]]) if before.size else None,
        float(2 ** grid[middle + after[0]]) if after.size else None,
    )


def _drawn(x: Any, moved: Any) -> tuple[float | None, float | None]:
    """Percentiles of the crossing over resamples of blocks."""
    import numpy as np

    turned = moved.mean(1)[-1] < 0

    def crossing(means: Any) -> float:
        at = _zero(x, means)
        if not math.isnan(at):
            return at
        # Without a crossing it lies before the first batch size, or beyond the last.
        return -math.inf if (means[-1] < 0) == turned else math.inf

    found = _resampled(moved, crossing)
    low, high = np.quantile(found, _TAILS, method="inverted_cdf").tolist()
    return (2**low if math.isfinite(low) else None, 2**high if math.isfinite(high) else None)


def _resampled(values: Any, statistic: Callable[[Any], float]) -> Any:
    """Compute a statistic of the means over blocks, for blocks drawn whole."""
    import numpy as np

    n = values.shape[1]
    picks = np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))
    # Few blocks have few distinct resamples: each is worked out once.
    kinds, which = np.unique(np.sort(picks, axis=1), axis=0, return_inverse=True)
    found = np.array([statistic(values[:, pick].mean(1)) for pick in kinds])
    return found[which.reshape(-1)]


def _knee_at(x: Any, y: Any) -> int:
    """Position of the knee, -1 where there is none."""
    import numpy as np

    if y[0] <= y.min():
        return -1
    across = (x - x[0]) / (x[-1] - x[0])
    fallen = (y.max() - y) / (y.max() - y.min())
    distance = fallen - across
    place = int(np.argmax(distance))
    return place if distance[place] > 0 and 0 < place < len(x) - 1 else -1

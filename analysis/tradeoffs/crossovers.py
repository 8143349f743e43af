"""Where two curves over the batch size cross: from which batch size one backend needs less.

Between measured batch sizes a curve is taken as straight over log2 of the batch size. Every bound
is over the repetitions (blocks).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from greenbatch import units
from greenbatch.analysis.dataset.energy_basis import all_unlike
from greenbatch.analysis.dataset.factors import Labels
from greenbatch.analysis.dataset.flagged import with_flags
from greenbatch.analysis.statistics.claims import ALPHA, LEAST_SPREAD, p_above_zero
from greenbatch.analysis.statistics.intervals import LEAST, limits
from greenbatch.analysis.statistics.multiple_testing import holm
from greenbatch.analysis.tradeoffs.curve_selection import Curve, curve_of
from greenbatch.analysis.tradeoffs.turning_points import quantity_named, resampled
from greenbatch.confidence import TAILS
from greenbatch.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Method = Literal["inversion", "bootstrap"]
_GRID = 2001


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """From which batch size one curve is below another.

    Attributes:
        verdict: Of the means. ``crosses``; ``always`` or ``never``: ``a`` is below (above) ``b`` at
            every batch size that both have; ``several``: they cross more than once; ``unknown``,
            also where no batch size shows a significant difference (Holm over the batch sizes).
        winner: Which is below beyond ``batch_size``.
        batch_size: Interpolated; ``low`` and ``high`` bound it with 95 %, and are those of the
            two curves with two repetitions. A bound is ``None`` where it may lie outside the batch
            sizes measured, or with one repetition.
        between: The smallest and largest batch size that both have.
        sure: Whether the difference is shown at every batch size (``always``, ``never``), or at
            both ends (``crosses``); never with fewer than three repetitions. At most 5 % of such
            claims are false: every difference that one consists of is shown at 5 %.
        p: Of that claim: the largest of the differences that it consists of.
        pairs: For how many pairs of curves ``sure`` is corrected, see `as_family`.
        repetitions: Blocks that have all points of both.
        flagged: How many repetitions of the curves carry each flag, in words.
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
    p: float = 1.0
    pairs: int = 1
    repetitions: int = 0
    estimated: bool = False
    flagged: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return with_flags(self._sentence, self.flagged)

    @property
    def _sentence(self) -> str:
        kind = " (estimated)" if self.estimated else ""
        if self.between is None or self.reason:
            return f"It is not known where {self.a} and {self.b} cross: {self.reason}."
        first, last = self.between
        doubt = self._doubt()
        if self.verdict in ("always", "never"):
            less, more = (self.a, self.b) if self.verdict == "always" else (self.b, self.a)
            return (
                f"{self._means}{less} has less {self.what}{kind} than {more} at every batch size "
                f"from {first} to {last}{doubt}."
            )
        if self.verdict == "several" or self.batch_size is None:
            return (
                f"{self._means}{self.a} and {self.b} cross more than once in {self.what}{kind} "
                f"between batch {first} and {last}: there is no one batch size{doubt}."
            )
        loser = self.b if self.winner == self.a else self.a
        text = (
            f"{self._means}{self.winner} overtakes {loser} in {self.what}{kind} at a batch of "
            f"about {self.batch_size:.3g}"
        )
        if self.repetitions < 2:
            return f"{text} (no interval: one repetition has all points)."
        if self.open:
            return (
                f"It is not known where {self.a} and {self.b} cross in {self.what}{kind}: anywhere "
                f"from below {first} to beyond {last}, "
                f"{units.count(self.repetitions, 'repetition')}."
            )
        low = f"{self.low:.3g}" if self.low is not None else f"below {first}"
        high = f"{self.high:.3g}" if self.high is not None else f"beyond {last}"
        word = "95 %" if self.repetitions >= LEAST else "range"
        return (
            f"{text} ({word}: {low} … {high}, "
            f"{units.count(self.repetitions, 'repetition')}){doubt}."
        )

    @property
    def open(self) -> bool:
        """Whether the interval includes everything, so that nothing is known of the crossing."""
        unbounded = self.low is None and self.high is None
        return self.verdict == "crosses" and self.repetitions > 1 and unbounded

    @property
    def _means(self) -> str:
        """What a claim that is not shown begins with."""
        return "" if self.sure else "Of the means, "

    def _doubt(self) -> str:
        if self.repetitions < LEAST:
            count = "one repetition" if self.repetitions == 1 else "two repetitions"
            return f" ({count}: how sure is not known)"
        if self.sure:
            return ""
        where = "at both ends" if self.verdict == "crosses" else "at each of them"
        of = f", corrected for {self.pairs} pairs of curves" if self.pairs > 1 else ""
        return f"; the difference is not significant {where}{of}"


def as_family(found: Sequence[Crossover]) -> list[Crossover]:
    """Correct claims that are reported together (Holm): 5 % is the chance that any is false.

    Args:
        found: Of every pair of curves that was compared, whatever its verdict.
    """
    corrected = holm([one.p for one in found])
    return [
        replace(one, sure=one.sure and p <= ALPHA, pairs=len(found))
        for one, p in zip(found, corrected, strict=True)
    ]


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
    what = quantity_named(metric)
    if method not in ("inversion", "bootstrap"):
        raise UnknownNameError("method", method, ("inversion", "bootstrap"))
    given = [
        labels | ({"backend": side} if isinstance(side, str) else dict(side)) for side in (a, b)
    ]
    one, two = (curve_of(dataset, side, metric, "a crossover") for side in given)
    _refuse_unpaired(*given)
    return crossover_of(one, two, what, method)


def crossover_of(one: Curve, two: Curve, what: str, method: Method = "inversion") -> Crossover:
    """Find where two curves cross; see `crossover`.

    Args:
        one, two: As `greenbatch.analysis.tradeoffs.curve_selection.curve_of` gives them, with
            blocks that are pairs.
        what: Their quantity, in words.
        method: As for `crossover`.

    Raises:
        UsageError: They are one curve, or an estimate would be compared with a measurement.
    """
    import numpy as np

    if one.name == two.name:
        raise UsageError(
            f"both curves are {one.name}; a crossover is of two curves: give labels that differ"
        )
    if reason := all_unlike((*one.bases, *two.bases)):
        raise UsageError(
            f"the energies of {one.name} and {two.name} are not alike ({reason}); an estimate is "
            "not compared with a measurement, nor with an estimate by another model"
        )
    flagged = "; ".join(f"{side.name}: {side.flagged}" for side in (one, two) if side.flagged)
    sizes, at_a, at_b = np.intersect1d(one.batch_sizes, two.batch_sizes, return_indices=True)
    left, right = one.values[at_a], two.values[at_b]
    whole = np.isfinite(left).all(0) & np.isfinite(right).all(0)
    if not sizes.size or not whole.any():
        lacking = "no batch size has both" if not sizes.size else "no block has all points of both"
        return Crossover(
            a=one.name,
            b=two.name,
            what=what,
            estimated=one.estimated,
            flagged=flagged,
            verdict="unknown",
            reason=lacking,
        )
    left, right = left[:, whole], right[:, whole]
    positive = (left > 0).all() and (right > 0).all()
    moved = np.log(left / right) if positive else left - right
    n = moved.shape[1]
    centre = moved.mean(1)
    floor = LEAST_SPREAD * (1.0 if positive else float(np.abs(left).mean()))
    p = 2 * np.minimum(p_above_zero(moved, floor), p_above_zero(-moved, floor))
    shown = p <= ALPHA
    below = centre < 0
    changes = np.flatnonzero(below[1:] != below[:-1])
    found = Crossover(
        a=one.name,
        b=two.name,
        what=what,
        estimated=one.estimated,
        flagged=flagged,
        verdict="several",
        between=(int(sizes[0]), int(sizes[-1])),
        repetitions=n,
        sure=bool(shown.all()),
        p=float(p.max()),
    )
    if n >= LEAST and min(holm(p.tolist())) > ALPHA:
        reason = f"no significant difference at any batch size from {sizes[0]} to {sizes[-1]}"
        return replace(found, verdict="unknown", reason=reason, sure=False, p=1.0)
    if not changes.size:
        return replace(
            found,
            verdict="always" if below[0] else "never",
            winner=one.name if below[0] else two.name,
        )
    if changes.size > 1:
        return found
    x = np.log2(sizes)
    at = _zero(x, centre)
    bounds: tuple[float | None, float | None] = (None, None)
    if n > 1:
        bounds = _inverted(x, moved, at) if method == "inversion" else _drawn(x, moved)
    return replace(
        found,
        verdict="crosses",
        winner=one.name if below[-1] else two.name,
        batch_size=2**at,
        low=bounds[0],
        high=bounds[1],
        sure=bool(shown[0] and shown[-1]),
        p=float(max(p[0], p[-1])),
    )


def _refuse_unpaired(a: Labels, b: Labels) -> None:
    """Refuse curves whose blocks are no pairs."""
    for dim in ("machine", "run"):
        if a.get(dim) != b.get(dim):
            raise UsageError(
                f"a crossover pairs blocks, and those of two {dim}s ({a.get(dim)} and "
                f"{b.get(dim)}) are not the same stretch of time; compare them as two runs "
                "(gb compare)"
            )


def _zero(x: "Array", y: "Array") -> float:
    """Where the last change of sign of a broken line is; NaN where there is none."""
    import numpy as np

    below = y < 0
    changes = np.flatnonzero(below[1:] != below[:-1])
    if not changes.size:
        return math.nan
    i = changes[-1]
    return float(x[i] + (x[i + 1] - x[i]) * y[i] / (y[i] - y[i + 1]))


def _inverted(x: "Array", moved: "Array", at: float) -> tuple[float | None, float | None]:
    """The stretch around ``at`` in which the t-interval of the mean holds zero."""
    import numpy as np

    grid = np.union1d(np.linspace(x[0], x[-1], _GRID), at)
    lines = np.stack([np.interp(grid, x, block) for block in moved.T], axis=-1)
    low, high = limits(lines)
    apart = (low > 0) | (high < 0)
    middle = int(np.searchsorted(grid, at))
    before, after = np.flatnonzero(apart[:middle]), np.flatnonzero(apart[middle:])
    return (
        float(2 ** grid[before[-1]]) if before.size else None,
        float(2 ** grid[middle + after[0]]) if after.size else None,
    )


def _drawn(x: "Array", moved: "Array") -> tuple[float | None, float | None]:
    """Percentiles of the crossing over resamples of blocks."""
    import numpy as np

    turned = moved.mean(1)[-1] < 0

    def crossing(means: "Array") -> float:
        at = _zero(x, means)
        if not math.isnan(at):
            return at
        # Without a crossing it lies before the first batch size, or beyond the last.
        return -math.inf if (means[-1] < 0) == turned else math.inf

    found = resampled(moved, lambda means: np.array([crossing(line) for line in means.T]))
    low, high = np.quantile(found, TAILS, method="inverted_cdf").tolist()
    return (2**low if math.isfinite(low) else None, 2**high if math.isfinite(high) else None)

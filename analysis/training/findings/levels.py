"""Means at the levels of factors, of one or of two together; the last level against the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from greenbatch.analysis.statistics.intervals import Interval, interval, ratio

if TYPE_CHECKING:
    import xarray as xr

ByLevel = Mapping[str, Mapping[str, Interval]]
"""By factor and level."""
ByLevels = Mapping[tuple[str, str], Mapping[tuple[str, str], Interval]]
"""By two factors, and a level of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelStep:
    """What the last level of a factor takes and gains against the first one.

    Both are means over the levels of all other factors, and compared block by block.

    Attributes:
        factor: Its name.
        first, last: The levels, in the order of the study.
        times: Energy of a training at the last over that at the first.
        gained: Correctness at the last less that at the first, a share; ``None`` where it is not
            known.
    """

    factor: str
    first: str
    last: str
    times: Interval
    gained: Interval | None


def by_level(
    values: "xr.DataArray", factors: Sequence[str], *, geometric: bool = True
) -> dict[str, dict[str, Interval]]:
    """Average over the other factors; only blocks in which a level has all of them.

    Args:
        values: Along the factors and ``repetition``; NaN where missing.
        factors: Names of the dimensions.
        geometric: Whether the mean over blocks is.
    """
    found: dict[str, dict[str, Interval]] = {}
    for name in factors:
        means = _over_others(values, factors, (name,))
        labels = [str(label) for label in means[name].values]
        summaries = [interval(row, geometric=geometric) for row in means.values]
        found[name] = {
            label: summary for label, summary in zip(labels, summaries, strict=True) if summary
        }
    return found


def by_levels(
    values: "xr.DataArray", factors: Sequence[str]
) -> dict[tuple[str, str], dict[tuple[str, str], Interval]]:
    """Average over all factors but two; pairs of factors without a value are left out.

    Args:
        values, factors: As for `by_level`.
    """
    found = {}
    for pair in combinations(factors, 2):
        means = _over_others(values, factors, pair)
        first, second = ([str(label) for label in means[name].values] for name in pair)
        cells = {
            (a, b): summary
            for i, a in enumerate(first)
            for j, b in enumerate(second)
            if (summary := interval(means.values[i, j]))
        }
        if cells:
            found[pair] = cells
    return found


def level_steps(
    energy_j: "xr.DataArray", correctness: "xr.DataArray", factors: Sequence[str]
) -> list[LevelStep]:
    """Compare the last level of each factor with its first one, block by block.

    Args:
        energy_j: Of a training, along the factors and ``repetition``; NaN where missing.
        correctness: The same, a share.
        factors: Names of the dimensions.
    """
    steps = []
    for name in factors:
        labels = [str(label) for label in energy_j[name].values]
        (cheap, dear), (low, high) = (
            [_blocks(means, place) for place in (0, -1)]
            for means in (_over_others(v, factors, (name,)) for v in (energy_j, correctness))
        )
        times = ratio(dear, cheap)
        if times is None:
            continue
        common = sorted(low.keys() & high.keys())
        gained = interval((high[block] - low[block] for block in common), geometric=False)
        steps.append(
            LevelStep(factor=name, first=labels[0], last=labels[-1], times=times, gained=gained)
        )
    return steps


def _over_others(
    values: "xr.DataArray", factors: Sequence[str], kept: Sequence[str]
) -> "xr.DataArray":
    others = [name for name in factors if name not in kept]
    return values.mean(others, skipna=False).transpose(*kept, "repetition")


def _blocks(means: "xr.DataArray", place: int) -> dict[int, float]:
    """List the known values at a level by block."""
    import numpy as np

    row = means.values[place]
    known = np.flatnonzero(np.isfinite(row))
    return {int(means["repetition"].values[i]): float(row[i]) for i in known}

"""Energy and utilisation against what a network computes, and what accuracy costs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from greenbatch.analysis.statistics.hypothesis_tests import Test, spearman
from greenbatch.analysis.statistics.intervals import Interval, ratio
from greenbatch.analysis.training.findings.rows import TrainingRow
from greenbatch.errors import UsageError
from greenbatch.records.provenance import comparable


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """Whether a figure rises with the multiplications of an image, over choices.

    Attributes:
        figure: ``energy`` per image seen, or ``utilization``.
        spearman: Over means of choices; its p is one-sided: that it rises.
        exponent: Of energy: e in energy ~ macs**e, by least squares of the logarithms; of
            utilisation: by how much the share rises for ten times the multiplications.
        r_squared: Share of the variance that this line explains.
        choices: How many.
    """

    figure: str
    spearman: Test
    exponent: float
    r_squared: float
    choices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step along the front of energy and accuracy, to the next more accurate choice.

    Attributes:
        cheaper, better: The choices.
        points: Percentage points of accuracy that are gained, a difference of means.
        extra_j: Energy per image seen that it takes, a difference of means.
    """

    cheaper: TrainingRow
    better: TrainingRow
    points: float
    extra_j: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """What the size of networks has to do with their energy, on one data set.

    Attributes:
        rises: Of energy, and of utilisation where it was recorded.
        simplest, most_complex: The choices of the fewest and the most multiplications.
        share: Energy of a training of the first over that of the second.
        steps: Along the front of the means.
    """

    rises: tuple[Rise, ...]
    simplest: TrainingRow | None
    most_complex: TrainingRow | None
    share: Interval | None
    steps: tuple[Step, ...]


def complexity(rows: Sequence[TrainingRow], front: Sequence[TrainingRow]) -> Complexity | None:
    """Relate energy to multiplications.

    Args:
        rows: Choices of one data set.
        front: Those on the front.

    Returns:
        ``None`` where estimates meet measurements, or fewer than two choices have an energy.

    Source:
        del Rey et al., SEAA 2023 (RQ1.3), for the one-sided Spearman; Yarally et al., CAIN 2023,
        for the simplest against the most complex.
    """
    known = [row for row in rows if row.series["image"]]
    if len(known) < 2 or not comparable(row.energy_source for row in known):
        return None
    counted = sorted((row for row in known if row.macs), key=lambda row: row.macs or 0.0)
    simplest = most = share = None
    if len(counted) > 1 and counted[0].macs != counted[-1].macs:
        simplest, most = counted[0], counted[-1]
        share = ratio(simplest.series["energy"], most.series["energy"])
    found = [_rise(name, counted) for name in ("image", "utilization")]
    return Complexity(
        rises=tuple(rise for rise in found if rise),
        simplest=simplest,
        most_complex=most,
        share=share,
        steps=tuple(_steps([row for row in front if row in known])),
    )


def _rise(series: str, rows: Sequence[TrainingRow]) -> Rise | None:
    import numpy as np

    pairs: Mapping[str, tuple[float, float]] = {
        row.label: (row.macs, mean.centre)
        for row in rows
        if row.macs and (mean := row.summary(series))
    }
    try:
        test = spearman(pairs, rises=True)
    except UsageError:  # fewer than four, or all alike
        return None
    macs, values = (np.array(column) for column in zip(*pairs.values(), strict=True))
    x, y = np.log10(macs), np.log10(values) if series == "image" else values
    slope, level = np.polyfit(x, y, 1)
    left = float(((y - slope * x - level) ** 2).sum())
    return Rise(
        figure="energy" if series == "image" else series,
        spearman=test,
        exponent=float(slope),
        r_squared=1 - left / float(((y - y.mean()) ** 2).sum()),
        choices=len(pairs),
    )


def _steps(front: Sequence[TrainingRow]) -> list[Step]:
    means = sorted(
        (energy.centre, accuracy.centre, place)
        for place, row in enumerate(front)
        if (energy := row.summary("image")) and (accuracy := row.summary("accuracy"))
    )
    steps = []
    for (less_j, lower, cheap), (more_j, higher, better) in pairwise(means):
        points = 100 * (higher - lower)
        if points > 0 and math.isfinite(points):
            steps.append(
                Step(
                    cheaper=front[cheap],
                    better=front[better],
                    points=points,
                    extra_j=more_j - less_j,
                )
            )
    return steps

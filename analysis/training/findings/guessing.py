"""Networks that learned nothing: whose best accuracy may be that of guessing a class."""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass
from statistics import NormalDist

from greenbatch.analysis.training.findings.rows import TrainingRow

_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Guessing:
    """A network none of whose trainings is better than guessing.

    Attributes:
        model, data: The network and the data set.
        best: The best accuracy of any epoch of any training, a share.
        bound: What the best of so many epochs reaches by guessing, at most, a share.
        classes: Of the data set.
    """

    model: str
    data: str
    best: float
    bound: float
    classes: int


def guessing_networks(rows: Sequence[TrainingRow]) -> list[Guessing]:
    """List the networks that did no better than guessing, in the order of the rows.

    Guessing is right for one of as many images as there are classes; where the classes differ in
    size, always the largest is right more often, which makes this the milder judgement. The bound
    is that of a binomial share, one-sided at 5 % over all epochs that the best was taken of
    (Bonferroni), by the normal distribution.

    Args:
        rows: Of a run; a network is left out where the number of classes or of validation images
            is not known.
    """
    groups: dict[tuple[str, str], list[TrainingRow]] = {}
    for row in rows:
        groups.setdefault((row.cell.model, row.cell.data), []).append(row)
    found = []
    for (model, data), group in groups.items():
        reached = [value for row in group for value in row.series["accuracy"].values()]
        tried = sum(count for row in group for count in row.series["epochs"].values())
        known = [
            (row.classes, row.validation_images)
            for row in group
            if row.ok and row.classes and row.validation_images
        ]
        if not reached or len(known) < sum(row.ok > 0 for row in group):
            continue
        classes, images = min(known)
        share = 1 / classes
        spread = math.sqrt(share * (1 - share) / images)
        bound = share + NormalDist().inv_cdf(1 - _LEVEL / tried) * spread
        if max(reached) <= bound:
            found.append(Guessing(model, data, max(reached), bound, classes))
    return found


def learned_nothing(
    rows: Sequence[TrainingRow], objective: str = "accuracy"
) -> Set[tuple[str, str]]:
    """Return these networks with their data sets; none where a search looks at energy alone."""
    if objective == "energy":
        return frozenset()
    return frozenset((each.model, each.data) for each in guessing_networks(rows))

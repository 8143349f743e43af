"""Whole numbers that follow from the batch: ``per_image * batch + fixed``."""

from collections.abc import Sequence
from dataclasses import dataclass

BATCHES = (1, 2, 3, 16, 1009)
"""Batch sizes at which a graph's numbers are derived: a number is known if one line meets all.

Two of them give the line, the others refute what is none: ``min(batch, 8)``, ``batch // 2`` and
powers. 1009 is a prime that no constant of a network equals by chance.
"""


@dataclass(frozen=True, slots=True)
class Linear:
    """A number at every batch.

    Attributes:
        per_image: What each image adds.
        fixed: What is there whatever the batch.
    """

    per_image: int
    fixed: int

    def at(self, batch: int) -> int:
        """Return the number for this many images."""
        return self.per_image * batch + self.fixed


def fit(numbers: Sequence[int], batches: Sequence[int] = BATCHES) -> Linear | None:
    """Return the line through a number's values at `BATCHES`; ``None``: it is no line.

    >>> fit([12, 24, 36, 192, 12108])
    Linear(per_image=12, fixed=0)
    >>> fit([1, 2, 3, 8, 8]) is None
    True
    """
    (first, second), (one, two) = batches[:2], numbers[:2]
    per_image, rest = divmod(two - one, second - first)
    line = Linear(per_image, one - per_image * first)
    fits = not rest and all(line.at(b) == n for b, n in zip(batches, numbers, strict=True))
    return line if fits else None

"""Which of several points no other is better than: the Pareto front."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def dominating(points: "Array", one: "Array") -> "NDArray[np.bool_]":
    """Mark the points that are as good as one in every objective, and better in some.

    Args:
        points: Smaller is better, shape (point, objective).
        one: Shape (objective,).
    """
    import numpy as np

    return np.logical_and((points <= one).all(-1), (points < one).any(-1))


def on_front(points: Iterable[tuple[float, ...]]) -> list[bool]:
    """Say of each point whether no other dominates it; smaller is better."""
    import numpy as np

    array = np.array([*points], dtype=float)
    return [not dominating(array, one).any() for one in array]

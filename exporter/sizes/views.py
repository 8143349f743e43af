"""Reads by computed indices that are a reshape or a transpose, recognised as one.

torch exports ``as_strided``, and with it some layouts, as a Gather from the flat tensor by indices
that are computed in each run.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class View:
    """A tensor read in another order of its axes.

    Attributes:
        order: Axes of the result from the one with the longest stride to that with the shortest:
            the sizes of the flat tensor, one behind the other. Axes of one element come where
            they stand.
    """

    order: tuple[int, ...]

    @property
    def permutation(self) -> tuple[int, ...] | None:
        """The axes as ``Transpose`` takes them; ``None``: nothing is moved."""
        back = tuple(self.order.index(axis) for axis in range(len(self.order)))
        return None if back == tuple(range(len(back))) else back


def find_view(indices: "NDArray[np.int64]", count: int) -> View | None:
    """Return the view that indices into a flat tensor of ``count`` elements make.

    Args:
        indices: Of any rank, into the flat tensor.
        count: Elements of the flat tensor.

    Returns:
        The view; ``None``: some element is left out, taken twice, or not where a stride puts it.

    >>> import numpy as np
    >>> find_view(np.arange(6).reshape(2, 3), 6)
    View(order=(0, 1))
    >>> find_view(np.arange(6).reshape(2, 3).T, 6)
    View(order=(1, 0))
    >>> find_view(np.array([0, 0, 1]), 3) is None
    True
    """
    import numpy as np

    shape = indices.shape
    if math.prod(shape) != count or count == 0:
        return None
    strides = [
        int(indices.take(1, axis).flat[0] - indices.flat[0]) if size > 1 else 0
        for axis, size in enumerate(shape)
    ]
    longest = sorted((a for a, n in enumerate(shape) if n > 1), key=lambda a: -strides[a])
    expected = np.zeros(shape, np.int64)
    stride = 1
    for axis in reversed(longest):
        steps = np.arange(shape[axis], dtype=np.int64) * stride
        expected += steps.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        stride *= shape[axis]
    if not np.array_equal(indices, expected):
        return None
    places = iter(longest)
    order = tuple(next(places) if n > 1 else axis for axis, n in enumerate(shape))
    return View(order)

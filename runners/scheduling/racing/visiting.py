"""Which batch sizes of a curve are measured: few at first, then those that may still be the best.

A cost per image that is a sum of powers of the batch size with positive factors (a part for each
image, a part that a batch shares, a part that grows) is convex on logarithmic axes: it lies above
the straight lines through its neighbours on either side (Boyd & Vandenberghe, Convex Optimization,
2004, section 4.5.3). A size is skipped where that bound, or the one that a larger batch takes no
less in all, leaves no room for less than the best. Of those with room, the one is measured next
that has the most of it for its time.

A step may lie where nobody looks. So the largest size is measured as well, where the curve is not
hopeless; and a curve whose own points break the convex bound is stepped: the bound is not used for
it, and each of its sizes is measured that a step could make the best.
"""

import math
from collections.abc import Callable, Mapping, Sequence

SMALL_STEP = math.log(1.15)
_STRIDE = 8
LARGEST_STEP = math.log(1.5)
"""By how much at most the cost of a stepped curve is taken to fall between neighbouring sizes."""


def first_sizes(sizes: Sequence[int]) -> list[int]:
    """Return the batch sizes of a curve that are measured first: the smallest, and one of about 8.

    Args:
        sizes: All that may be measured, rising.
    """
    near = [size for size in sizes if size <= _STRIDE * sizes[0]]
    return sorted({*near[:1], *near[-1:]})


def is_stepped(curve: Mapping[int, float], tolerance: float) -> bool:
    """Whether a point lies above the straight line between its neighbours by the tolerance.

    Args:
        curve: Logarithm of the cost per image by batch size.
        tolerance: Of a logarithm.
    """
    points = [(math.log(size), curve[size]) for size in sorted(curve)]
    return any(
        middle[1] - _line(left, right, middle[0]) > tolerance
        for left, middle, right in zip(points, points[1:], points[2:], strict=False)
    )


def lower_bound(curve: Mapping[int, float], size: int, *, stepped: bool) -> float:
    """Return what the logarithm of the cost of a size that was not measured is at the least.

    Args:
        curve: As for `is_stepped`, of what was measured.
        size: Which was not.
        stepped: Whether the curve is.
    """
    at = math.log(size)
    points = [(math.log(each), curve[each]) for each in sorted(curve)]
    below = [point for point in points if point[0] < at]
    above = [point for point in points if point[0] > at]
    bounds = [-math.inf]
    if below:  # a batch of so many takes no less than a smaller one
        bounds.append(below[-1][1] + below[-1][0] - at)
    if stepped:
        beside = [*below[-1:], *above[:1]]
        bounds.append(min(point[1] for point in beside) - LARGEST_STEP)
        return max(bounds)
    if len(below) >= 2:
        bounds.append(_line(below[-2], below[-1], at))
    if len(above) >= 2:
        bounds.append(_line(above[0], above[1], at))
    return max(bounds)


def next_size(
    curve: Mapping[int, float],
    sizes: Sequence[int],
    best: float,
    *,
    margin: float,
    tolerance: float,
    cost_s: Callable[[int], float] = lambda size: 1.0,
) -> int | None:
    """Return the batch size of a curve that is measured next; ``None``: no other may be the best.

    Args:
        curve: As for `is_stepped`.
        sizes: All that may be measured, rising.
        best: The least logarithm of any curve of the network.
        margin: By how much less a size must possibly be, to be measured.
        tolerance: Beyond which a curve is stepped.
        cost_s: How long a repetition of a size takes.
    """
    missing = [size for size in sizes if size not in curve]
    if not missing or not curve:
        return None
    if sizes[-1] in missing and min(curve.values()) - LARGEST_STEP < best:
        return sizes[-1]
    least = min(curve, key=lambda each: (curve[each], each))
    if curve[least] - SMALL_STEP < best:
        place = sizes.index(least)
        beside = {*sizes[max(0, place - 1) : place], *sizes[place + 1 : place + 2]}
        missing_beside = sorted(beside.intersection(missing), key=lambda each: (cost_s(each), each))
        if missing_beside:
            return missing_beside[0]
    stepped = is_stepped(curve, tolerance)
    gains = {s: best - margin - lower_bound(curve, s, stepped=stepped) for s in missing}
    size = max(missing, key=lambda each: (gains[each] / cost_s(each), -each))
    return size if gains[size] > 0 else None


def _line(one: tuple[float, float], other: tuple[float, float], at: float) -> float:
    share = (at - one[0]) / (other[0] - one[0])
    return one[1] + share * (other[1] - one[1])

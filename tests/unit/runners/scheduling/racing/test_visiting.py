"""Which batch sizes are measured: few of a smooth curve, and no step is missed for long."""

import math
from collections.abc import Callable, Iterator
from random import Random

import pytest

from greenbatch.runners.scheduling.racing.visiting import (
    first_sizes,
    is_stepped,
    lower_bound,
    next_size,
)

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


def cost(a: float, b: float, c: float) -> dict[int, float]:
    return {size: math.log(a + b / size + c * size / 128) for size in SIZES}


def visited(curve: dict[int, float], best: float = math.inf) -> dict[int, float]:
    """Visit a curve as a race does, all by itself."""
    known = {size: curve[size] for size in first_sizes(SIZES)}
    while True:
        least = min([best, *known.values()])
        size = next_size(known, SIZES, least, margin=0.015, tolerance=0.03)
        if size is None:
            return known
        known[size] = curve[size]


def test_the_first_sizes_are_the_smallest_and_eight_times_that() -> None:
    assert first_sizes(SIZES) == [1, 8]
    assert first_sizes([4]) == [4]
    assert first_sizes([1, 100]) == [1]
    assert first_sizes([3, 5, 20, 24, 25]) == [3, 24]


def smooth_curves() -> Iterator[dict[int, float]]:
    """Curves whose parts differ by factors of up to a thousand."""
    random = Random(18)
    for _ in range(200):
        yield cost(*(10 ** random.uniform(-2, 1) for _ in range(3)))


def test_of_a_smooth_curve_what_is_skipped_is_not_better() -> None:
    skipped = 0
    for curve in smooth_curves():
        assert not is_stepped(curve, 1e-9)
        known = visited(curve)
        assert min(known.values()) <= min(curve.values()) + 0.015 + 1e-9
        skipped += len(SIZES) - len(known)
    assert skipped > 200


def test_the_bound_lies_below_a_smooth_curve() -> None:
    for curve in smooth_curves():
        for size in SIZES[1:-1]:
            others = {each: value for each, value in curve.items() if each != size}
            for stepped in (False, True):
                assert lower_bound(others, size, stepped=stepped) <= curve[size] + 1e-9


def test_a_hopeless_curve_is_not_visited_further() -> None:
    assert len(visited(cost(1, 0.2, 0), best=-3.0)) < 5


@pytest.mark.parametrize("at", SIZES[1:])
@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_a_step_does_not_hide_the_best(at: int, factor: float) -> None:
    curve = {
        size: value + (math.log(factor) if size >= at else 0.0)
        for size, value in cost(1, 0.3, 0).items()
    }
    assert min(visited(curve).values()) <= min(curve.values()) + math.log(1.03)


def test_a_point_above_its_neighbours_makes_a_curve_stepped() -> None:
    assert is_stepped({1: 0.0, 8: 0.2, 64: 0.0}, 0.1)
    assert not is_stepped({1: 0.0, 8: 0.2, 64: 0.0}, 0.3)
    assert not is_stepped({1: 0.2, 8: 0.0, 64: 0.2}, 0.0)


def test_the_size_with_the_most_room_for_its_time_is_next() -> None:
    known = {1: 1.0, 8: 0.5, 128: 0.4}  # the bounds of 16, 32 and 64 are 1/3, 1/6 and 0
    assert lower_bound(known, 32, stepped=False) == pytest.approx(1 / 6)

    def chosen(cost_s: Callable[[int], float]) -> int | None:
        return next_size(known, SIZES, 0.2, margin=0.0, tolerance=1.0, cost_s=cost_s)

    assert chosen(lambda size: 1.0) == 64  # 0.2 of room, and 32 has 0.03
    assert chosen(lambda size: 1.0 if size < 64 else 10.0) == 32


def test_the_bound_of_a_stepped_curve_leaves_room_for_a_step() -> None:
    stepped = {1: 0.0, 8: 0.2, 64: 0.0, 128: 0.0}
    assert is_stepped(stepped, 0.1)
    assert lower_bound(stepped, 16, stepped=False) == pytest.approx(0.2 * 4 / 3)
    assert lower_bound(stepped, 16, stepped=True) == pytest.approx(-math.log(1.5))
    assert lower_bound({4: 0.0}, 5, stepped=True) == pytest.approx(-math.log(1.25))


def test_the_largest_size_is_visited_beyond_a_rise_unless_the_curve_is_hopeless() -> None:
    values = (0.5, 0.2, 0.05, 0.0, 0.12, 0.25, 0.4, -0.2)
    curve = dict(zip(SIZES, values, strict=True))
    assert min(visited(curve).values()) == -0.2
    assert 128 not in visited(curve, best=-0.5)

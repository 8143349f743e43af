"""Intervals: checked against closed forms and against how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from greenbatch.analysis.statistics.intervals import interval, ratio, ratio_of_runs
from greenbatch.errors import UsageError

pytestmark = pytest.mark.numeric


def test_an_arithmetic_interval_is_scipys() -> None:
    values = [10.0, 11.0, 12.5, 9.5]
    found = interval(values, geometric=False)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.kind, found.n) == ("t", 4)


def test_a_geometric_interval_is_the_arithmetic_one_of_the_logarithms() -> None:
    found = interval([1.0, math.e, math.e**2])
    assert found is not None
    assert found.centre == pytest.approx(math.e)
    half = stats.t.ppf(0.975, 2) / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((math.exp(1 - half), math.exp(1 + half)))


def test_two_repetitions_give_a_range_and_one_gives_nothing() -> None:
    two, one = interval([4.0, 9.0]), interval([4.0])
    assert two is not None
    assert one is not None
    assert two.centre == pytest.approx(6.0)
    assert (two.low, two.high, two.kind) == (4.0, 9.0, "range")
    assert one.centre == pytest.approx(4.0)
    assert (one.low, one.high, one.kind) == (None, None, "none")
    assert not two.excludes(100.0)


def test_missing_values_are_left_out_and_nothing_is_none() -> None:
    found = interval([math.nan, 4.0])
    assert found is not None
    assert found.n == 1
    assert interval([math.nan]) is None


def test_values_that_are_not_positive_are_averaged_plainly() -> None:
    found = interval([-1.0, 0.0, 4.0])
    assert found is not None
    assert (found.centre, found.method) == (1.0, "Student's t")


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    draws = np.random.default_rng(1).lognormal(0.0, 0.1, (2000, 4))
    held = sum(not found.excludes(1.0) for row in draws if (found := interval(row)))
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_a_drift_shared_by_a_block_cancels_in_the_ratio() -> None:
    under = {0: 1.0, 1: 2.0, 2: 8.0}
    found = ratio({block: 1.5 * value for block, value in under.items()}, under)
    assert found is not None
    assert (found.low, found.centre, found.high) == pytest.approx((1.5, 1.5, 1.5))


def test_a_drift_shared_by_a_block_does_not_cancel_between_runs() -> None:
    under = {0: 1.0, 1: 2.0, 2: 8.0}
    found = ratio_of_runs([1.5 * value for value in under.values()], under.values())
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.high / found.low > 10


@pytest.mark.parametrize(
    ("over", "under"), [([4.0, 6.0], [1.0, 2.0]), ([4.0, 6.0], [1.0, 1.5, 2.0])]
)
def test_two_repetitions_of_a_run_give_the_range_of_all_quotients(
    over: list[float], under: list[float]
) -> None:
    found = ratio_of_runs(over, under)
    assert found is not None
    assert (found.low, found.high, found.kind, found.n) == (2.0, 6.0, "range", 2)
    assert not found.excludes(1.0)


def test_one_repetition_of_a_run_gives_a_ratio_alone() -> None:
    found = ratio_of_runs([4.0], [1.0, 2.0, 4.0])
    assert found is not None
    assert (found.low, found.high, found.kind) == (None, None, "none")
    assert found.centre == pytest.approx(2.0)
    assert ratio_of_runs([], [1.0]) is None


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.0, -1.0])
def test_values_that_have_no_logarithm_are_refused(wrong: float) -> None:
    with pytest.raises(UsageError, match=str(wrong)):
        ratio_of_runs([1.0, wrong], [1.0, 1.0])


def test_blocks_without_a_partner_are_left_out() -> None:
    found = ratio({0: 2.0, 1: 9.0}, {0: 1.0, 2: 5.0})
    assert found is not None
    assert found.n == 1
    assert found.centre == pytest.approx(2.0)
    assert ratio({0: 1.0}, {1: 1.0}) is None

"""Intervals: checked against closed forms and against how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from greenbatch.analysis.statistics.summary import interval, ratio

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
    assert (found.centre, found.geometric) == (1.0, False)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    draws = np.random.default_rng(1).lognormal(0.0, 0.1, (2000, 4))
    held = sum(not found.excludes(1.0) for row in draws if (found := interval(row)))
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_a_drift_shared_by_a_block_cancels_in_the_ratio() -> None:
    under = {0: 1.0, 1: 2.0, 2: 8.0}
    found = ratio({block: 1.5 * value for block, value in under.items()}, under)
    assert found is not None
    assert (found.low, found.centre, found.high) == pytest.approx((1.5, 1.5, 1.5))


def test_blocks_without_a_partner_are_left_out() -> None:
    found = ratio({0: 2.0, 1: 9.0}, {0: 1.0, 2: 5.0})
    assert found is not None
    assert found.n == 1
    assert found.centre == pytest.approx(2.0)
    assert ratio({0: 1.0}, {1: 1.0}) is None

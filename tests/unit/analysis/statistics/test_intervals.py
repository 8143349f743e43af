"""Intervals: checked against closed forms, published figures, and how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from greenbatch.analysis.statistics import intervals
from greenbatch.analysis.statistics.intervals import (
    MEANS,
    MEDIANS,
    PAIRED_RATIOS,
    RATIOS,
    mean,
    median,
    ratio,
)
from greenbatch.errors import UsageError

pytestmark = pytest.mark.numeric

SLEEP = (  # Student's sleep data, R's datasets::sleep
    (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0),
    (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4),
)


def by_block(values: tuple[float, ...]) -> dict[int, float]:
    return dict(enumerate(values))


def test_one_repetition_has_no_interval() -> None:
    assert mean([1.0]) is None
    assert median([1.0]) is None
    assert ratio({0: 1.0}, {0: 2.0}, paired=True) is None
    assert ratio({0: 1.0, 1: 1.0}, {0: 2.0}, paired=False) is None


def test_blocks_that_are_not_shared_make_no_pair() -> None:
    assert ratio({0: 1.0, 1: 2.0}, {2: 1.0, 3: 2.0}, paired=True) is None
    assert ratio({0: 1.0, 1: 2.0}, {2: 1.0, 3: 2.0}, paired=False) is not None


@pytest.mark.parametrize(
    ("paired", "published"),
    # t.test(extra ~ group, data = sleep) and with paired = TRUE, as R prints them.
    [(False, (-3.3654832, 0.2054832)), (True, (-2.4598858, -0.7001142))],
)
def test_t_intervals_of_a_difference_are_rs(paired: bool, published: tuple[float, float]) -> None:
    one, two = ({b: math.exp(v) for b, v in by_block(group).items()} for group in SLEEP)
    found = ratio(one, two, paired=paired)
    assert found is not None
    assert (math.log(found.low), math.log(found.high)) == pytest.approx(published, abs=5e-8)
    assert math.log(found.centre) == pytest.approx(-1.58)


def test_a_mean_is_bounded_as_by_scipy() -> None:
    values = [10.0, 11.0, 12.5, 9.5]
    found = mean(values)
    assert found is not None
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)


def test_order_statistics_are_the_binomials() -> None:
    ten = median([float(v) for v in range(1, 11)])
    assert ten is not None
    assert (ten.low, ten.centre, ten.high, ten.method) == (2.0, 5.5, 9.0, "order statistics")
    quantile = stats.quantile_test(range(1, 11), p=0.5).confidence_interval(0.95)
    assert (ten.low, ten.high) == (quantile.low, quantile.high)


def test_the_default_of_a_mean_depends_on_how_many_there_are() -> None:
    three, five = mean([1.0, 1.1, 1.3]), mean([1.0, 1.1, 1.3, 1.2, 1.0])
    assert three is not None
    assert five is not None
    assert (three.method, five.method) == ("Student's t", "bootstrap-t")


def test_bootstrap_t_leans_towards_the_tail() -> None:
    values = [1.0, 1.01, 1.02, 1.01, 1.03, 1.2]
    t, bootstrapped = mean(values, "Student's t"), mean(values, "bootstrap-t")
    assert t is not None
    assert bootstrapped is not None
    assert bootstrapped.high > t.high
    assert bootstrapped.low > t.low


def test_fewer_than_five_medians_are_bounded_by_t() -> None:
    found = median([1.0, 2.0, 4.0])
    assert found is not None
    assert (found.centre, found.method) == (2.0, "Student's t")


def test_fieller_solves_its_equation() -> None:
    a, b = np.array([5.0, 5.5, 4.9, 5.2]), np.array([2.0, 2.1, 1.8, 2.2])
    low, high = intervals.paired_fieller(a, b)
    for bound in (low, high):  # the paired t of a - r b is just significant at its bounds
        assert stats.ttest_1samp(a - bound * b, 0.0).pvalue == pytest.approx(0.05)


def test_fieller_has_no_bounds_where_the_lower_mean_may_be_zero() -> None:
    over, under = by_block((5.0, 5.1, 5.2)), by_block((0.01, 3.0, 9.0))
    assert ratio(over, under, paired=False, method="Fieller") is None


def test_bootstrap_t_of_three_has_no_bounds() -> None:
    assert mean([1.0, 1.1, 1.3], "bootstrap-t") is None
    assert mean([1.0, 1.1, 1.3, 1.2, 1.0], "bootstrap-t") is not None


@pytest.mark.parametrize("method", [*MEANS, *MEDIANS])
def test_every_method_has_its_centre_inside(method: str) -> None:
    values = np.random.default_rng(2).lognormal(0.0, 0.1, 7).tolist()
    for bound, methods in ((mean, MEANS), (median, MEDIANS)):
        if method in methods:
            found = bound(values, method)
            assert found is not None
            assert found.low < found.centre < found.high


@pytest.mark.parametrize("paired", [True, False])
def test_all_methods_agree_on_a_narrow_ratio(paired: bool) -> None:
    random = np.random.default_rng(3)
    under = random.normal(1.0, 0.001, 30)
    over = 1.5 * random.normal(1.0, 0.001, 30)
    for method in PAIRED_RATIOS if paired else RATIOS:
        found = ratio(by_block(tuple(over)), by_block(tuple(under)), paired=paired, method=method)
        assert found is not None
        half = 1.5 * 0.001 * math.sqrt(2 / 30) * 2
        assert found.high - found.low == pytest.approx(2 * half, rel=0.2)
        assert (found.low + found.high) / 2 == pytest.approx(found.centre, abs=half / 5)
        assert found.holds(1.5)


def test_a_drift_shared_by_a_block_cancels_only_when_paired() -> None:
    under = {0: 1.0, 1: 2.0, 2: 8.0}
    over = {block: 1.5 * value for block, value in under.items()}
    paired, apart = (ratio(over, under, paired=p) for p in (True, False))
    assert paired is not None
    assert apart is not None
    assert (paired.low, paired.high) == pytest.approx((1.5, 1.5))
    assert apart.high / apart.low > 10


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.0, -1.0])
def test_values_that_have_no_logarithm_are_refused(wrong: float) -> None:
    with pytest.raises(UsageError, match="needs it finite and above zero; leave missing"):
        ratio({0: 1.0, 1: wrong}, {0: 1.0, 1: 1.0}, paired=True)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_defaults_hold_the_truth_as_often_as_the_page_says(n: int) -> None:
    draws = np.random.default_rng(n).normal(1.0, 0.02, (4000, 2, n))
    truths = (
        (MEANS["Student's t"](draws[:, 0]), 0.95),
        (RATIOS["Welch's t on logarithms"](draws[:, 0], draws[:, 1]), 0.95),
        (PAIRED_RATIOS["paired t on logarithms"](draws[:, 0], draws[:, 1]), 0.95),
        (MEDIANS["order statistics"](draws[:, 0]), {3: 0.75, 5: 0.9375, 10: 0.9785}[n]),
    )
    for (low, high), share in truths:
        assert ((low <= 1) & (high >= 1)).mean() == pytest.approx(share, abs=0.03)

"""Methods: checked against closed forms, published figures, and how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from greenbatch.analysis.statistics.interval_methods import (
    MEANS,
    MEDIANS,
    PAIRED_RATIOS,
    RATIOS,
    fieller,
    paired_fieller,
)

pytestmark = pytest.mark.numeric

SLEEP = (  # Student's sleep data, R's datasets::sleep
    (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0),
    (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4),
)


@pytest.mark.parametrize(
    ("paired", "published"),
    # t.test(extra ~ group, data = sleep) and with paired = TRUE, as R prints them.
    [(False, (-3.3654832, 0.2054832)), (True, (-2.4598858, -0.7001142))],
)
def test_t_intervals_of_a_difference_are_rs(paired: bool, published: tuple[float, float]) -> None:
    one, two = np.exp(SLEEP)
    methods = PAIRED_RATIOS if paired else RATIOS
    found = next(iter(methods.values()))(one, two)
    assert np.log(found) == pytest.approx(published, abs=5e-8)


def test_a_mean_is_bounded_as_by_scipy() -> None:
    values = np.array([10.0, 11.0, 12.5, 9.5])
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert MEANS["Student's t"](values) == pytest.approx(expected)


def test_order_statistics_are_the_binomials() -> None:
    found = MEDIANS["order statistics"](np.arange(1.0, 11.0))
    quantile = stats.quantile_test(range(1, 11), p=0.5).confidence_interval(0.95)
    assert [*map(float, found)] == [2.0, 9.0] == [quantile.low, quantile.high]


def test_bootstrap_t_leans_towards_the_tail() -> None:
    values = np.array([1.0, 1.01, 1.02, 1.01, 1.03, 1.2])
    t, bootstrapped = MEANS["Student's t"](values), MEANS["bootstrap-t"](values)
    assert bootstrapped[1] > t[1]
    assert bootstrapped[0] > t[0]


def test_fieller_solves_its_equation() -> None:
    a, b = np.array([5.0, 5.5, 4.9, 5.2]), np.array([2.0, 2.1, 1.8, 2.2])
    low, high = paired_fieller(a, b)
    for bound in (low, high):  # the paired t of a - r b is just significant at its bounds
        assert stats.ttest_1samp(a - bound * b, 0.0).pvalue == pytest.approx(0.05)


def test_fieller_has_no_bounds_where_the_lower_mean_may_be_zero() -> None:
    assert np.isnan(fieller(np.array([5.0, 5.1, 5.2]), np.array([0.01, 3.0, 9.0]))).all()


def test_bootstrap_t_of_three_has_no_bounds() -> None:
    assert not np.isfinite(MEANS["bootstrap-t"](np.array([1.0, 1.1, 1.3]))).all()
    assert np.isfinite(MEANS["bootstrap-t"](np.array([1.0, 1.1, 1.3, 1.2, 1.0]))).all()


@pytest.mark.parametrize("method", [*MEANS, *MEDIANS])
def test_every_method_has_its_centre_inside(method: str) -> None:
    values = np.random.default_rng(2).lognormal(0.0, 0.1, 7)
    for centre, methods in ((values.mean(), MEANS), (np.median(values), MEDIANS)):
        if method in methods:
            low, high = methods[method](values)
            assert low < centre < high


@pytest.mark.parametrize("paired", [True, False])
def test_all_methods_agree_on_a_narrow_ratio(paired: bool) -> None:
    random = np.random.default_rng(3)
    under = random.normal(1.0, 0.001, 30)
    over = 1.5 * random.normal(1.0, 0.001, 30)
    half = 1.5 * 0.001 * math.sqrt(2 / 30) * 2
    for bound in (PAIRED_RATIOS if paired else RATIOS).values():
        low, high = bound(over, under)
        assert high - low == pytest.approx(2 * half, rel=0.2)
        assert (low + high) / 2 == pytest.approx(over.mean() / under.mean(), abs=half / 5)
        assert low < 1.5 < high


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

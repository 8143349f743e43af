"""Tests of matched values: every network under each of several conditions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.statistics.hypothesis_tests import Test, make_test
from greenbatch.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST_MATCHED = 3
"""Networks and conditions of a Friedman test."""
FEWEST_PAIRS = 6
"""Pairs of a signed-rank test: of five, even those that all agree have p = 2/32."""


def friedman(conditions: Mapping[str, Sequence[float]]) -> tuple[Test, float]:
    """Test whether any condition tends to larger values in the same networks.

    Args:
        conditions: Of each, the values of all networks, in one order.

    Returns:
        The test, by the chi-squared approximation, and Kendall's W: 1 where all networks rank the
        conditions alike, 0 where their ranks cancel.

    Raises:
        UsageError: Fewer than three conditions or networks, as many values do not belong to each
            condition, one is not finite, or the conditions do not differ in any network.

    Source:
        Friedman, JASA 32, 1937; W = chi squared / (n (k - 1)), Kendall & Babington Smith, Annals
        of Mathematical Statistics 10, 1939.
    """
    from scipy import stats

    values = _matched(conditions)
    k, n = values.shape
    if min(k, n) < FEWEST_MATCHED:
        raise UsageError(
            f"there are {k} conditions of {units.count(n, 'network')}; a Friedman test needs "
            f"{FEWEST_MATCHED} or more of both"
        )
    if not (values != values[0]).any():
        raise UsageError("the conditions do not differ in any network")
    statistic, p = stats.friedmanchisquare(*values)
    test = make_test(
        "Friedman", " - ".join(conditions), statistic, (k - 1.0,), p, "Kendall's W", None
    )
    return test, float(statistic) / (n * (k - 1))


def signed_rank(pairs: Mapping[str, Sequence[float]]) -> Test:
    """Test whether one of two conditions tends to larger values in the same networks.

    Exact without ties up to 50 pairs, by the normal approximation beyond.

    Args:
        pairs: Of each condition, the values of all networks in one order, e.g. logarithms, so that
            their differences are ratios.

    Raises:
        UsageError: There are other than two conditions, fewer than six networks, or no network
            in which they differ.

    Source:
        Wilcoxon, Biometrics Bulletin 1, 1945.
    """
    import numpy as np
    from scipy import stats

    values = _matched(pairs)
    if len(values) != 2:
        raise UsageError(f"there are {len(values)} conditions; a signed-rank test compares two")
    differences = values[0] - values[1]
    if len(differences) < FEWEST_PAIRS:
        raise UsageError(
            f"there are {len(differences)} networks; a signed-rank test needs {FEWEST_PAIRS} or "
            "more, as fewer cannot show a difference at 5 %"
        )
    if not np.any(differences):
        raise UsageError("the two conditions do not differ in any network")
    statistic, p = stats.wilcoxon(differences)
    return make_test("Wilcoxon", " - ".join(pairs), statistic, (), p, "median difference", None)


def bonferroni(tests: Sequence[Test]) -> list[Test]:
    """Correct a family by Bonferroni: every p times their number."""
    return [replace(test, p_holm=min(1.0, test.p * len(tests))) for test in tests]


def _matched(conditions: Mapping[str, Sequence[float]]) -> "NDArray[np.float64]":
    """Return the values, shape (condition, network)."""
    import numpy as np

    counts = {name: len(values) for name, values in conditions.items()}
    if len({*counts.values()}) != 1:
        raise UsageError(
            f"matched values are as many in each condition, and there are {counts or 'none'}"
        )
    values = np.array([*conditions.values()], dtype=float)
    if not np.isfinite(values).all():
        raise UsageError("a matched value is not finite; leave its network out")
    return values

"""Tests of means over groups whose spreads may differ: Welch's, and Games and Howell's.

Every function takes the repetitions' values by group, as `hypothesis_tests` does.
"""

from itertools import combinations
from typing import TYPE_CHECKING

from greenbatch.analysis.statistics.hypothesis_tests import (
    Effect,
    Groups,
    Test,
    bootstrapped,
    checked_groups,
    corrected,
    make_test,
)
from greenbatch.analysis.statistics.interval_methods import welch_error
from greenbatch.confidence import CONFIDENCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def welch_anova(groups: Groups) -> Test:
    """Test whether the means of groups differ, spreads unequal; the effect is omega squared.

    Raises:
        UsageError: Fewer than two groups, or one of fewer than two values or without spread.

    Source:
        Welch, Biometrika 38, 1951; (k - 1) (F - 1) / ((k - 1) (F - 1) + n) for omega squared
        (Hays, Statistics, 1963), with Welch's F; percentile bootstrap within the groups. It may
        be below zero.
    """
    from scipy import stats

    arrays = checked_groups(groups, 2, spread=True)
    f, free = (float(found) for found in _welch_f(*arrays.values()))
    degrees_of_freedom = (float(len(arrays) - 1), free)
    p = float(stats.f.sf(f, *degrees_of_freedom))
    effect = bootstrapped(_omega_squared, *arrays.values())
    return make_test(
        "Welch ANOVA", " - ".join(arrays), f, degrees_of_freedom, p, "omega squared", effect
    )


def _welch_f(*samples: "Array") -> "tuple[Array, Array]":
    """Return Welch's F and its second degrees of freedom, of samples along the last axis."""
    import numpy as np

    sizes = [sample.shape[-1] for sample in samples]
    k = len(samples)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample may have no spread
        weights = [n / s.var(axis=-1, ddof=1) for n, s in zip(sizes, samples, strict=True)]
        total = sum(weights)
        means = [sample.mean(axis=-1) for sample in samples]
        mean = sum(w * m for w, m in zip(weights, means, strict=True)) / total
        between = sum(w * (m - mean) ** 2 for w, m in zip(weights, means, strict=True)) / (k - 1)
        unequal = sum((1 - w / total) ** 2 / (n - 1) for w, n in zip(weights, sizes, strict=True))
        f: Array = np.asarray(between / (1 + 2 * (k - 2) / (k**2 - 1) * unequal))
        free: Array = np.asarray((k**2 - 1) / (3 * unequal))
    return f, free


def _omega_squared(*samples: "Array", axis: int = -1) -> "Array":
    """Omega squared of Welch's F; 1 where a resample has no spread within its groups."""
    import numpy as np

    f, _ = _welch_f(*samples)
    above = (len(samples) - 1) * (f - 1)
    with np.errstate(invalid="ignore"):
        shares: Array = above / (above + sum(sample.shape[-1] for sample in samples))
    return shares


def welch(groups: Groups) -> list[Test]:
    """Compare the means of all pairs, spreads unequal; the effect is their difference."""
    from scipy import stats

    arrays = checked_groups(groups, 2, spread=True)
    found = []
    for a, b in combinations(arrays, 2):
        result = stats.ttest_ind(arrays[a], arrays[b], equal_var=False)
        bounds = result.confidence_interval(CONFIDENCE)
        difference = arrays[a].mean() - arrays[b].mean()
        effect = Effect(float(bounds.low), float(difference), float(bounds.high), "Welch's t")
        found.append(
            make_test(
                "Welch",
                f"{a} - {b}",
                result.statistic,
                (float(result.df),),
                result.pvalue,
                "difference of means",
                effect,
            )
        )
    return corrected(found)


def games_howell(groups: Groups) -> list[Test]:
    """Compare the means of all pairs at once, spreads unequal.

    Its p-values and intervals are of the whole family already, by the studentised range, and
    stay as they are. Source: Games & Howell, Journal of Educational Statistics 1, 1976.
    """
    from scipy import stats

    arrays = checked_groups(groups, 2, spread=True)
    result = stats.tukey_hsd(*arrays.values(), equal_var=False)
    bounds = result.confidence_interval(CONFIDENCE)
    found = []
    for (i, a), (j, b) in combinations(enumerate(arrays), 2):
        difference = float(result.statistic[i, j])
        errors = [arrays[name].std(ddof=1) / arrays[name].size ** 0.5 for name in (a, b)]
        error, free = welch_error(errors[0], arrays[a].size - 1, errors[1], arrays[b].size - 1)
        effect = Effect(
            float(bounds.low[i, j]), difference, float(bounds.high[i, j]), "simultaneous"
        )
        found.append(
            make_test(
                "Games-Howell",
                f"{a} - {b}",
                float(difference / error),
                (float(free),),
                result.pvalue[i, j],
                "difference of means",
                effect,
            )
        )
    return found

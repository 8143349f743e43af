"""When observations show that a quantile is within a limit, whatever their distribution.

The number of observations over the limit is binomial. As the early stopping of MLPerf's LoadGen
has it: that the p99 is within the limit is shown, at 99 % confidence, by 459 observations of which
none is over it, or by 662 of which one is (`mlcommons/inference`, `loadgen/early_stopping.cc`).
"""

import math
from collections.abc import Mapping

CONFIDENCE = 0.99


def exists(count: int, quantile: float) -> bool:
    """Whether so many observations have a quantile that is not simply the largest of them."""
    return count * (1 - quantile) >= 1 - 1e-9


def is_shown(count: int, over: int, quantile: float, confidence: float = CONFIDENCE) -> bool:
    """Whether a quantile is shown to be within a limit.

    Args:
        count: Observations.
        over: Of them, those over the limit, at most.
        quantile: Between 0 and 1.
        confidence: Of the claim.
    """
    from scipy import stats

    return bool(stats.binom.cdf(over, count, 1 - quantile) <= 1 - confidence)


def most_over(count: int, quantiles: Mapping[float, float], limit: float) -> int:
    """Return how many observations can be over a limit at most.

    Args:
        count: Observations.
        quantiles: Values by quantile, each that of an observation (nearest rank).
        limit: In the unit of the values.
    """
    within = [quantile for quantile, value in quantiles.items() if value <= limit]
    return count - math.ceil(max(within) * count - 1e-9) if within else count

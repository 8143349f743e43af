"""The confidence of every interval, and the quantiles that go with it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
NORMAL_QUANTILE = 1.959964
"""Of the normal distribution, at the upper tail."""
ROUNDED_NORMAL_QUANTILE = 1.96
"""As the sources of the intervals of effect sizes have it."""


def student_quantile(degrees_of_freedom: float) -> float:
    """Return Student's quantile at the upper tail, for a number of degrees of freedom."""
    from scipy.special import stdtrit  # scipy.stats takes five times as long to import

    return float(stdtrit(degrees_of_freedom, TAILS[1]))


def student_quantiles(degrees_of_freedom: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return `student_quantile` of each entry."""
    import numpy as np
    from scipy.special import stdtrit

    return np.asarray(stdtrit(degrees_of_freedom, TAILS[1]), float)

"""How an interval over few repetitions may be made: means, medians and ratios, by several methods.

Which of them is used was decided by how often each holds the truth at 3, 5 and 10 repetitions:
``benchmarks/interval_coverage.py`` prints the table, ``docs/statistics.md`` has it, and
`greenbatch.analysis.statistics.intervals` has the choice.

Every method takes arrays with the repetitions along the last axis, so that thousands of
samples are done at once.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from greenbatch.confidence import CONFIDENCE, TAILS, student_quantile, student_quantiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Bounds = tuple[Array, Array]

RESAMPLES = 2000
SEED = 0
"""Of every bootstrap: the same values give the same interval."""
PLAIN = "Student's t"
LOGARITHMIC = "t on logarithms"
WELCH = "Welch's t on logarithms"
PAIRED = "paired t on logarithms"


def student(values: "Array") -> "Bounds":
    """Student's t: mean ± t s / sqrt(n) (Student, Biometrika 6, 1908)."""
    mean, error, degrees_of_freedom = _moments(values)
    half = student_quantile(degrees_of_freedom) * error
    return mean - half, mean + half


def student_log(values: "Array") -> "Bounds":
    """Student's t on logarithms: an interval of the geometric mean; for positive values."""
    import numpy as np

    low, high = student(np.log(values))
    return np.exp(low), np.exp(high)


def percentile_t(values: "Array") -> "Bounds":
    """Bootstrap-t: quantiles of (mean* - mean) / error* stand for Student's.

    Without bounds at three values: one resample in nine repeats a single value, and its error
    is then zero. Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5.
    """
    import numpy as np

    mean, error, _ = _moments(values)
    n = values.shape[-1]
    picks = np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))
    drawn = values[..., picks]
    means, errors, _ = _moments(drawn)
    with np.errstate(divide="ignore", invalid="ignore"):
        pivots = (means - mean[..., None]) / errors
    pivots[np.isnan(pivots)] = 0.0  # no spread, no distance
    low, high = np.quantile(pivots, TAILS, axis=-1, method="inverted_cdf")
    return mean - high * error, mean - low * error


def order_statistics(values: "Array") -> "Bounds":
    """Bound the median by two of the values, whatever the distribution.

    As far inwards as 95 % allow; with fewer than six values smallest and largest, which
    hold the median in 1 - 2 / 2^n of the cases: 75 % of three, 93.75 % of five.
    Source: Conover, Practical Nonparametric Statistics, 3rd edition, section 3.2.
    """
    import numpy as np
    from scipy.stats import binom

    ordered = np.sort(values, axis=-1)
    n = values.shape[-1]
    k = max(int(binom.ppf(TAILS[0], n, 0.5)), 1)
    if k > 1 and binom.cdf(k - 1, n, 0.5) > TAILS[0]:
        k -= 1
    return ordered[..., k - 1], ordered[..., n - k]


def bca_mean(values: "Array") -> "Bounds":
    """BCa bootstrap of the mean (Efron, JASA 82, 1987), by scipy."""
    return _bootstrap((values,), _mean_of)


def bca_median(values: "Array") -> "Bounds":
    """BCa bootstrap of the median (Efron, JASA 82, 1987), by scipy."""
    return _bootstrap((values,), _median_of)


def percentile_median(values: "Array") -> "Bounds":
    """Percentile bootstrap of the median, by scipy."""
    return _bootstrap((values,), _median_of, method="percentile")


def paired_log_t(over: "Array", under: "Array") -> "Bounds":
    """Student's t of the differences of logarithms; what a block shares cancels."""
    return student_log(over / under)


def welch_log_t(over: "Array", under: "Array") -> "Bounds":
    """Welch's t of the difference of mean logarithms; numbers of repetitions may differ.

    Source: Welch, Biometrika 34, 1947; degrees of freedom after Satterthwaite, Biometrics Bulletin
    2, 1946.
    """
    import numpy as np

    (a, error_a, free_a), (b, error_b, free_b) = _moments(np.log(over)), _moments(np.log(under))
    error, degrees_of_freedom = welch_error(error_a, free_a, error_b, free_b)
    half = student_quantiles(degrees_of_freedom) * error
    return np.exp(a - b - half), np.exp(a - b + half)


def fieller(over: "Array", under: "Array") -> "Bounds":
    """Fieller's interval of a ratio of means, of independent samples.

    NaN where the lower mean is not known apart from zero: there the interval has no bounds.
    Source: Fieller, JRSS B 16, 1954, with Satterthwaite's degrees of freedom.
    """
    (a, error_a, free_a), (b, error_b, free_b) = _moments(over), _moments(under)
    _, degrees_of_freedom = welch_error(error_a, free_a, a / b * error_b, free_b)
    return _fieller(a, b, error_a**2, error_b**2, 0.0, student_quantiles(degrees_of_freedom) ** 2)


def paired_fieller(over: "Array", under: "Array") -> "Bounds":
    """Fieller's interval of a ratio of means, both measured in the same blocks."""
    (a, error_a, free), (b, error_b, _) = _moments(over), _moments(under)
    products = (over - a[..., None]) * (under - b[..., None])
    shared = products.sum(-1) / (free * (free + 1))
    return _fieller(a, b, error_a**2, error_b**2, shared, student_quantile(free) ** 2)


def bca_ratio(over: "Array", under: "Array") -> "Bounds":
    """BCa bootstrap of a ratio of means, of independent samples, by scipy."""
    return _bootstrap((over, under), _ratio_of)


def paired_bca_ratio(over: "Array", under: "Array") -> "Bounds":
    """BCa bootstrap of a ratio of means, blocks drawn whole, by scipy."""
    return _bootstrap((over, under), _ratio_of, paired=True)


MEANS: Mapping[str, "Callable[[Array], Bounds]"] = {
    PLAIN: student,
    LOGARITHMIC: student_log,
    "bootstrap-t": percentile_t,
    "BCa": bca_mean,
}
REAL_LEVELS: Mapping[str, Mapping[int, int]] = {"BCa": {3: 72, 4: 80, 5: 84}}
"""In percent, by repetitions: how often intervals of 95 % contain the mean of normal values, where
that is far from 95; ``benchmarks/interval_coverage.py``."""
MEDIANS: Mapping[str, "Callable[[Array], Bounds]"] = {
    PLAIN: student,
    LOGARITHMIC: student_log,
    "order statistics": order_statistics,
    "BCa": bca_median,
    "percentile bootstrap": percentile_median,
}
RATIOS: Mapping[str, "Callable[[Array, Array], Bounds]"] = {
    WELCH: welch_log_t,
    "Fieller": fieller,
    "BCa": bca_ratio,
}
PAIRED_RATIOS: Mapping[str, "Callable[[Array, Array], Bounds]"] = {
    PAIRED: paired_log_t,
    "paired Fieller": paired_fieller,
    "paired BCa": paired_bca_ratio,
}


def welch_error(
    error_a: "Array | float", free_a: int, error_b: "Array | float", free_b: int
) -> "tuple[Array, Array]":
    """Return standard error and Satterthwaite's degrees of freedom of a difference of two means.

    Args:
        error_a, error_b: Standard errors of the means; numbers or arrays.
        free_a, free_b: Their degrees of freedom.
    """
    import numpy as np

    a, b = np.square(error_a), np.square(error_b)
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees_of_freedom = np.square(a + b) / (np.square(a) / free_a + np.square(b) / free_b)
    return np.sqrt(a + b), np.where(
        np.isfinite(degrees_of_freedom), degrees_of_freedom, free_a + free_b
    )


def _moments(values: "Array") -> "tuple[Array, Array, int]":
    """Mean, its standard error, and degrees of freedom, over the last axis."""
    n = values.shape[-1]
    return values.mean(-1), values.std(-1, ddof=1) / n**0.5, n - 1


def _fieller(
    a: "Array",
    b: "Array",
    var_a: "Array",
    var_b: "Array",
    shared: "Array | float",
    t2: "Array | float",
) -> "Bounds":
    """Solve (a - r b)^2 = t^2 var(a - r b) for r."""
    import numpy as np

    square, linear, constant = b**2 - t2 * var_b, a * b - t2 * shared, a**2 - t2 * var_a
    with np.errstate(invalid="ignore"):
        root = np.sqrt(np.where(square > 0, linear**2 - square * constant, np.nan))
    return (linear - root) / square, (linear + root) / square


def _bootstrap(
    samples: "tuple[Array, ...]",
    statistic: "Callable[..., Array]",
    *,
    paired: bool = False,
    method: str = "BCa",
) -> "Bounds":
    import warnings

    from scipy.stats import bootstrap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sample without spread has no BCa: the bounds are NaN
        found = bootstrap(
            samples,
            statistic,
            n_resamples=RESAMPLES,
            paired=paired,
            vectorized=True,
            axis=-1,
            confidence_level=CONFIDENCE,
            method=method,
            rng=SEED,
        )
    return found.confidence_interval.low, found.confidence_interval.high


def _mean_of(values: "Array", axis: int) -> "Array":
    found: Array = values.mean(axis)
    return found


def _median_of(values: "Array", axis: int) -> "Array":
    import numpy as np

    found: Array = np.median(values, axis)
    return found


def _ratio_of(over: "Array", under: "Array", axis: int) -> "Array":
    found: Array = over.mean(axis) / under.mean(axis)
    return found

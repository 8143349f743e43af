"""Intervals of means, medians and ratios over few repetitions, by several methods.

Which method is the default was decided by how often each holds the truth at 3, 5 and 10
repetitions: ``benchmarks/interval_coverage.py`` prints the table, ``docs/statistics.md`` has it.
The values are one for each repetition, never one for each iteration inside one.

Every method takes arrays with the repetitions along the last axis, so that thousands of
samples are done at once; `mean`, `median` and `ratio` are for one sample.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenbatch.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Bounds = tuple[Array, Array]

CONFIDENCE = 0.95
RESAMPLES = 2000
SEED = 0
"""Of every bootstrap: the same values give the same interval."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure between its bounds.

    The bounds include the figure: one that rounding, or a bootstrap of few values, left on the
    wrong side of it is moved to it.

    Attributes:
        method: How the bounds were obtained, in words.
    """

    low: float
    centre: float
    high: float
    method: str

    def __post_init__(self) -> None:
        if self.low > self.centre:
            object.__setattr__(self, "low", self.centre)
        if self.high < self.centre:
            object.__setattr__(self, "high", self.centre)

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies within the bounds."""
        return self.low <= value <= self.high

    @property
    def relative(self) -> float | None:
        """The wider side over the centre: 0.03 is ± 3 %; ``None`` where the centre is 0."""
        if not self.centre:
            return None
        return max(self.high - self.centre, self.centre - self.low) / abs(self.centre)


def student(values: "Array") -> "Bounds":
    """Student's t: mean ± t s / sqrt(n) (Student, Biometrika 6, 1908)."""
    mean, error, freedom = _moments(values)
    half = _t(freedom) * error
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
    low, high = np.quantile(pivots, _tails(), axis=-1, method="inverted_cdf")
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
    k = max(int(binom.ppf((1 - CONFIDENCE) / 2, n, 0.5)), 1)
    if k > 1 and binom.cdf(k - 1, n, 0.5) > (1 - CONFIDENCE) / 2:
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

    Source: Welch, Biometrika 34, 1947; freedom after Satterthwaite, Biometrics Bulletin 2, 1946.
    """
    import numpy as np

    (a, error_a, free_a), (b, error_b, free_b) = _moments(np.log(over)), _moments(np.log(under))
    error, freedom = welch_error(error_a, free_a, error_b, free_b)
    half = _t(freedom) * error
    return np.exp(a - b - half), np.exp(a - b + half)


def fieller(over: "Array", under: "Array") -> "Bounds":
    """Fieller's interval of a ratio of means, of independent samples.

    NaN where the lower mean is not known apart from zero: there the interval has no bounds.
    Source: Fieller, JRSS B 16, 1954, with Satterthwaite's freedom.
    """
    (a, error_a, free_a), (b, error_b, free_b) = _moments(over), _moments(under)
    _, freedom = welch_error(error_a, free_a, a / b * error_b, free_b)
    return _fieller(a, b, error_a**2, error_b**2, 0.0, _t(freedom) ** 2)


def paired_fieller(over: "Array", under: "Array") -> "Bounds":
    """Fieller's interval of a ratio of means, both measured in the same blocks."""
    (a, error_a, free), (b, error_b, _) = _moments(over), _moments(under)
    products = (over - a[..., None]) * (under - b[..., None])
    shared = products.sum(-1) / (free * (free + 1))
    return _fieller(a, b, error_a**2, error_b**2, shared, _t(free) ** 2)


def bca_ratio(over: "Array", under: "Array") -> "Bounds":
    """BCa bootstrap of a ratio of means, of independent samples, by scipy."""
    return _bootstrap((over, under), _ratio_of)


def paired_bca_ratio(over: "Array", under: "Array") -> "Bounds":
    """BCa bootstrap of a ratio of means, blocks drawn whole, by scipy."""
    return _bootstrap((over, under), _ratio_of, paired=True)


MEANS: Mapping[str, "Callable[[Array], Bounds]"] = {
    "Student's t": student,
    "t on logarithms": student_log,
    "bootstrap-t": percentile_t,
    "BCa": bca_mean,
}
MEDIANS: Mapping[str, "Callable[[Array], Bounds]"] = {
    "Student's t": student,
    "t on logarithms": student_log,
    "order statistics": order_statistics,
    "BCa": bca_median,
    "percentile bootstrap": percentile_median,
}
RATIOS: Mapping[str, "Callable[[Array, Array], Bounds]"] = {
    "Welch's t on logarithms": welch_log_t,
    "Fieller": fieller,
    "BCa": bca_ratio,
}
PAIRED_RATIOS: Mapping[str, "Callable[[Array, Array], Bounds]"] = {
    "paired t on logarithms": paired_log_t,
    "paired Fieller": paired_fieller,
    "paired BCa": paired_bca_ratio,
}
ENOUGH = 5
"""Repetitions from which bootstrap-t and order statistics hold the truth in more than 90 %."""


def mean(values: Sequence[float], method: str | None = None) -> Interval | None:
    """Bound the arithmetic mean.

    Args:
        values: One for each repetition.
        method: Of `MEANS`; by default bootstrap-t from five repetitions on, which is wider where
            there is a tail, and Student's t with fewer.

    Returns:
        ``None`` with fewer than two values, which tell nothing of their spread, and where the
        method finds no bounds (bootstrap-t of three).

    Raises:
        UsageError: A value is not finite, or not positive where logarithms are taken.
    """
    import numpy as np

    chosen = method or ("bootstrap-t" if len(values) >= ENOUGH else "Student's t")
    log = "logarithms" in chosen
    array = _checked(values, positive=log)
    if array.size < 2:
        return None
    centre = np.exp(np.log(array).mean()) if log else array.mean()
    return _interval(MEANS[chosen](array), centre, chosen)


def median(values: Sequence[float], method: str | None = None) -> Interval | None:
    """Bound the median; as for `mean`.

    Args:
        values: One for each repetition.
        method: Of `MEDIANS`; by default order statistics from five repetitions on, and with
            fewer Student's t, which takes the values to be symmetric about their median.
    """
    import numpy as np

    chosen = method or ("order statistics" if len(values) >= ENOUGH else "Student's t")
    array = _checked(values, positive="logarithms" in chosen)
    if array.size < 2:
        return None
    return _interval(MEDIANS[chosen](array), np.median(array), chosen)


def ratio(
    over: Mapping[int, float],
    under: Mapping[int, float],
    *,
    paired: bool,
    method: str | None = None,
) -> Interval | None:
    """Bound the ratio of two cells.

    Args:
        over, under: Positive figures by block.
        paired: Whether a block's number means the same stretch of time on both sides, as within
            one run. Blocks of two runs are never paired; then the numbers say nothing.
        method: Of `PAIRED_RATIOS` or `RATIOS`; t on logarithms by default.

    Returns:
        The interval about the ratio of geometric means (of arithmetic ones, for Fieller and
        BCa); ``None`` with fewer than two blocks on a side, or without bounds (Fieller).

    Raises:
        UsageError: A value is not finite or not positive.
    """
    import numpy as np

    methods = PAIRED_RATIOS if paired else RATIOS
    chosen = method or next(iter(methods))
    shared = over.keys() & under.keys()
    a, b = (
        _checked([side[block] for block in sorted(shared if paired else side)], positive=True)
        for side in (over, under)
    )
    if min(a.size, b.size) < 2:
        return None
    log = "logarithms" in chosen
    centre = np.exp(np.log(a).mean() - np.log(b).mean()) if log else a.mean() / b.mean()
    bounds = methods[chosen](a, b)
    return _interval(bounds, centre, chosen)


def welch_error(error_a: Any, free_a: Any, error_b: Any, free_b: Any) -> tuple[Any, Any]:
    """Return standard error and Satterthwaite's freedom of a difference of two means.

    Args:
        error_a, error_b: Standard errors of the means; numbers or arrays.
        free_a, free_b: Their degrees of freedom.
    """
    import numpy as np

    a, b = np.square(error_a), np.square(error_b)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.square(a + b) / (np.square(a) / free_a + np.square(b) / free_b)
    return np.sqrt(a + b), np.where(np.isfinite(freedom), freedom, free_a + free_b)


def _interval(bounds: "Bounds", centre: Any, method: str) -> Interval | None:
    low, high = map(float, bounds)
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return Interval(low, float(centre), high, method)


def _checked(values: Sequence[float], *, positive: bool) -> "Array":
    import numpy as np

    array = np.asarray(values, dtype=float)
    wrong = ~np.isfinite(array) | ((array <= 0) & positive)
    if wrong.any():
        wanted = "finite and above zero" if positive else "finite"
        raise UsageError(
            f"a value is {array[wrong][0]}, and this interval needs it {wanted}; "
            "leave missing repetitions out"
        )
    return array


def _moments(values: "Array") -> "tuple[Array, Array, int]":
    """Mean, its standard error, and degrees of freedom, over the last axis."""
    n = values.shape[-1]
    return values.mean(-1), values.std(-1, ddof=1) / n**0.5, n - 1


def _fieller(a: Any, b: Any, var_a: Any, var_b: Any, shared: Any, t2: Any) -> "Bounds":
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


def _mean_of(values: "Array", axis: int) -> Any:
    return values.mean(axis)


def _median_of(values: "Array", axis: int) -> Any:
    import numpy as np

    return np.median(values, axis)


def _ratio_of(over: "Array", under: "Array", axis: int) -> Any:
    return over.mean(axis) / under.mean(axis)


def _tails() -> list[float]:
    return [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]


def _t(freedom: Any) -> Any:
    from scipy.special import stdtrit  # scipy.stats takes five times as long to import

    return stdtrit(freedom, (1 + CONFIDENCE) / 2)

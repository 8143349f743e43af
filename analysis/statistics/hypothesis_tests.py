"""The tests of the studies, each with an effect size and its interval beside every p.

Every function takes the repetitions' values by group (a cell, a backend), never the iterations'
inside one. Families of several tests are corrected by Holm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

from greenbatch.analysis.statistics.interval_methods import RESAMPLES, SEED
from greenbatch.analysis.statistics.multiple_testing import holm
from greenbatch.confidence import ROUNDED_NORMAL_QUANTILE, TAILS, student_quantile
from greenbatch.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Groups = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect size between the bounds of its 95 % interval.

    The bounds include the effect: one that a bootstrap of few values left on the wrong side of it
    is moved to it.

    Attributes:
        method: How the bounds were obtained, in words.
    """

    low: float
    centre: float
    high: float
    method: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", min(self.low, self.centre))
        object.__setattr__(self, "high", max(self.high, self.centre))


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test.

    Attributes:
        of: What was tested: groups, or the term of a model.
        degrees_of_freedom: Of the statistic; empty where the statistic has none.
        p: Two-sided, as it is.
        p_holm: Corrected over its family; equal to ``p`` in a family of one.
        effect_name: Which effect size ``effect`` is.
        effect: With its 95 % interval, of this test alone unless its method says otherwise;
            ``None`` where it cannot be had, as with two repetitions.
    """

    __test__ = False  # not one of pytest's

    name: str
    of: str
    statistic: float
    degrees_of_freedom: tuple[float, ...] = ()
    p: float
    p_holm: float
    effect_name: str
    effect: Effect | None


def shapiro_wilk(groups: Groups) -> list[Test]:
    """Test each group for normality; the effect is its skewness (G1).

    Below some ten repetitions hardly anything is found: a large p is no sign of normality.
    Source of the interval: standard error of G1 of normal values (Cramér, Mathematical Methods
    of Statistics, 1946, 29.3).
    """
    from scipy import stats

    found = []
    for name, values in checked_groups(groups, 3, several=False, spread=True).items():
        n = values.size
        w, p = stats.shapiro(values)
        skew = float(stats.skew(values, bias=False))
        half = ROUNDED_NORMAL_QUANTILE * (6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3))) ** 0.5
        effect = Effect(skew - half, skew, skew + half, "normal approximation")
        found.append(make_test("Shapiro-Wilk", name, w, (), p, "skewness", effect))
    return corrected(found)


def levene(groups: Groups) -> Test:
    """Test for equal spread, about the medians (Brown & Forsythe, JASA 69, 1974)."""
    import numpy as np
    from scipy import stats

    arrays = checked_groups(groups, 2)
    distances = [np.abs(values - np.median(values)) for values in arrays.values()]
    if all(np.ptp(found) <= 1e-9 * found.max() for found in distances):  # as those of two values
        raise UsageError(
            "in no group do the distances from the median differ; a test of spread needs some that "
            "do"
        )
    statistic, p = stats.levene(*arrays.values(), center="median")
    degrees_of_freedom = _degrees_of_freedom(arrays)
    effect = eta_squared(float(statistic), degrees_of_freedom)
    name = "eta squared of the distances from the medians"
    return make_test("Levene", " - ".join(arrays), statistic, degrees_of_freedom, p, name, effect)


def kruskal_wallis(groups: Groups, *, effects: bool = True) -> Test:
    """Test whether any group tends to larger values; the effect is eta squared of H.

    Args:
        groups: The values of each.
        effects: Whether to bootstrap the effect's interval, which takes most of the time; without
            it the test has no effect, and `eta_squared_h` gives the effect alone.

    Source:
        (H - k + 1) / (n - k), Tomczak & Tomczak, Trends in Sport Sciences 21, 2014; percentile
        bootstrap within the groups. It may be below zero.
    """
    from scipy import stats

    arrays = checked_groups(groups, 2)
    statistic, p = stats.kruskal(*arrays.values())
    effect = bootstrapped(_eta_squared_h, *arrays.values()) if effects else None
    degrees_of_freedom = (float(len(arrays) - 1),)
    name = "eta squared of H"
    return make_test(
        "Kruskal-Wallis", " - ".join(arrays), statistic, degrees_of_freedom, p, name, effect
    )


@cache
def least_p_kruskal(sizes: tuple[int, ...]) -> float:
    """Return the p of a Kruskal-Wallis test of groups of these sizes that never overlap."""
    from scipy import stats

    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    groups = [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return float(stats.kruskal(*groups).pvalue)


def eta_squared_h(statistic: float, groups: int, values: int) -> float:
    """Return eta squared of a Kruskal-Wallis H over so many groups and values in all."""
    return (statistic - groups + 1) / (values - groups)


def dunn(groups: Groups, *, effects: bool = True) -> list[Test]:
    """Compare all pairs by the ranks among all groups, after Kruskal-Wallis; ties corrected.

    The effect is Cliff's delta of the pair; without ``effects`` there is none. Source: Dunn,
    Technometrics 6, 1964.
    """
    import numpy as np
    from scipy import stats

    arrays = checked_groups(groups, 2)
    ranks = stats.rankdata(np.concatenate([*arrays.values()]))
    ends = np.cumsum([values.size for values in arrays.values()])
    means = dict(zip(arrays, (part.mean() for part in np.split(ranks, ends[:-1])), strict=True))
    variance = ranks.var(ddof=1)  # of tied ranks, which is the correction for ties
    found = []
    for a, b in combinations(arrays, 2):
        error = (variance * (1 / arrays[a].size + 1 / arrays[b].size)) ** 0.5
        z = (means[a] - means[b]) / error
        p = 2 * stats.norm.sf(abs(z))
        effect = cliffs_delta(arrays[a], arrays[b]) if effects else None
        found.append(make_test("Dunn", f"{a} - {b}", z, (), p, "Cliff's delta", effect))
    return corrected(found)


def mann_whitney(groups: Groups) -> list[Test]:
    """Compare all pairs by the ranks within each pair; exact for few values without ties."""
    from scipy import stats

    arrays = checked_groups(groups, 2)
    found = []
    for a, b in combinations(arrays, 2):
        u, p = stats.mannwhitneyu(arrays[a], arrays[b], alternative="two-sided")
        effect = cliffs_delta(arrays[a], arrays[b])
        found.append(make_test("Mann-Whitney", f"{a} - {b}", u, (), p, "Cliff's delta", effect))
    return corrected(found)


def spearman(pairs: Mapping[str, tuple[float, float]], *, rises: bool = False) -> Test:
    """Test whether two figures rise together; the effect is rho.

    Args:
        pairs: Both figures of each thing that has them.
        rises: Whether p is one-sided: of a rho as large as this, rather than as far from 0.

    Raises:
        UsageError: Fewer than four pairs, one that is not finite, or a figure without spread.

    Source:
        Bonett & Wright, Psychometrika 65, 2000, for the interval; p is of all permutations up to
        eight pairs, and of Student's t beyond.
    """
    from itertools import permutations

    import numpy as np
    from scipy import stats

    columns = {name: [pair[at] for pair in pairs.values()] for at, name in enumerate("xy")}
    x, y = checked_groups(columns, 4, spread=True).values()
    rho, p = (float(found) for found in stats.spearmanr(x, y))
    n = x.size
    if n <= 8:
        ranks = [stats.rankdata(values) - (n + 1) / 2 for values in (x, y)]
        every = np.array([*permutations(ranks[1])]) @ ranks[0]
        # Sums of halves are exact, so that what is as far out is counted.
        seen = ranks[0] @ ranks[1]
        p = float((every >= seen if rises else np.abs(every) >= abs(seen)).mean())
    elif rises:
        p = p / 2 if rho > 0 else 1 - p / 2
    half = ROUNDED_NORMAL_QUANTILE * ((1 + rho**2 / 2) / (n - 3)) ** 0.5
    with np.errstate(divide="ignore"):  # a perfect rho has no width
        low, high = (float(np.tanh(np.arctanh(rho) + side * half)) for side in (-1, 1))
    effect = Effect(min(low, rho), rho, max(high, rho), "Bonett & Wright")
    return make_test("Spearman", " - ".join(pairs), rho, (), p, "rho", effect)


def cliffs_delta(a: "Sequence[float] | Array", b: "Sequence[float] | Array") -> Effect | None:
    """Return how much more often a value of ``a`` exceeds one of ``b`` than the reverse: -1 to 1.

    Source: Cliff, Ordinal Methods for Behavioral Data Analysis, 1996: the asymmetric interval from
    the unbiased variance, with Student's quantile as in Feng & Cliff, JMASM 3(2), 2004. Where no
    value overlaps the variance is zero; then one more value that does decides, and the inner
    bound is that of the variance after it (Feng & Cliff's (n - 1.96²) / (n + 1.96²)).
    """
    import numpy as np

    dominance = np.sign(np.subtract.outer(np.asarray(a, float), np.asarray(b, float)))
    n, m = dominance.shape
    if min(n, m) < 2:
        return None
    delta = float(dominance.mean())
    if abs(delta) == 1.0:
        least = min(n, m)
        inner = (least - ROUNDED_NORMAL_QUANTILE**2) / (least + ROUNDED_NORMAL_QUANTILE**2)
        low, high = sorted((delta, delta * inner))
        return Effect(low, delta, high, "Feng & Cliff, no overlap")
    rows, columns = dominance.mean(1) - delta, dominance.mean(0) - delta
    squares = m**2 * (rows**2).sum() + n**2 * (columns**2).sum() - ((dominance - delta) ** 2).sum()
    # Unbiased, it may fall below what is possible (Cliff, 1996, p. 138).
    variance = max(squares / (n * m * (n - 1) * (m - 1)), (1 - delta**2) / (n * m - 1))
    t = student_quantile(n + m - 2)
    margin = t * (variance * ((1 - delta**2) ** 2 + t**2 * variance)) ** 0.5
    below = 1 - delta**2 + t**2 * variance
    low, high = (float((delta - delta**3 + sign * margin) / below) for sign in (-1, 1))
    return Effect(max(low, -1.0), delta, min(high, 1.0), "Cliff")


def make_test(
    name: str,
    of: str,
    statistic: float,
    degrees_of_freedom: tuple[float, ...],
    p: float,
    effect_name: str,
    effect: Effect | None,
) -> Test:
    """Make a test of whatever numbers a library returned; a family of one as yet."""
    return Test(
        name=name,
        of=of,
        statistic=float(statistic),
        degrees_of_freedom=degrees_of_freedom,
        p=float(p),
        p_holm=float(p),
        effect_name=effect_name,
        effect=effect,
    )


def corrected(tests: Sequence[Test]) -> list[Test]:
    """Correct a family by Holm."""
    corrected = holm([test.p for test in tests])
    return [replace(test, p_holm=p) for test, p in zip(tests, corrected, strict=True)]


def checked_groups(
    groups: Groups, least: int, *, several: bool = True, spread: bool = False
) -> dict[str, "Array"]:
    """Check groups before they are tested.

    Args:
        groups: The values of each.
        least: Finite values that each needs.
        several: Whether there have to be two or more groups.
        spread: Whether each needs values that differ; else all together do.

    Raises:
        UsageError: Something of this is not so.
    """
    import numpy as np

    if several and len(groups) < 2:
        raise UsageError(f"there is {len(groups)} group to compare; give two or more")
    arrays = {name: np.asarray(values, dtype=float) for name, values in groups.items()}
    for name, values in arrays.items():
        finite = int(np.isfinite(values).sum())
        if finite < max(values.size, least):
            raise UsageError(
                f"{name} has {finite} finite values of {values.size}; this test needs {least} or "
                "more, and missing ones left out"
            )
    for part in arrays.values() if spread else [np.concatenate([*arrays.values()])]:
        if np.ptp(part) == 0:
            raise UsageError(
                f"all values of a group are {part[0]:g}; a test needs values that differ"
            )
    return arrays


def _degrees_of_freedom(arrays: Mapping[str, "Array"]) -> tuple[float, float]:
    n = sum(values.size for values in arrays.values())
    return float(len(arrays) - 1), float(n - len(arrays))


def eta_squared(f: float, degrees_of_freedom: tuple[float, float]) -> Effect:
    """Partial eta squared from F, bounded by inverting the noncentral F (Steiger, 2004)."""
    from scipy import optimize

    within, rest = degrees_of_freedom

    def bound(q: float) -> float:
        def over(noncentrality: float) -> float:
            return _noncentral_f(f, within, rest, noncentrality) - q

        if over(0.0) <= 0:  # no effect at all would seldom give so small an F
            return 0.0
        found = float(optimize.brentq(over, 0.0, 50 * (1 + f * within)))
        return found / (found + within + rest + 1)

    share = f * within / (f * within + rest)
    return Effect(bound(TAILS[1]), share, bound(TAILS[0]), "noncentral F")


def _noncentral_f(f: float, within: float, rest: float, noncentrality: float) -> float:
    """Return the probability of a smaller F; by Severo & Zelen where scipy has no value.

    Source: Abramowitz & Stegun, Handbook of Mathematical Functions, 1964, 26.6.27.
    """
    from scipy import stats

    found = float(stats.ncf.cdf(f, within, rest, noncentrality))
    if found == found:
        return found
    scaled = (f * within / (within + noncentrality)) ** (1 / 3)
    spread = 2 * (within + 2 * noncentrality) / (9 * (within + noncentrality) ** 2)
    width = (spread + 2 / (9 * rest) * scaled**2) ** 0.5
    return float(stats.norm.cdf(((1 - 2 / (9 * rest)) * scaled - (1 - spread)) / width))


def _eta_squared_h(*samples: "Array", axis: int = -1) -> "Array":
    """Eta squared of H for samples along the last axis; H as a share of the ranks' variance."""
    import numpy as np
    from scipy import stats

    sizes = [sample.shape[-1] for sample in samples]
    n, k = sum(sizes), len(sizes)
    ranks = stats.rankdata(np.concatenate(samples, axis=-1), axis=-1)
    parts = np.split(ranks, np.cumsum(sizes)[:-1], axis=-1)
    middle = (n + 1) / 2
    between = sum(part.shape[-1] * (part.mean(-1) - middle) ** 2 for part in parts)
    with np.errstate(invalid="ignore"):
        h = (n - 1) * between / ((ranks - middle) ** 2).sum(-1)
    found: Array = (h - k + 1) / (n - k)
    return found


def bootstrapped(statistic: "Callable[..., Array]", *samples: "Array") -> Effect | None:
    """Bound an effect of several samples by the percentiles of resamples within them.

    Args:
        statistic: Of samples, along the last axis (keyword ``axis``).
        samples: The values of each group.

    Returns:
        ``None`` where no bounds can be had.
    """
    import warnings

    import numpy as np
    from scipy.stats import bootstrap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all resamples are alike the bounds are NaN
        found = bootstrap(
            samples,
            statistic,
            n_resamples=RESAMPLES,
            vectorized=True,
            axis=-1,
            method="percentile",
            rng=SEED,
        ).confidence_interval
    if np.isnan([found.low, found.high]).any():
        return None
    centre = float(statistic(*samples))
    return Effect(float(found.low), centre, float(found.high), "percentile bootstrap")

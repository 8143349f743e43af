"""The linear mixed model with one random intercept, fitted by REML.

With one variance ratio the restricted likelihood is a function of one number, whose derivative is
known: its zeros are bracketed and found on every processor alike, where a general optimiser may
stop early.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenbatch.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_RATIOS = (-6.0, 10.0)  # log10 of the variance ratios that are looked through
_STEPS = 33
_NOTHING = 1e-13  # of the largest value: what rounding leaves of a rest that is zero


@dataclass(frozen=True, slots=True)
class RandomIntercept:
    """A fitted model.

    Attributes:
        estimates, errors: Of each column of the design, with standard errors.
        group_sd, residual_sd: What varies between groups, and within them.
    """

    estimates: tuple[float, ...]
    errors: tuple[float, ...]
    group_sd: float
    residual_sd: float


@dataclass(frozen=True, slots=True)
class _Products:
    """All that the likelihood needs of values y, design X and groups Z.

    What lies within groups is kept apart from their sums: where groups differ far more than values
    within them, a difference of the two would be lost in rounding.

    Attributes:
        square, by_design, design: y'y, X'y and X'X of y and X less the means of their groups.
        by_group, shared: Z'y and Z'X.
        sizes: Values in each group, the diagonal of Z'Z.
    """

    square: float
    by_design: "NDArray[np.float64]"
    by_group: "NDArray[np.float64]"
    design: "NDArray[np.float64]"
    shared: "NDArray[np.float64]"
    sizes: "NDArray[np.float64]"

    @property
    def free(self) -> int:
        """Values less fixed effects."""
        return round(float(self.sizes.sum())) - len(self.design)


@dataclass(frozen=True, slots=True)
class _Profile:
    """The model at one ratio of the variance between groups to that within.

    Attributes:
        deviance: -2 times the restricted log-likelihood, up to a constant.
        slope: Its derivative by the ratio.
        estimates, covariance: Of the fixed effects; the covariance in units of ``variance``.
        variance: Within groups.
    """

    deviance: float
    slope: float
    estimates: "NDArray[np.float64]"
    covariance: "NDArray[np.float64]"
    variance: float


def fit_random_intercept(
    y: "NDArray[np.float64]", design: "NDArray[np.float64]", groups: "NDArray[np.float64]"
) -> RandomIntercept:
    """Fit y = design x effects + an intercept for each group + rest.

    Args:
        y: Values (N).
        design: Columns of the fixed effects (N, p), linearly independent.
        groups: One in the column of a value's group (N, q).

    Raises:
        UsageError: Fixed effects and groups explain the values without a rest.

    Source:
        Searle, Casella & McCulloch, Variance Components, 1992, chapter 6: the restricted
        likelihood and its derivative, with V = I + ratio ZZ'.
    """
    import numpy as np
    from scipy.optimize import brentq

    ordinary = np.linalg.lstsq(design, y, rcond=None)[0]
    left = y - design @ ordinary  # effects that are fixed do not change what follows
    everything = np.hstack([design, groups])
    rest = left - everything @ np.linalg.lstsq(everything, left, rcond=None)[0]
    scale = float(np.abs(left).max())
    if not float(np.abs(rest).max()) > _NOTHING * float(np.abs(y).max()):
        raise UsageError(
            "cells and blocks explain every value without a rest, so nothing can be tested; "
            "measure more repetitions, or with a finer meter"
        )
    sizes = groups.sum(axis=0)
    values = left / scale
    by_group, shared = groups.T @ values, groups.T @ design
    values = values - groups @ (by_group / sizes)
    within = design - groups @ (shared / sizes[:, None])
    products = _Products(
        float(values @ values),
        within.T @ values,
        by_group,
        within.T @ within,
        shared,
        sizes,
    )

    def at(ratio: float) -> _Profile:
        return _profile(ratio, products)

    ratios = [0.0, *np.logspace(*_RATIOS, _STEPS).tolist()]
    slopes = [at(ratio).slope for ratio in ratios]
    minima = [0.0] if slopes[0] >= 0 else []
    minima += [
        float(brentq(lambda ratio: at(ratio).slope, low, high, xtol=1e-300, rtol=1e-14))
        for low, high, falls, rises in zip(ratios, ratios[1:], slopes, slopes[1:], strict=False)
        if falls < 0 <= rises
    ]
    ratio = min(minima or ratios[-1:], key=lambda ratio: at(ratio).deviance)
    best = at(ratio)
    residual_sd = best.variance**0.5 * scale
    return RandomIntercept(
        tuple((ordinary + best.estimates * scale).tolist()),
        tuple((np.sqrt(np.diag(best.covariance)) * residual_sd).tolist()),
        ratio**0.5 * residual_sd,
        residual_sd,
    )


def _profile(ratio: float, of: _Products) -> _Profile:
    import numpy as np

    odds = 1 + ratio * of.sizes
    weights = 1 / (of.sizes * odds)  # the inverse of V, between groups; within them it is 1
    information = of.design + (of.shared.T * weights) @ of.shared
    covariance = np.asarray(np.linalg.inv(information), np.float64)
    pull = of.by_design + of.shared.T @ (weights * of.by_group)
    estimates = covariance @ pull
    square = float(of.square + weights @ of.by_group**2 - pull @ estimates)  # y'Py
    means = (of.by_group - of.shared @ estimates) / odds  # Z'Py
    shared = of.shared / odds[:, None]
    trace = float((of.sizes / odds).sum() - (shared @ covariance * shared).sum())  # of Z'PZ
    free = of.free
    deviance = (
        free * float(np.log(square))
        + float(np.log(odds).sum())
        + float(np.linalg.slogdet(information)[1])
    )
    slope = trace - free * float(means @ means) / square
    return _Profile(deviance, slope, estimates, covariance, square / free)

"""Variances of cells with few repetitions each, moderated by those of all cells.

Where the cells vary alike, each has nearly the pooled variance with all its degrees of freedom;
where they do not, each keeps its own. How much they do is estimated from the variances themselves.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

CAUTION = 3.0
"""Standard errors by which the variances are taken to differ more than is seen."""
_WIDEST, _NARROWEST = 1e6, 1e-8  # variances of logarithms of variances that are distinguished


@dataclass(frozen=True, slots=True)
class Moderated:
    """Variances by cell, and the degrees of freedom that they are worth.

    Attributes:
        variances, degrees_of_freedom: Shape (cell,); infinitely many where the cells vary alike.
    """

    variances: "Array"
    degrees_of_freedom: "Array"


def moderate(
    variances: "Array", degrees_of_freedom: "Array", *, caution: float = CAUTION
) -> Moderated:
    """Shrink variances towards a common one.

    Args:
        variances: Positive where they have degrees of freedom, shape (cell,).
        degrees_of_freedom: Of each; a cell with 0 gets the common variance.
        caution: By how many standard errors the logarithms of the variances are taken to vary more
            than is seen.

    Source:
        Smyth, Statistical Applications in Genetics and Molecular Biology 3(1), 2004: the
        variances follow a scaled F distribution, fitted by the moments of their logarithms. The
        variance of the logarithms is taken larger than it is seen.
    """
    import numpy as np
    from scipy.special import digamma, polygamma

    able = degrees_of_freedom > 0
    d, s = degrees_of_freedom[able], variances[able]
    if d.size < 2:  # of one cell nothing is known of the others
        return Moderated(np.where(able, variances, np.nan), np.where(able, degrees_of_freedom, 0.0))
    logs = np.log(s) - digamma(d / 2) + np.log(d / 2)
    # To take cells for more alike than they are makes false claims (benchmarks/claims.py).
    spread = float(logs.var(ddof=1)) * (1 + caution * (2 / (d.size - 1)) ** 0.5)
    excess = spread - float(polygamma(1, d / 2).mean())
    if excess <= _NARROWEST:
        common = float((d * s).sum() / d.sum())
        return Moderated(np.full(len(variances), common), np.full(len(variances), float("inf")))
    prior = 2 * _trigamma_inverse(min(excess, _WIDEST))
    common = float(np.exp(logs.mean() + digamma(prior / 2) - np.log(prior / 2)))
    weight = degrees_of_freedom + prior
    own = degrees_of_freedom * np.where(able, variances, 0.0)
    return Moderated((prior * common + own) / weight, weight)


def _trigamma_inverse(value: float) -> float:
    from scipy.optimize import brentq
    from scipy.special import polygamma

    def excess(x: float) -> float:
        return float(polygamma(1, x)) - value

    # trigamma(x) lies between 1 / x and 1 / x + 1 / x^2
    return float(brentq(excess, 1 / (value + 1), 1 / value + value**-0.5))

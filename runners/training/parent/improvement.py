"""The Bayesian search of Yarally et al.: a Gaussian process, and the probability of improvement.

Of yarally/green-ai, part1: scikit-learn's regressor with its default kernel, one random start,
and of 10,000 random candidates the most probable improvement. That default was a radial kernel of
length 1 that is not fitted (documentation of scikit-learn 0.24; later versions fit it), of the
values as they are, around a mean of 0. Optuna's process fits its kernel and has no such
acquisition, therefore this one is scikit-learn's.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from greenbatch.design.search_space import Dimension

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

CANDIDATES = 10_000
_LEAST_DEVIATION = 1e-9


def propose(
    dimensions: Sequence[Dimension],
    tried: Sequence[tuple[Mapping[str, str], float]],
    seed: int,
    *,
    rises: bool,
) -> dict[str, str]:
    """Propose a point.

    Args:
        dimensions: Of the space.
        tried: Points with their figures; none: the first point is random.
        seed: Of the candidates.
        rises: Whether more is better.
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    shares = draw.random((CANDIDATES if tried else 1, len(dimensions)))
    points = [
        {each.name: _at(each, share) for each, share in zip(dimensions, row, strict=True)}
        for row in shares.tolist()
    ]
    if not tried:
        return points[0]
    figures = [figure if rises else -figure for _, figure in tried]
    gains = improvement(
        [_numbers(dimensions, point) for point, _ in tried],
        figures,
        [_numbers(dimensions, point) for point in points],
    )
    return points[int(np.argmax(gains))]


def improvement(
    points: Sequence[Sequence[float]],
    figures: Sequence[float],
    candidates: Sequence[Sequence[float]],
) -> list[float]:
    """Return the probability that each candidate is better than the best figure so far.

    Args:
        points: That were tried, as numbers.
        figures: Of them; more is better.
        candidates: As numbers.
    """
    from scipy.stats import norm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of variances that rounding makes negative
        mean, deviation = _fitted(points, figures).predict(candidates, return_std=True)
    gains: list[float] = norm.cdf((mean - max(figures)) / (deviation + _LEAST_DEVIATION)).tolist()
    return gains


def _fitted(
    points: Sequence[Sequence[float]], figures: Sequence[float]
) -> "GaussianProcessRegressor":
    """Fit a process; points that are too near for 1e-10 on the diagonal get ten times as much."""
    from numpy.linalg import LinAlgError
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    kernel = ConstantKernel(1.0, "fixed") * RBF(1.0, "fixed")
    alpha = 1e-10
    while True:
        try:
            return GaussianProcessRegressor(kernel, alpha=alpha).fit(points, figures)
        except LinAlgError:
            alpha *= 10


def _at(dimension: Dimension, share: float) -> str:
    """Return the point at a share of a dimension."""
    if dimension.choices:
        return dimension.choices[int(share * len(dimension.choices))]
    if dimension.whole:
        low, high = round(dimension.low), round(dimension.high)
        return str(low + int(share * (high - low + 1)))
    if dimension.log:
        return dimension.text(dimension.low * (dimension.high / dimension.low) ** share)
    return dimension.text(dimension.low + share * (dimension.high - dimension.low))


def _numbers(dimensions: Sequence[Dimension], point: Mapping[str, str]) -> list[float]:
    return [_number(each, point[each.name]) for each in dimensions]


def _number(dimension: Dimension, text: str) -> float:
    if dimension.choices:
        return float(dimension.choices.index(text))
    return math.log(float(text)) if dimension.log else float(text)

"""Questions about curves over the batch size: a ratio of two, where they cross, and the knee."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from greenbatch.design.repetition_rules import FEWEST_OF_KNEE
from greenbatch.records import Cell
from greenbatch.runners.scheduling.racing.contest import ALPHA, Contest, spreads
from greenbatch.runners.scheduling.racing.questions import Judgement, Measured

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_FLAT = Cell("none", "none")
"""Stands for 'there is no knee'."""


def judge_ratio(
    measured: Measured, alive: "frozenset[Cell]", indifference: float, comparisons: int
) -> Judgement:
    """Say at which batch sizes the ratio of two variants is known to within the indifference.

    Student's interval of the logarithms of the ratio, paired by block, with the spread of all
    cells. The chance of an error is shared by the batch sizes, and spent over the looks: a part of
    1 / (n (n - 1)) after block n, which adds up to one.

    Args:
        measured, alive, indifference, comparisons: See
            `greenbatch.runners.scheduling.racing.questions.judge_best`.
    """
    import numpy as np
    from scipy.special import stdtrit

    pairs = _pairs(measured.cells)
    leaving: dict[Cell, str] = {}
    undecided: list[Cell] = []
    blocks_left: dict[Cell, float] = {}
    for one, other in pairs:
        both = tuple(measured.cells[i] for i in (one, other))
        if not alive.issuperset(both):
            continue
        n = int(np.isfinite(measured.logs[[one, other]]).all(0).sum())
        half = math.inf
        if measured.spread is not None and n > 1:
            variances = measured.spread.variances[[one, other]]
            free = min(measured.spread.free, float(measured.spread.degrees_of_freedom.min()))
            share = ALPHA / (n * (n - 1)) / (2 * max(1, len(pairs)))
            half = float(stdtrit(max(1.0, free), 1 - share) * (variances.sum() / n) ** 0.5)
        if half <= indifference:
            reason = f"the ratio is known to ± {100 * math.expm1(half):.1f} %"
            leaving |= dict.fromkeys(both, reason)
        else:
            undecided += both
            further = n * (half / indifference) ** 2 - n if math.isfinite(half) else 1.0
            blocks_left |= dict.fromkeys(both, max(1.0, further))
    return Judgement(
        leaving=leaving,
        open=tuple(undecided),
        outcome=None if undecided or not pairs else "answered",
        blocks_left=blocks_left,
    )


def judge_crossover(
    measured: Measured, alive: "frozenset[Cell]", indifference: float, comparisons: int
) -> Judgement:
    """Say at which batch sizes it is decided which of two variants needs less.

    At each size the two are a race of their own, and the sizes share the chance of an error.

    Args:
        measured, alive, indifference, comparisons: As for `judge_ratio`.
    """
    contest = Contest(measured.logs, measured.spread, indifference, comparisons)
    no_better = contest.no_better()
    leaving: dict[Cell, str] = {}
    undecided: list[Cell] = []
    blocks_left: dict[Cell, float] = {}
    pairs = _pairs(measured.cells)
    for one, other in pairs:
        both = tuple(measured.cells[i] for i in (one, other))
        if not alive.issuperset(both):
            continue
        if no_better[one, other] or no_better[other, one]:
            less = both[1] if no_better[one, other] else both[0]
            leaving |= dict.fromkeys(both, f"at this batch size {less.variant} is not worse")
        else:
            undecided += both
            further = float(contest.needed()[one, other] - contest.blocks[one, other])
            blocks_left |= dict.fromkeys(both, max(1.0, further if further < math.inf else 1.0))
    return Judgement(
        leaving=leaving,
        open=tuple(undecided),
        outcome=None if undecided or not pairs else "answered",
        blocks_left=blocks_left,
    )


def judge_knee(
    measured: Measured, alive: "frozenset[Cell]", indifference: float, comparisons: int
) -> Judgement:
    """Say which batch sizes may be the knee of one curve.

    The candidates are the points between the ends, by their distance below the straight line
    between them (kneedle's rule, see `greenbatch.analysis.tradeoffs.turning_points.knee`) as a
    share of the curve's mean; and 'no knee', at no distance.

    Args:
        measured: Of the cells of one curve.
        alive, indifference, comparisons: As for `judge_ratio`.
    """
    import numpy as np

    order = np.argsort([cell.batch_size for cell in measured.cells])
    cells = [measured.cells[i] for i in order]
    x = np.log([cell.batch_size for cell in cells])
    values = np.exp(measured.logs[order])
    if len(cells) < FEWEST_OF_KNEE:
        return Judgement()
    share = ((x - x[0]) / (x[-1] - x[0]))[:, None]
    line = values[0] + (values[-1] - values[0]) * share
    scores = (values - line)[1:-1] / np.nanmean(values)
    scores = np.vstack([scores, np.where(np.isfinite(values[[0, -1]]).all(0), 0.0, np.nan)])
    candidates = [*cells[1:-1], _FLAT]
    spread = spreads([scores[:-1]])
    if spread[0] is None:
        return Judgement(open=tuple(cells))
    variances = np.append(spread[0].variances, 0.0)
    whole = replace(
        spread[0],
        variances=np.maximum(variances, 1e-12),
        degrees_of_freedom=np.append(spread[0].degrees_of_freedom, spread[0].free),
    )
    contest = Contest(scores, whole, indifference, comparisons)
    living = np.array([cell in alive or cell is _FLAT for cell in candidates])
    living &= np.isfinite(contest.means)
    first = int(np.where(living, contest.means, np.inf).argmin())
    beaten = living & (contest.no_better() & living[None, :]).any(1)
    beaten[first] = False
    left = living & ~beaten
    done = int(left.sum()) == 1
    knee = candidates[first]
    leaving = {
        candidates[i]: "the knee is not here"
        for i in np.flatnonzero(beaten).tolist()
        if candidates[i] is not _FLAT
    }
    still = [cell for cell, is_left in zip(candidates, left, strict=True) if is_left]
    needed = [cells[0], *(cell for cell in still if cell is not _FLAT), cells[-1]]
    return Judgement(
        leaving=leaving,
        open=() if done else tuple(needed),
        outcome="answered" if done else None,
        best=() if knee is _FLAT else (knee,),
        blocks_left=dict.fromkeys(needed, 1.0),
    )


def crossing_sizes(measured: Measured, sizes: Sequence[int]) -> int | None:
    """Return the batch size that is looked at next for a crossover; ``None``: none is.

    It lies in the middle of two measured sizes at which different variants need less.
    """
    import numpy as np

    signs: dict[int, bool] = {}
    for one, other in _pairs(measured.cells):
        both = np.isfinite(measured.logs[[one, other]]).all(0)
        if both.any():
            moved = (measured.logs[one] - measured.logs[other])[both].mean()
            signs[measured.cells[one].batch_size] = bool(moved > 0)
    known = sorted(signs)
    for low, high in pairwise(known):
        between = [size for size in sizes if low < size < high]
        if between and signs[low] != signs[high]:
            return between[len(between) // 2]
    return None


def _pairs(cells: Sequence[Cell]) -> list[tuple[int, int]]:
    """List the positions of the two variants at each batch size, in a fixed order."""
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    for place, cell in enumerate(cells):
        by_size[cell.batch_size].append(place)
    return [
        (places[0], places[1])
        for places in (sorted(each, key=lambda i: cells[i]) for each in by_size.values())
        if len(places) == 2
    ]

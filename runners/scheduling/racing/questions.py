"""What a race may decide, and when it is decided: the best cell, or the Pareto front."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from greenbatch.records import Cell
from greenbatch.runners.scheduling.racing.contest import Contest, Spread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Mask = NDArray[np.bool_]

NEAR = math.log(1.5)
"""Of a front, cells that another one exceeds by more in both are not measured in the second block,
before which the spread is not known. They leave, or come back, by the rule of the race."""
CLOSE = math.log(1.05)
"""Cells that need less than this more than the least are all measured in the second block."""
FEWEST, FEWEST_IN_ALL = 2, 6
"""Cells of a group, and of all, in the second block, for the sake of their spread."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a question is answered from.

    Attributes:
        cells: Of a group, in a fixed order.
        logs: Logarithms of the cost per image, shape (cell, block); NaN where there is none.
        spread: Of the cells; ``None`` before anything was repeated.
        groups: How many questions are open.
        latency: The same of the latency of a batch, where the question needs it.
        latency_spread: Of that.
    """

    cells: Sequence[Cell]
    logs: "Array"
    spread: Spread | None
    groups: int = 1
    latency: "Array | None" = None
    latency_spread: Spread | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Where a question stands after a block.

    Attributes:
        leaving: Cells that are not measured any further, each with the reason.
        open: Cells that are measured in the next block.
        outcome: ``answered``: every other cell is shown to be worse; ``tie``: none is better by
            more than the indifference, and some are not shown to be worse; ``None``: open.
        best: The answer as it stands.
        alike: Cells that are not shown to be worse.
        blocks_left: Predicted number of further blocks, by cell.
    """

    leaving: Mapping[Cell, str] = field(default_factory=dict)
    open: tuple[Cell, ...] = ()
    outcome: Literal["answered", "tie"] | None = None
    best: tuple[Cell, ...] = ()
    alike: tuple[Cell, ...] = ()
    blocks_left: Mapping[Cell, float] = field(default_factory=dict)


def judge_best(
    measured: Measured, alive: "frozenset[Cell]", indifference: float, comparisons: int
) -> Judgement:
    """Say which cells may still be the best of a group.

    Args:
        measured: All cells of the group that were measured.
        alive: Those that have not left.
        indifference: Of a logarithm.
        comparisons: Number of the others in the design: they share the chance of an error.
    """
    import numpy as np

    cells, groups = measured.cells, measured.groups
    contest = Contest(measured.logs, measured.spread, indifference, comparisons)
    living = np.array([cell in alive for cell in cells]) & np.isfinite(contest.means)
    if not living.any():
        return Judgement()
    first = int(np.where(living, contest.means, np.inf).argmin())
    if len(cells) == 1:  # however little is known of it
        return Judgement(outcome="answered", best=(cells[0],))
    if measured.spread is None:
        near = _near(contest.means, living, max(FEWEST, -(-FEWEST_IN_ALL // groups)))
        return Judgement(open=_named(cells, near), best=(cells[first],))
    beaten = living & (contest.no_better() & living[None, :]).any(1)
    beaten[first] = False
    leaving = {cells[i]: _beaten(contest, i, first, cells) for i in np.flatnonzero(beaten).tolist()}
    left = living & ~beaten
    alike = np.isfinite(contest.means) & ~contest.higher()[:, first]
    alike[first] = False
    done = int(left.sum()) == 1
    return Judgement(
        leaving=leaving,
        open=() if done else _named(cells, left),
        outcome=("tie" if alike.any() else "answered") if done else None,
        best=(cells[first],),
        alike=_named(cells, alike),
        blocks_left={} if done else _further(contest, cells, left, first),
    )


def judge_front(
    measured: Measured, alive: "frozenset[Cell]", indifference: float, comparisons: int
) -> Judgement:
    """Say which cells may still be on the front of cost and latency.

    A cell leaves where another is shown to be worse in neither by the indifference. A pair is
    decided when that holds, or when one is shown not to be better in one of the two.

    Args:
        measured: With latencies.
        alive, indifference, comparisons: As for `judge_best`.
    """
    import numpy as np

    cells = measured.cells
    assert measured.latency is not None
    family = 2 * comparisons * (comparisons + 1)
    cost = Contest(measured.logs, measured.spread, indifference, family)
    latency = Contest(measured.latency, measured.latency_spread, indifference, family)
    living = np.array([cell in alive for cell in cells])
    living &= np.isfinite(cost.means) & np.isfinite(latency.means)
    if not living.any():
        return Judgement()
    if measured.spread is None or measured.latency_spread is None:
        worse = [one.means[:, None] - one.means[None, :] > NEAR for one in (cost, latency)]
        near = living & ~(worse[0] & worse[1] & living[None, :]).any(1)
        return Judgement(open=_named(cells, near), best=_named(cells, near))
    dominated = cost.no_better() & latency.no_better()
    leaving: dict[Cell, str] = {}
    left = living.copy()
    for i in np.flatnonzero(living).tolist():
        by = np.flatnonzero(dominated[i] & left)
        if by.size:
            left[i] = False
            leaving[cells[i]] = f"{cells[by[0]].how} is not worse in cost or latency"
    apart = cost.no_better() | latency.no_better()
    unsure = ~dominated & ~dominated.T & ~(apart & apart.T) & left[:, None] & left[None, :]
    np.fill_diagonal(unsure, False)
    undecided = unsure.any(1)
    far = np.maximum(np.minimum(cost.needed(), latency.needed()) - cost.blocks, 1.0)
    return Judgement(
        leaving=leaving,
        open=_named(cells, undecided),
        outcome=None if undecided.any() else "answered",
        best=_named(cells, left),
        blocks_left={
            cells[i]: float(far[i][unsure[i]].max()) for i in np.flatnonzero(undecided).tolist()
        },
    )


def _near(means: "Array", living: "Mask", count: int) -> "Mask":
    """Mark the cells of the second block: so many of the lowest, and all that are close.

    The others leave by the spread of these, or come back in the third.
    """
    import numpy as np

    places = np.flatnonzero(living)
    ranked = places[means[places].argsort(kind="stable")]
    near: Mask = living & (means < means[ranked[0]] + CLOSE)
    near[ranked[:count]] = True
    return near


def _further(
    contest: Contest, cells: Sequence[Cell], left: "Mask", first: int
) -> dict[Cell, float]:
    import numpy as np

    others = [i for i in np.flatnonzero(left).tolist() if i != first]
    needed = contest.needed()[:, first] - contest.blocks[:, first]
    further = {cells[i]: float(max(1.0, needed[i])) for i in others}
    return further | {cells[first]: max(further.values(), default=0.0)}


def _beaten(contest: Contest, cell: int, first: int, cells: Sequence[Cell]) -> str:
    """Say by how much a cell needs more than the best so far."""
    more = math.expm1(float(contest.means[cell] - contest.means[first]))
    word = "more" if more >= 0 else "less"
    return f"{abs(more):.1%} {word} than {cells[first].how}".replace("%", " %")


def _named(cells: Sequence[Cell], chosen: "Mask") -> tuple[Cell, ...]:
    return tuple(cell for cell, is_one in zip(cells, chosen, strict=True) if is_one)

"""What a race decided: which cells it left, and how each of its questions ended."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from greenbatch.records.cells import Cell

Decide: TypeAlias = Literal["best", "front", "knee", "crossover", "ratio"]
WhyLeft: TypeAlias = Literal["no_better", "decided", "skipped", "slow", "failed", "time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A cell that a race does not measure (any further).

    Attributes:
        cell: Which.
        block: After which block, from 0; of a cell that was never measured, when that was decided.
        why: ``no_better``: another cell is shown not to be worse by the indifference; ``decided``:
            what it was measured for is known; ``skipped``: by its neighbours on the curve it cannot
            change the answer; ``slow``: it takes too much of the budget; ``failed``: none of its
            repetitions was ok, or nothing that was tried of its curve; ``time``: the budget was
            spent.
        reason: More of that, a clause.
    """

    cell: Cell
    block: int
    why: WhyLeft
    reason: str
    kind: Literal["left"] = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How a question of a race ended.

    Attributes:
        group: What it is about: a model, with its traffic or its curve where there are several.
        model: Which network.
        decide: What was to be decided.
        outcome: ``answered``; ``tie``: no other cell is better than ``best`` by more than the
            indifference, and those of ``alike`` are not shown to be worse; ``time``: the budget or
            the repetitions were spent before; ``failed``: too few cells could be measured for
            an answer.
        within: The indifference, as a share.
        quantity: What was compared: energy per image, or time per image.
        best: The answer: one cell, or those on the front; empty where there is none.
        alike: Cells that are not shown to be worse.
        blocks: How many were measured.
        spent_s: Measuring time of the whole run until then, in s.
        further_s: Of one that was not decided: the measuring time that is predicted to decide it,
            from the spread of its repetitions, in s; ``None`` where that is not known.
    """

    group: str
    model: str
    decide: Decide
    outcome: Literal["answered", "tie", "time", "failed"]
    within: float
    quantity: Literal["energy", "time"]
    best: tuple[Cell, ...] = ()
    alike: tuple[Cell, ...] = ()
    blocks: int = 0
    spent_s: float = 0.0
    further_s: float | None = None
    kind: Literal["decision"] = "decision"

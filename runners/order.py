"""The order of a run: every cell once in each block, shuffled by the study's seed."""

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from greenbatch.records import Cell


@dataclass(frozen=True, slots=True)
class Slot:
    """A repetition that is to be measured.

    Attributes:
        cell: What to measure.
        block: The repetition's number, from 0.
        position: Place in the block, from 0.
        idle_before, idle_after: Whether idle power is taken in this child before its warm-up or
            after its window: in a block, the first and the last child of each backend do it, and
            of each way in which it is set.
    """

    cell: Cell
    block: int
    position: int
    idle_before: bool = False
    idle_after: bool = False


def slots(
    cells: Iterable[Cell],
    repetitions: int,
    seed: int,
    finished: Collection[tuple[Cell, int]] = (),
) -> list[Slot]:
    """Lay out a run.

    The order depends on the cells and the seed alone, so that a resumed run goes on in the order
    it began with.

    Args:
        cells: All cells of the design.
        repetitions: Number of blocks.
        seed: Of the shuffles.
        finished: Pairs of cell and block that are left out.

    Returns:
        What is left to measure, in order.
    """
    ordered = sorted(set(cells))
    rng = random.Random(seed)
    layout = []
    for block in range(repetitions):
        shuffled = rng.sample(ordered, len(ordered))
        left = [
            (position, cell)
            for position, cell in enumerate(shuffled)
            if (cell, block) not in finished
        ]
        variants = [cell.variant for _, cell in left]
        for index, (position, cell) in enumerate(left):
            layout.append(
                Slot(
                    cell,
                    block,
                    position,
                    idle_before=cell.variant not in variants[:index],
                    idle_after=cell.variant not in variants[index + 1 :],
                )
            )
    return layout

"""The order of a run: every cell once in each block, shuffled or as a Latin square, seeded."""

import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from math import gcd
from typing import TypeVar

from greenbatch.design.field_types import Kind
from greenbatch.records import Cell, TrainingCell

AnyCell = TypeVar("AnyCell", Cell, TrainingCell)
_GOLDEN = (5**0.5 - 1) / 2


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
        attempt: How often the cell was measured in this block before, and disturbed.
    """

    cell: Cell
    block: int
    position: int
    idle_before: bool = False
    idle_after: bool = False
    attempt: int = 0


def orders(cells: Iterable[AnyCell], seed: int, kind: Kind = "shuffled") -> Iterator[list[AnyCell]]:
    """Yield the order of one block after another, without end.

    It depends on the cells and the seed alone, so that a resumed run goes on in the order it began
    with.

    Args:
        cells: All cells of the design.
        seed: Of the shuffles; of a square, of which cell has which place in it.
        kind: ``shuffled``: each block by itself. ``latin-square``: the blocks are rows of a
            Williams square (see `square_row`), so that each cell takes each place as often as any
            other does once all rows were used.
    """
    ordered = sorted(set(cells))
    rng = random.Random(seed)
    if kind == "shuffled":
        while True:
            yield rng.sample(ordered, len(ordered))
    labelled = rng.sample(ordered, len(ordered))
    for block in count():
        yield [labelled[place] for place in square_row(len(ordered), block)]


def together(order: Iterable[Cell]) -> list[Cell]:
    """Bring the cells of an order that differ in the batch size alone together.

    Networks stay in the order in which the first cell of each came, and so do its cells: of a
    shuffled order of a full factorial design, both are shuffled.
    """
    by_network: dict[Cell, list[Cell]] = {}
    for cell in order:
        by_network.setdefault(replace(cell, batch_size=1), []).append(cell)
    return [cell for cells in by_network.values() for cell in cells]


def square_row(size: int, block: int) -> list[int]:
    """Return a row of a Williams square: numbers from 0 to ``size`` - 1, each once.

    In ``size`` successive rows (of an odd size twice as many, the second half backwards) each
    number takes each place equally often, and follows each other number equally often. Source:
    E. J. Williams, Experimental designs balanced for the estimation of residual effects of
    treatments, Australian Journal of Scientific Research A 2, 1949. Rows come in steps of about the
    golden section, so that a few of them are spread over the square, too.
    """
    step = max(1, round(size * _GOLDEN))
    while gcd(step, size) > 1:
        step += 1
    shift = block * step
    first = [place // 2 + 1 if place % 2 else -(place // 2) for place in range(size)]
    row = [(number + shift) % size for number in first]
    backwards = size % 2 and block // size % 2
    return row[::-1] if backwards else row


def block_slots(
    order: Sequence[Cell], block: int, finished: Collection[tuple[Cell, int]] = ()
) -> list[Slot]:
    """Return what is left of a block.

    Args:
        order: Its cells, in order.
        block: Its number.
        finished: Pairs of cell and block that are left out; the others keep their places.
    """
    left = [
        (position, cell) for position, cell in enumerate(order) if (cell, block) not in finished
    ]
    variants = [cell.variant for _, cell in left]
    return [
        Slot(
            cell,
            block,
            position,
            idle_before=cell.variant not in variants[:index],
            idle_after=cell.variant not in variants[index + 1 :],
        )
        for index, (position, cell) in enumerate(left)
    ]


def slots(
    cells: Iterable[Cell],
    repetitions: int,
    seed: int,
    finished: Collection[tuple[Cell, int]] = (),
    kind: Kind = "shuffled",
    *,
    in_sessions: bool = False,
) -> list[Slot]:
    """Lay out a run of a fixed number of blocks.

    Args:
        cells: All cells of the design.
        repetitions: Number of blocks.
        seed, kind: See `orders`.
        finished: Pairs of cell and block that are left out.
        in_sessions: Whether cells of one network follow each other, see `together`.

    Returns:
        What is left to measure, in order.
    """
    found = islice(orders(cells, seed, kind), repetitions)
    blocks = enumerate(map(together, found) if in_sessions else found)
    return [slot for block, order in blocks for slot in block_slots(order, block, finished)]

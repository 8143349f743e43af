"""The questions of a race: for each its cells, what was measured of them, and which are left."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from greenbatch.records import Cell, Repetition, Status, total_energy
from greenbatch.records.race import Decide
from greenbatch.runners.scheduling.racing.costs import curve_of
from greenbatch.runners.scheduling.racing.curve_questions import (
    judge_crossover,
    judge_knee,
    judge_ratio,
)
from greenbatch.runners.scheduling.racing.questions import (
    Judgement,
    Measured,
    judge_best,
    judge_front,
)
from greenbatch.runners.scheduling.stopping import energy_per_image_j, time_per_image_s

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Quantity = Literal["energy", "time"]
Judge = Callable[[Measured, frozenset[Cell], float, int], Judgement]
JUDGES: Mapping[Decide, Judge] = {
    "best": judge_best,
    "front": judge_front,
    "knee": judge_knee,
    "crossover": judge_crossover,
    "ratio": judge_ratio,
}


@dataclass(slots=True)
class Group:
    """The cells among which one question is decided.

    Attributes:
        name: A model, with its traffic or its curve where there are several.
        cells: Of the design, sorted.
        records: What counts of each block, by cell and block.
        alive: Cells that have not left; those that were never measured are among them.
        judgement: After the last block.
        ended: How it ended; ``None``: it has not.
        spent_s: By its repetitions so far, with their starts and rests.
    """

    name: str
    cells: tuple[Cell, ...]
    records: dict[Cell, dict[int, Repetition]] = field(default_factory=dict)
    alive: set[Cell] = field(default_factory=set)
    judgement: Judgement = field(default_factory=Judgement)
    ended: str | None = None
    spent_s: float = 0.0

    @property
    def blocks(self) -> int:
        """In how many blocks something of it was measured."""
        return len({block for each in self.records.values() for block in each})

    @property
    def visited(self) -> list[Cell]:
        """The cells of which a repetition is ok, in the order of the design."""
        return [
            cell
            for cell in self.cells
            if any(r.status is Status.OK for r in self.records.get(cell, {}).values())
        ]

    @property
    def curves(self) -> dict[Cell, list[Cell]]:
        """The cells of each curve, by rising batch size."""
        found: dict[Cell, list[Cell]] = {}
        for cell in sorted(self.cells, key=lambda c: c.batch_size):
            found.setdefault(curve_of(cell), []).append(cell)
        return found

    @property
    def quantity(self) -> Quantity:
        """What is compared: time, where an energy is missing or energies are not alike."""
        sources = set()
        for cell in self.visited:
            for record in self.records[cell].values():
                if record.status is Status.OK:
                    total = total_energy(record.energy)
                    if not total.energy_j:
                        return "time"
                    sources.add(frozenset(map(str, total.sources)))
        return "energy" if len(sources) == 1 else "time"

    def logs(self, quantity: Quantity | Literal["latency"]) -> "Array":
        """Lay out the logarithms of a quantity, shape (visited cell, block); NaN: none."""
        import numpy as np

        cells = self.visited
        blocks = sorted({block for cell in cells for block in self.records[cell]})
        found = np.full((len(cells), len(blocks)), np.nan)
        for row, cell in enumerate(cells):
            for column, block in enumerate(blocks):
                record = self.records[cell].get(block)
                value = _value(record, quantity) if record else None
                if value:
                    found[row, column] = math.log(value)
        return found


def _value(record: Repetition, quantity: str) -> float | None:
    if record.status is not Status.OK:
        return None
    if quantity == "energy":
        return energy_per_image_j(record)
    if quantity == "latency" and record.queue is None:
        return record.latency_s["0.5"]
    if quantity == "latency" and record.queue is not None:
        return record.queue.response_s.get("0.99")
    return time_per_image_s(record)


def groups_of(cells: Iterable[Cell], decide: Decide) -> list[Group]:
    """Divide a design into its questions, in the order of its models."""
    members: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        members.setdefault(_key(cell, decide), []).append(cell)
    names = _names(list(members))
    return [
        Group(names[key], tuple(sorted(each)), alive=set(each)) for key, each in members.items()
    ]


def _key(cell: Cell, decide: Decide) -> tuple[object, ...]:
    served = (cell.served.arrivals, cell.served.rate) if cell.is_server else ("", "")
    key: tuple[object, ...] = (cell.model, *served)
    if decide in ("knee", "crossover", "ratio"):
        key = (*key, cell.precision, cell.io)
    if decide == "knee":
        key = (*key, cell.variant)
    return key


def _names(keys: Sequence[tuple[object, ...]]) -> dict[tuple[object, ...], str]:
    """Name each by its model, and by those of the other members that differ."""
    found = {}
    for key in keys:
        alike = [each for each in keys if each[0] == key[0]]
        apart = (i for i in range(1, len(key)) if len({each[i] for each in alike}) > 1)
        found[key] = ", ".join([str(key[0]), *(str(key[i]) for i in apart if key[i])])
    return found

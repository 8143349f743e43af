"""What a run measures next: decided by its journal alone, so that a resumed run decides alike."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from greenbatch.design.study import Study
from greenbatch.records import Cell, Decision, Flag, Journal, Left, Repetition, Status
from greenbatch.runners.scheduling.order import Slot, block_slots, orders, together
from greenbatch.runners.scheduling.racing.race import Race
from greenbatch.runners.scheduling.stopping import StoppingRule

_REPEATED = 0.25  # of the design; a machine that is never quiet would double it


@dataclass(frozen=True, slots=True)
class Part:
    """What one machine measures of a run that several machines share.

    Attributes:
        blocks: Numbers of its blocks; the other blocks are left out.
        elsewhere: Pairs of cell and block that another machine measured.
    """

    blocks: frozenset[int]
    elsewhere: frozenset[tuple[Cell, int]] = frozenset()


class Planned(Protocol):
    """What a run asks for what comes next."""

    @property
    def left_s(self) -> float | None:
        """Predicted time left, in s; ``None``: as long as `left` takes."""

    @property
    def most_s(self) -> float | None:
        """How long what comes next may take, in s; ``None``: as long as the protocol has it."""

    @property
    def answered(self) -> str:
        """How much of what is asked is answered; empty where that is no question."""

    def slots(self) -> Iterator[Slot]:
        """Yield what is to be measured; each is passed to `add` before the next is taken."""

    def add(self, repetition: Repetition, attempt: int = 0) -> Repetition:
        """Take in what was measured last; return the record that is kept of it."""

    def is_repeated(self, record: Repetition) -> bool:
        """Whether a repetition that `add` returned is measured again in its block."""

    def left(self) -> list[Slot]:
        """Return what is still to be measured, as far as that is known, in no particular order."""

    def decided(self) -> list[Left | Decision]:
        """Return what was decided since the last call, and is not in the journal yet."""


def schedule_of(study: Study, journal: Journal, part: Part | None = None) -> Planned:
    """Return the schedule of a run: of its whole design, or a race where it has a budget.

    Args:
        study: The design.
        journal: What was measured before.
        part: Measure no more than this; a race has no parts.
    """
    if study.budget is None:
        return Schedule(study, journal.repetitions, part)
    return Race(study, journal.repetitions, (*journal.lefts, *journal.decisions))


class Schedule:
    """The slots of a run, one after another, as its repetitions come in.

    A cell that has been measured often enough is left out of further blocks. One that was disturbed
    is measured again at the end of its block, until a quarter of the design, or a block of it, was
    measured again; a block that was left behind is not gone back to.

    Args:
        study: The design.
        done: Repetitions that were measured before.
        part: Measure no more than this; ``None``: the whole design.
    """

    def __init__(
        self, study: Study, done: Iterable[Repetition] = (), part: Part | None = None
    ) -> None:
        self._study = study
        self._part = part
        self._cells = sorted(set(study.cells()))
        self._rule = StoppingRule(
            study.repetitions, study.max_repetitions or study.repetitions, study.precision_target
        )
        self._latest: dict[Cell, dict[int, Repetition]] = {cell: {} for cell in self._cells}
        self._attempts: dict[tuple[Cell, int], int] = {}
        self._granted: set[tuple[Cell, int, int]] = set()
        self._most_granted = max(
            len(self._cells), math.ceil(_REPEATED * len(self._cells) * study.repetitions)
        )
        self._stopped: dict[Cell, int] = {}
        self._block = 0
        for repetition in done:
            self._take(repetition)

    left_s: float | None = None
    most_s: float | None = None
    answered = ""

    def slots(self) -> Iterator[Slot]:
        """Yield what is to be measured; pass each to `add` before the next is taken."""
        order = orders(self._cells, self._study.seed, self._study.order)
        for block in range(self._rule.most):
            in_order = next(order)
            if not self._is_mine(block):
                continue
            active = [
                cell
                for cell in in_order
                if self._active(cell, block) and not self._is_elsewhere(cell, block)
            ]
            if self._study.in_sessions:
                active = together(active)
            yield from block_slots(active, block, self._finished)
            while disturbed := [cell for cell in active if self._is_repeated(cell, block)]:
                for cell in disturbed:
                    repeated = sum(self._attempts[each, block] for each in active)
                    attempt = self._attempts[cell, block] + 1
                    yield Slot(cell, block, len(active) + repeated, attempt=attempt)

    def add(self, repetition: Repetition, attempt: int = 0) -> Repetition:
        """Take in what was measured last.

        Returns:
            Its record with the attempt, and with what follows from it for the cell.
        """
        record = replace(repetition, attempt=attempt)
        self._take(record)
        if not self._is_repeated(record.cell, record.block):
            stop = self._rule.judge(list(self._latest[record.cell].values()))
            record = replace(record, stop=stop)
            self._take(record)
        return record

    def is_repeated(self, record: Repetition) -> bool:
        """Whether a repetition that `add` returned is measured again in its block."""
        return self._is_repeated(record.cell, record.block)

    def left(self) -> list[Slot]:
        """Return what is still to be measured at the least, in no particular order.

        With a target nobody knows how much more: a cell that is not within it has one more block.
        """
        ahead: list[Slot] = []
        for cell, measured in self._latest.items():
            blocks = max(self._study.repetitions, max(measured, default=0) + 2)
            ahead += (
                Slot(cell, block, 0)
                for block in range(min(blocks, self._rule.most))
                if self._is_mine(block)
                and not self._is_elsewhere(cell, block)
                and (
                    self._is_repeated(cell, block)
                    or (block not in measured and self._active(cell, block))
                )
            )
        return ahead

    def decided(self) -> list[Left | Decision]:
        """Return nothing: what is decided of a cell is in its repetition."""
        return []

    @property
    def _finished(self) -> set[tuple[Cell, int]]:
        return {(cell, block) for cell, blocks in self._latest.items() for block in blocks}

    def _take(self, record: Repetition) -> None:
        latest = self._latest.setdefault(record.cell, {})
        place = (record.cell, record.block)
        self._attempts[place] = max(self._attempts.get(place, 0), record.attempt)
        other = latest.get(record.block)
        if other is None or other.status is not Status.OK or record.status is Status.OK:
            latest[record.block] = record  # a later one that failed supersedes nothing
        self._block = max(self._block, record.block)
        if record.stop:
            self._stopped[record.cell] = max(record.block, self._stopped.get(record.cell, 0))
        if self._may_repeat(record.cell, record.block) and len(self._granted) < self._most_granted:
            self._granted.add((*place, self._attempts[place]))

    def _is_mine(self, block: int) -> bool:
        return self._part is None or block in self._part.blocks

    def _is_elsewhere(self, cell: Cell, block: int) -> bool:
        return self._part is not None and (cell, block) in self._part.elsewhere

    def _active(self, cell: Cell, block: int) -> bool:
        return block <= self._stopped.get(cell, block)

    def _is_repeated(self, cell: Cell, block: int) -> bool:
        attempt = self._attempts.get((cell, block), 0)
        return self._may_repeat(cell, block) and (cell, block, attempt) in self._granted

    def _may_repeat(self, cell: Cell, block: int) -> bool:
        last = self._latest[cell].get(block)
        return (
            last is not None
            and block == self._block
            and last.status is Status.OK
            and Flag.DISTURBED in last.mask
            and self._attempts[cell, block] < self._study.rules.repeat_disturbed
        )

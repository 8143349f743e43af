"""A race as a schedule: what is measured next, until the questions of a study are answered.

Everything that decides is in the journal: a race that is begun again with the repetitions of one
that was killed plays it back, and goes on as it would have gone on.
"""

import math
import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, count

from greenbatch import units
from greenbatch.design.study import Study
from greenbatch.estimates.block_adjustment import fit_blocks
from greenbatch.records import Cell, Decision, Flag, Left, Repetition, Status
from greenbatch.records.race import WhyLeft
from greenbatch.runners.scheduling.order import Slot, block_slots, together
from greenbatch.runners.scheduling.racing.contest import spreads
from greenbatch.runners.scheduling.racing.costs import Costs, curve_of
from greenbatch.runners.scheduling.racing.curve_questions import crossing_sizes
from greenbatch.runners.scheduling.racing.groups import JUDGES, Group, groups_of
from greenbatch.runners.scheduling.racing.questions import Measured
from greenbatch.runners.scheduling.racing.visiting import first_sizes, next_size

TENTH = 0.1
"""The share of the budget that a repetition may take, and so each of its batches."""
_SPREAD = 0.02
"""Of repetitions, as long as nothing is known of it."""
_VISITS = ("best", "crossover")  # questions that need not look at every batch size


class Race:
    """The slots of a run with a budget, as its repetitions come in.

    The first block visits the smallest batch size of each curve, then a few more, then those that
    may be the best. In each further block the cells that are still in doubt are measured, shuffled.

    Args:
        study: The design; it has a budget.
        done: Repetitions that were measured before.
        known: What was decided before, of the same journal.
    """

    def __init__(
        self,
        study: Study,
        done: Iterable[Repetition] = (),
        known: Collection[Left | Decision] = (),
    ) -> None:
        assert study.budget
        assert study.decide
        assert study.within
        self._study, self._budget_s = study, study.budget
        self._decide, self._within = study.decide, study.within
        self._indifference = math.log1p(study.within)
        self._groups = groups_of(dict.fromkeys(study.cells()), study.decide)
        self._group = {cell: group for group in self._groups for cell in group.cells}
        self._costs = Costs(study.rules)
        self._recorded = {(r.cell, r.block, r.attempt): r for r in done}
        self._known = {_about(record) for record in known}
        self._news: list[Left | Decision] = []
        self._attempts: dict[tuple[Cell, int], int] = {}
        self._blocks = 0

    def slots(self) -> Iterator[Slot]:
        """Yield what is to be measured; pass each to `add` before the next is taken."""
        for slot in self._run():
            record = self._recorded.get((slot.cell, slot.block, slot.attempt))
            if record is None:
                yield slot
            else:
                self._take(record)

    def first_slots(self) -> list[Slot]:
        """Return what is measured first, whatever comes of it."""
        return self._wave_slots(next(self._waves(0)), 0, 0)

    def add(self, repetition: Repetition, attempt: int = 0) -> Repetition:
        """Take in what was measured last; its record with the attempt."""
        record = replace(repetition, attempt=attempt)
        self._take(record)
        return record

    def is_repeated(self, record: Repetition) -> bool:
        """Whether a repetition that `add` returned is measured again in its block."""
        return self._is_disturbed(record.cell, record.block)

    def decided(self) -> list[Left | Decision]:
        """Return what was decided since the last call, and is not in the journal yet."""
        news, self._news = self._news, []
        return [record for record in news if _about(record) not in self._known]

    def left(self) -> list[Slot]:
        """Return what is predicted to be measured yet, in no particular order."""
        ahead: list[Slot] = []
        for group in self._open:
            for cell in group.judgement.open or tuple(group.alive - set(group.visited)):
                further = group.judgement.blocks_left.get(cell, 1.0)
                most = max(1, self._most - group.blocks)
                blocks = most if math.isinf(further) else min(most, math.ceil(further))
                ahead += [Slot(cell, self._blocks + k, 0) for k in range(blocks)]
        ahead.sort(key=lambda slot: slot.block)
        ends_s = accumulate(self._costs.expected_s(slot.cell) for slot in ahead)
        rest_s = self._budget_s - self._costs.spent_s
        return [slot for slot, end_s in zip(ahead, ends_s, strict=True) if end_s <= rest_s]

    @property
    def left_s(self) -> float:
        """What the predicted repetitions take, at most what is left of the budget, in s."""
        ahead_s = sum(self._costs.expected_s(slot.cell) for slot in self.left())
        return max(0.0, min(ahead_s, self._budget_s - self._costs.spent_s))

    @property
    def most_s(self) -> float:
        """What is left of the budget and a tenth of it more, in s: a prediction may be too low."""
        return max(0.0, (1 + TENTH) * self._budget_s - self._costs.spent_s)

    @property
    def answered(self) -> str:
        """How many questions are answered: ``answer known for 3 of 5 models``."""
        known = sum(group.ended in ("answered", "tie") for group in self._groups)
        word = "model" if len({g.cells[0].model for g in self._groups}) == len(self._groups) else ""
        what = (word or "question") + "s"[: len(self._groups) > 1]
        return f"answer known for {known} of {len(self._groups)} {what}"

    @property
    def _open(self) -> list[Group]:
        return [group for group in self._groups if group.ended is None]

    @property
    def _most(self) -> int:
        return self._study.max_repetitions or self._study.repetitions

    def _run(self) -> Iterator[Slot]:
        for block in count():
            self._blocks = block
            measured: list[Cell] = []
            for wave in self._waves(block):
                for slot in self._wave_slots(wave, block, len(measured)):
                    if self._fits(slot.cell):
                        measured.append(slot.cell)
                        yield slot
            yield from self._repeats(measured, block)
            self._judge(block)
            if not self._open or not measured:
                break
        for group in self._open:
            self._end(group, "time")

    def _waves(self, block: int) -> Iterator[Sequence[Cell]]:
        """Yield the cells of a block, part by part: later parts depend on the earlier ones."""
        going = [group for group in self._open if group.blocks < self._most]
        if block == 0:
            curves = [curve for group in self._groups for curve in group.curves.values()]
            wave = [curve[0] for curve in curves]
            yield wave
            self._leave_slow_ones()
        else:
            wave = self._in_turn([self._goes_on_with(group) for group in going])
            yield wave
        begun = bool(wave)
        while wave := self._in_turn(map(self._within_share, going), begun=begun):
            yield wave
            begun = True

    def _goes_on_with(self, group: Group) -> Sequence[Cell]:
        """Return the cells of a group that a further block begins with.

        Sizes that were not visited for want of time come before further repetitions: the best cell
        so far is measured with them, to be compared with in this block.
        """
        visits = [*filter(self._fits, self._next_visits(group))]
        found = group.judgement
        return [*found.best, *visits] if visits and found.best else found.open

    def _within_share(self, group: Group) -> list[Cell]:
        """Return the visits of a group for which its share has time, the quickest first; or all."""
        visits = sorted(
            filter(self._fits, self._next_visits(group)),
            key=lambda cell: (self._costs.expected_s(cell), cell),
        )
        ends_s = accumulate(map(self._costs.expected_s, visits), initial=group.spent_s)
        share_s = self._share_s
        return [
            cell for cell, end_s in zip(visits, [*ends_s][1:], strict=True) if end_s <= share_s
        ] or visits

    @property
    def _share_s(self) -> float:
        """What each open question may take in all, in s."""
        ended_s = sum(group.spent_s for group in self._groups if group.ended is not None)
        return (self._budget_s - ended_s) / max(1, len(self._open))

    def _in_turn(self, requested: Iterable[Sequence[Cell]], *, begun: bool = False) -> list[Cell]:
        """Return the cells that are measured next, of those that each open question asks for.

        What is left of the budget is shared equally by the open questions. One that would exceed
        its share waits for the others; if all would, the one that takes least in all goes on.

        Args:
            requested: Cells of one question each.
            begun: Whether something is measured in this block; else one of them does not wait.
        """
        able = [found for cells in requested if (found := [*filter(self._fits, cells)])]
        share_s = self._share_s

        def spent_s(cells: Sequence[Cell]) -> float:
            return self._group[cells[0]].spent_s + sum(map(self._costs.expected_s, cells))

        within = [cells for cells in able if spent_s(cells) <= share_s]
        if able and not within and not begun:
            within = [min(able, key=spent_s)]
        return [cell for cells in within for cell in cells]

    def _wave_slots(self, wave: Sequence[Cell], block: int, offset: int) -> list[Slot]:
        rng = random.Random(f"{self._study.seed} {block} {offset}")
        order = rng.sample(sorted(wave), len(wave))
        if self._study.in_sessions:
            order = together(order)
        if not offset:
            return block_slots(order, block)
        return [Slot(cell, block, offset + place) for place, cell in enumerate(order)]

    def _repeats(self, measured: Sequence[Cell], block: int) -> Iterator[Slot]:
        """Yield the cells of a block that were disturbed, as often as the protocol has it."""
        position = len(measured)
        while disturbed := [c for c in measured if self._is_disturbed(c, block) and self._fits(c)]:
            for cell in disturbed:
                yield Slot(cell, block, position, attempt=self._attempts[cell, block] + 1)
                position += 1

    def _next_visits(self, group: Group) -> list[Cell]:
        """Return the cells of a group that have not been measured, and may change its answer."""
        waiting = group.alive - group.records.keys()
        curves = group.curves.values()
        if due := {c for curve in curves for c in self._due(group, curve)} & waiting:
            return sorted(due)
        if not group.visited:
            return []
        if self._decide == "crossover":
            sizes = sorted({cell.batch_size for cell in waiting})
            size = crossing_sizes(self._measured([group])[0], sizes)
            return sorted(cell for cell in waiting if cell.batch_size == size)
        fit = fit_blocks(group.logs(group.quantity))
        means = dict(zip(group.visited, fit.means.tolist(), strict=True))
        spread = fit.residual_sd if fit.degrees_of_freedom else _SPREAD
        noise = math.sqrt(1.5) * spread  # of a point against the line between two others
        best = min(means.values())
        found = []
        for curve in group.curves.values():
            known = {c.batch_size: means[c] for c in curve if c in means}
            able = [c.batch_size for c in curve if c in means or c in waiting]
            size = next_size(
                known,
                able,
                best,
                margin=self._indifference / 2,
                tolerance=self._indifference + 2 * noise,
                cost_s=lambda size, curve=curve: self._costs.expected_s(  # type: ignore[misc]
                    replace(curve[0], batch_size=size)
                ),
            )
            found += [cell for cell in curve if cell.batch_size == size]
        return found

    def _due(self, group: Group, curve: Sequence[Cell]) -> list[Cell]:
        """Return the cells of a curve that are measured whatever the others are like."""
        able = [cell for cell in curve if cell in group.alive or cell in group.records]
        sizes = {cell.batch_size: cell for cell in able}
        if not sizes or self._decide not in _VISITS:
            return list(sizes.values())
        ends = [*sizes][-1:] if self._decide == "crossover" else []
        return [sizes[size] for size in (*first_sizes([*sizes]), *ends)]

    def _leave_slow_ones(self) -> None:
        """Leave out the batch sizes of which one repetition would take too much of the budget."""
        share_s = TENTH * self._budget_s
        for group in self._groups:
            for cell in sorted(group.alive - group.records.keys()):
                batch_s = self._costs.batch_s(cell)
                if batch_s is None or self._costs.batches * batch_s <= share_s:
                    continue
                reason = (
                    f"a batch would take about {units.si(batch_s, 's', 2)}, and a repetition has "
                    f"at least {self._costs.batches}: more than a tenth of the budget of "
                    f"{units.duration(self._budget_s)}"
                )
                self._leave(group, cell, 0, "slow", reason)

    def _fits(self, cell: Cell) -> bool:
        spent_s = self._costs.spent_s
        return not spent_s or spent_s + self._costs.expected_s(cell) <= self._budget_s

    def _take(self, record: Repetition) -> None:
        group = self._group[record.cell]
        group.spent_s += self._costs.see(record)
        blocks = group.records.setdefault(record.cell, {})
        other = blocks.get(record.block)
        if other is None or other.status is not Status.OK or record.status is Status.OK:
            blocks[record.block] = record
        place = (record.cell, record.block)
        self._attempts[place] = max(self._attempts.get(place, 0), record.attempt)

    def _is_disturbed(self, cell: Cell, block: int) -> bool:
        last = self._group[cell].records.get(cell, {}).get(block)
        return (
            last is not None
            and last.status is Status.OK
            and Flag.DISTURBED in last.mask
            and self._attempts[cell, block] < self._study.rules.repeat_disturbed
        )

    def _measured(self, groups: Sequence[Group]) -> list[Measured]:
        """Lay out what was measured of groups, with the spreads of all of them."""
        open_ones = len(self._open)
        logs = [group.logs(group.quantity) for group in groups]
        found = [
            Measured(group.visited, values, spread, open_ones)
            for group, values, spread in zip(groups, logs, spreads(logs), strict=True)
        ]
        if self._decide != "front":
            return found
        latencies = [group.logs("latency") for group in groups]
        return [
            replace(one, latency=latency, latency_spread=spread)
            for one, latency, spread in zip(found, latencies, spreads(latencies), strict=True)
        ]

    def _judge(self, block: int) -> None:
        """Look at all questions after a block: which cells leave, and which are answered."""
        known = [group for group in self._groups if group.visited]
        judge = JUDGES[self._decide]
        for group, measured in zip(known, self._measured(known), strict=True):
            if group.ended is not None:
                continue
            for cell in sorted(group.alive & group.records.keys() - set(group.visited)):
                reasons = [r.reason or "" for r in group.records[cell].values()]
                self._leave(group, cell, block, "failed", reasons[-1])
            alive = frozenset(group.alive)
            found = judge(measured, alive, self._indifference, len(group.cells) - 1)
            group.judgement = found
            why: WhyLeft = "no_better" if self._decide in ("best", "front") else "decided"
            for cell, reason in sorted(found.leaving.items()):
                self._leave(group, cell, block, why, reason)
            enough = group.blocks >= self._study.repetitions
            visits = self._next_visits(group) if found.outcome else []
            if found.outcome and enough and not any(map(self._fits, visits)):
                self._end(group, "time" if visits else found.outcome)
            elif found.outcome:
                group.judgement = replace(found, open=found.best, outcome=None)
            elif not found.open and not self._next_visits(group):
                self._end(group, "failed")  # what could be measured does not answer it
        for group in self._groups:
            if not group.visited and group.records and group.ended is None:
                self._end(group, "failed")

    def _end(self, group: Group, outcome: str) -> None:
        """Record how a question ended, and of each cell that is left why it is not measured."""
        found = group.judgement
        if not group.visited:
            outcome = "failed" if group.records else "time"
        curves = {curve_of(cell) for cell in group.visited}
        for cell in sorted(group.alive):
            if cell in group.records:
                continue
            if outcome == "time" and not self._fits(cell):  # it may have been the best
                reason = f"the budget of {units.duration(self._budget_s)} has no room for it"
                self._leave(group, cell, self._blocks, "time", reason)
            elif outcome == "failed" or curve_of(cell) not in curves:
                reason = "what was tried of its curve or of the other one failed"
                self._leave(group, cell, self._blocks, "failed", reason)
            else:
                reason = "by its neighbours on the curve it cannot change the answer"
                self._leave(group, cell, self._blocks, "skipped", reason)
        group.ended = outcome
        self._news.append(
            Decision(
                group=group.name,
                model=group.cells[0].model,
                decide=self._decide,
                outcome=outcome,  # type: ignore[arg-type]
                within=self._within,
                quantity=group.quantity,
                best=found.best,
                alike=found.alike,
                blocks=group.blocks,
                spent_s=self._costs.spent_s,
                further_s=self._further_s(group) if outcome == "time" else None,
            )
        )

    def _further_s(self, group: Group) -> float | None:
        """Predict the measuring time that would decide a question, in s."""
        blocks = group.judgement.blocks_left
        if not blocks or math.isinf(max(blocks.values())):  # the spread is not known
            return None
        ahead = [(cell, max(1.0, further)) for cell, further in blocks.items()]
        ahead += [(cell, 1.0) for cell in self._next_visits(group)]
        return sum(further * self._costs.expected_s(cell) for cell, further in ahead)

    def _leave(self, group: Group, cell: Cell, block: int, why: WhyLeft, reason: str) -> None:
        group.alive.discard(cell)
        self._news.append(Left(cell=cell, block=block, why=why, reason=reason))


def _about(record: Left | Decision) -> Cell | str:
    """Return what a record is about: of each there is one."""
    return record.cell if isinstance(record, Left) else record.group

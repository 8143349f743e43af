"""The question answered: for each model, the variant and batch size of least energy per image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.energy_basis import all_unlike
from greenbatch.analysis.findings.cells import SLOW, CellRow
from greenbatch.analysis.findings.comparisons import energy_ratio
from greenbatch.analysis.findings.decided import further
from greenbatch.analysis.findings.wording import (
    NOT_KNOWN,
    bounds,
    one_or_count,
    plain,
    ranked_by,
    sentences,
)
from greenbatch.analysis.statistics.claims import Least, by_block, least, picked_is_less
from greenbatch.analysis.statistics.intervals import Interval, ratio
from greenbatch.records import Cell, Decision, Provenance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The best cell of a model.

    Attributes:
        model: Of which model.
        criterion: ``energy`` (least per image), or ``throughput`` (highest) where there is no
            energy that can be compared.
        best: The cell; ``None`` where there is no result.
        figure: Its energy per image (J) or throughput (images/s).
        energy_source: Of that energy.
        runner_up: The next best cell, with ``margin``, its ratio to the best one by block.
        clear: Whether the best is shown to be so against every cell of the model; at most 5 % of
            such claims are false (`greenbatch.analysis.statistics.claims.least`).
        alike: Cells with no significant difference from the best.
        apart: Cells that share no chain of blocks with the best, and are not comparable.
        adjusted: Whether cells were measured in different blocks, so that they are ranked by means
            adjusted for blocks.
        adjusted_figure: That mean of the best cell, where ``adjusted``. ``figure`` is of the cell's
            own blocks, as in every table.
        why_not_energy: Why the criterion is not energy.
        latency_p50_s: Of the best cell.
        saved: Its energy per image over that of batch 1 of the same variant, by block; ``None``
            where batch 1 is the best or was not measured.
        saved_shown: Whether it is shown to be less than that of batch 1, corrected for the number
            of cells from which the best was picked.
        outcome: How a run with a budget ended for this model, see `greenbatch.records.Decision`;
            empty where it had none.
        verdict: That in words.
    """

    model: str
    criterion: str
    best: Cell | None = None
    figure: Interval | None = None
    energy_source: Provenance = Provenance.MISSING
    runner_up: Cell | None = None
    margin: Interval | None = None
    clear: bool = False
    alike: tuple[Cell, ...] = ()
    apart: tuple[Cell, ...] = ()
    adjusted: bool = False
    adjusted_figure: float | None = None
    why_not_energy: str | None = None
    latency_p50_s: Interval | None = None
    saved: Interval | None = None
    saved_shown: bool = False
    outcome: str = ""
    verdict: str = ""

    @property
    def value(self) -> str:
        """The figure with its unit: ``206 mJ per image`` or ``131 images/s``."""
        return f"{self.amount} {self.unit}"

    @property
    def amount(self) -> str:
        """The figure alone."""
        return self._amount(self.figure.centre if self.figure else None)

    def _amount(self, figure: float | None) -> str:
        if self.criterion == "energy":
            return units.si(figure, "J")
        return "–" if figure is None else plain(figure)

    @property
    def unit(self) -> str:
        """What the figure is counted by."""
        return "per image" if self.criterion == "energy" else "images/s"

    @property
    def interval(self) -> str:
        """The interval of the figure: ``95 %: 44.1 mJ … 46.3 mJ``."""
        if self.figure is None:
            return ""
        return bounds(self.figure, "J" if self.criterion == "energy" else "")

    @property
    def saving(self) -> str:
        """What the best saves against batch 1, a clause; empty where that is not known."""
        if self.saved is None or self.best is None:
            return ""
        change, word = _change(self.saved), "less" if self.saved.centre < 1 else "more"
        if self.saved.kind == "t" and not self.saved_shown:
            if self.saved.excludes(1.0):
                return f"{change} {word} than at batch 1, not significant for the best of several"
            return f"no significant difference from batch 1: {change} {word}"
        return f"{change} {word} than at batch 1"

    @property
    def certainty(self) -> str:
        """How sure it is, in sentences."""
        return sentences(self._clauses)

    @property
    def _clauses(self) -> list[str]:
        if self.best is None:
            return ["nothing was measured"]
        if self.outcome in ("answered", "tie"):
            others = one_or_count([cell.how for cell in self.alike]) if self.alike else ""
            return [self.verdict, f"no significant difference from {others}" if others else ""]
        clauses = [self.verdict, *self._gap]
        if self.apart:
            names = one_or_count([cell.how for cell in self.apart])
            clauses.append(f"not comparable with {names}: no chain of shared blocks connects them")
        if self.adjusted:
            clauses += ranked_by(f"{self._amount(self.adjusted_figure)} {self.unit}")
        return clauses

    @property
    def _gap(self) -> list[str]:
        """How far off the next cell is, and from which cells the best does not differ."""
        if self.runner_up is None:
            return [] if self.apart else ["the only cell that was measured"]
        gap = f"next is {self.runner_up.how}"
        if self.margin is None:
            return [gap, "no block has both"]
        word = "more" if self.margin.centre >= 1 else "less"
        gap += f" with {_change(self.margin)} {word}"
        if self.margin.kind != "t":
            return [gap, _too_few(self.margin)]
        others = [cell.how for cell in self.alike if cell != self.runner_up]
        if self.runner_up not in self.alike:
            return [gap, f"no significant difference from {one_or_count(others)}" if others else ""]
        nor = f", nor from {one_or_count(others)}" if others else ""
        return [f"{gap}, no significant difference{nor}"]


def _too_few(value: Interval) -> str:
    return f"{units.count(value.n, 'repetition')}, too few to be sure"


def _change(factor: Interval) -> str:
    """Write a ratio as a change without its sign: ``3.8 % (1.2 … 6.4 %)``."""
    sign = 1 if factor.centre >= 1 else -1
    centre = f"{_percent(abs(factor.centre - 1))} %"
    if factor.low is None or factor.high is None:
        return centre
    if not factor.known:
        return f"{centre} ({NOT_KNOWN})"
    low, high = sorted(sign * (end - 1) for end in (factor.low, factor.high))
    word = "" if factor.kind == "t" else "range "
    return f"{centre} ({word}{_percent(low)} … {_percent(high)} %)"


def _percent(share: float) -> str:
    percent = 100 * share
    text = f"{percent:.1f}" if abs(percent) < 9.95 else f"{percent:.0f}"
    return "0.0" if text == "-0.0" else text.replace("-", "−")


def answers(rows: Sequence[CellRow], decisions: Sequence[Decision] = ()) -> list[Answer]:
    """Answer for each model, in the study's order.

    Args:
        rows: Cells of the closed loop.
        decisions: Of a run with a budget. Cells that it left are not ranked: their repetitions are
            too few for that, and the decision speaks of them.
    """
    models = dict.fromkeys(row.cell.model for row in rows)
    decided = {
        d.model: d for d in decisions if d.decide == "best" and d.best and not d.best[0].is_server
    }
    return [
        _raced(decided[model], [r for r in rows if r.cell.model == model])
        if model in decided
        else _answer(model, [r for r in rows if r.cell.model == model])
        for model in models
    ]


def _raced(decision: Decision, rows: Sequence[CellRow]) -> Answer:
    """Answer as a run with a budget decided; of one that was not, as the cells left in it do."""
    by_time = decision.quantity == "time"
    if decision.outcome == "time":
        found = _answer(decision.model, [row for row in rows if not row.left] or rows, by_time)
        verdict = f"not decided when the budget or the repetitions were spent{further(decision)}"
        return replace(found, outcome=decision.outcome, verdict=verdict, clear=False)
    chosen = [row for row in rows if row.cell == decision.best[0]]
    found = _answer(decision.model, chosen, by_time)
    others = [row for row in rows if row.cell != decision.best[0]]
    absent = sum(not row.ok for row in others)
    measured = len(others) - absent
    slow = sum(row.left == SLOW for row in others)
    skipped = f"; {absent - slow} not measured" if absent > slow else ""
    # The others cannot change the answer, by the curve; of these nothing is known.
    skipped += f"; {slow} not looked at, as too slow for the budget" if slow else ""
    if not measured:
        what = f"no other cell was measured{skipped}"
    elif decision.outcome == "answered":
        what = f"each other cell that was measured ({measured}) is shown to be worse{skipped}"
    else:
        by = f"better by more than {100 * decision.within:g} %"
        what = f"no other cell that was measured ({measured}) is {by}{skipped}"
    return replace(
        found,
        outcome=decision.outcome,
        clear=decision.outcome == "answered",
        alike=decision.alike,
        verdict=f"decided after {units.count(decision.blocks, 'block')}: {what}",
    )


def _answer(model: str, rows: Sequence[CellRow], by_time: bool = False) -> Answer:
    with_energy = [row for row in rows if row.energy_per_image_j is not None and not by_time]
    unlike = all_unlike(row.basis for row in with_energy)
    if with_energy and not unlike:
        answer, best, figures = _ranked(model, "energy", with_energy)
        assert best is not None
        saved, shown = _saved(best, with_energy, figures)
        return replace(
            answer,
            figure=best.energy_per_image_j,
            energy_source=best.energy_source,
            saved=saved,
            saved_shown=shown,
        )
    why = f"energies are not alike: {unlike}" if with_energy else "there is no energy"
    if by_time:
        why = "the run was decided by the time per image"
    answer, best, _ = _ranked(model, "throughput", [row for row in rows if row.throughput])
    return replace(answer, figure=best.throughput if best else None, why_not_energy=why)


def _ranked(
    model: str, criterion: str, rows: Sequence[CellRow]
) -> "tuple[Answer, CellRow | None, Array]":
    """Name the best of rows that have the figure of a criterion, without its figure."""
    figures = by_block([row.series[criterion].by_block for row in rows])
    if criterion == "throughput":
        figures = 1 / figures
    found = least(figures)
    if found is None:
        return Answer(model=model, criterion=criterion), None, figures
    best = rows[found.best]
    second = None if found.runner_up is None else rows[found.runner_up]
    margin = None
    if second:
        over, under = (row.series[criterion].by_block for row in (second, best))
        margin = ratio(over, under)
    answer = Answer(
        model=model,
        criterion=criterion,
        best=best.cell,
        runner_up=second.cell if second else None,
        margin=margin,
        clear=found.shown,
        alike=tuple(rows[place].cell for place in found.alike),
        apart=tuple(rows[place].cell for place in found.apart),
        adjusted=found.adjusted,
        adjusted_figure=_adjusted(found, criterion),
        latency_p50_s=best.latency_p50_s,
    )
    return answer, best, figures


def _adjusted(found: Least, criterion: str) -> float | None:
    if not found.adjusted:
        return None
    return 1 / found.means[0] if criterion == "throughput" else found.means[0]


def _saved(
    best: CellRow, rows: Sequence[CellRow], figures: "Array"
) -> tuple[Interval | None, bool]:
    """Compare the best of rows with batch 1 of its variant."""
    alone = replace(best.cell, batch_size=1)
    place = next((i for i, row in enumerate(rows) if row.cell == alone), None)
    if place is None or rows[place] is best:
        return None, False
    saved = energy_ratio(best, rows[place]).interval
    return saved, picked_is_less(figures, rows.index(best), place)

"""The question answered: for each model, the variant and batch size of least energy per image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from greenbatch import units
from greenbatch.analysis.dataset.energy_basis import all_unlike
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.comparisons import energy_ratio
from greenbatch.analysis.findings.wording import amount, plain
from greenbatch.analysis.statistics.intervals import Interval, ratio
from greenbatch.records import Cell, Provenance


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
        clear: Whether the interval of ``margin`` excludes 1. It does not allow for the best
            having been picked among many: a close call deserves more repetitions.
        why_not_energy: Why the criterion is not energy.
        latency_p50_s: Of the best cell.
        saved: Its energy per image over that of batch 1 of the same variant, by block; ``None``
            where batch 1 is the best or was not measured.
    """

    model: str
    criterion: str
    best: Cell | None = None
    figure: Interval | None = None
    energy_source: Provenance = Provenance.MISSING
    runner_up: Cell | None = None
    margin: Interval | None = None
    clear: bool = False
    why_not_energy: str | None = None
    latency_p50_s: Interval | None = None
    saved: Interval | None = None

    @property
    def value(self) -> str:
        """The figure with its unit: ``206 mJ per image`` or ``131 images/s``."""
        return f"{self.amount} {self.unit}"

    @property
    def amount(self) -> str:
        """The figure alone."""
        centre = self.figure.centre if self.figure else None
        if self.criterion == "energy":
            return units.si(centre, "J")
        return "–" if centre is None else plain(centre)

    @property
    def unit(self) -> str:
        """What the figure is counted by."""
        return "per image" if self.criterion == "energy" else "images/s"

    @property
    def interval(self) -> str:
        """The interval of the figure: ``95 %: 44.1 mJ … 46.3 mJ``."""
        if self.figure is None:
            return ""
        if self.figure.low is None or self.figure.high is None:
            return "one repetition: no interval"
        unit = "J" if self.criterion == "energy" else ""
        low, high = (amount(end, unit) for end in (self.figure.low, self.figure.high))
        return f"{_kind(self.figure)}: {low} … {high}"

    @property
    def saving(self) -> str:
        """What the best saves against batch 1, a clause; empty where that is not known."""
        if self.saved is None or self.best is None:
            return ""
        change, word = _change(self.saved), "less" if self.saved.centre < 1 else "more"
        if self.saved.kind == "t" and not self.saved.excludes(1.0):
            return f"no significant difference from batch 1: {change} {word}"
        return f"{change} {word} than at batch 1"

    @property
    def certainty(self) -> str:
        """How sure it is; a clause without a full stop."""
        if self.best is None:
            return "nothing was measured"
        if self.runner_up is None or self.margin is None:
            return "the only cell that was measured"
        word = "more" if self.margin.centre >= 1 else "less"
        gap = f"next is {self.runner_up.how} with {_change(self.margin)} {word}"
        if self.margin.kind != "t":
            return (
                f"{gap}; {self.margin.n} repetition{'s'[: self.margin.n > 1]}, too few to be sure"
            )
        return gap if self.clear else f"{gap}, no significant difference"


def _change(factor: Interval) -> str:
    """Write a ratio as a change without its sign: ``3.8 % (1.2 … 6.4 %)``."""
    sign = 1 if factor.centre >= 1 else -1
    centre = f"{_percent(abs(factor.centre - 1))} %"
    if factor.low is None or factor.high is None:
        return centre
    low, high = sorted(sign * (end - 1) for end in (factor.low, factor.high))
    word = "" if factor.kind == "t" else "range "
    return f"{centre} ({word}{_percent(low)} … {_percent(high)} %)"


def _percent(share: float) -> str:
    percent = 100 * share
    text = f"{percent:.1f}" if abs(percent) < 9.95 else f"{percent:.0f}"
    return "0.0" if text == "-0.0" else text.replace("-", "−")


def _kind(summary: Interval) -> str:
    return "95 %" if summary.kind == "t" else "range"


def answers(rows: Sequence[CellRow]) -> list[Answer]:
    """Answer for each model, in the study's order."""
    models = dict.fromkeys(row.cell.model for row in rows)
    return [_answer(model, [r for r in rows if r.cell.model == model]) for model in models]


def _answer(model: str, rows: list[CellRow]) -> Answer:
    with_energy = [row for row in rows if row.energy_per_image_j is not None]
    unlike = all_unlike(row.basis for row in with_energy)
    if with_energy and not unlike:
        ordered = sorted(
            with_energy, key=lambda r: r.energy_per_image_j.centre if r.energy_per_image_j else 0.0
        )
        best, second = ordered[0], ordered[1] if len(ordered) > 1 else None
        margin = energy_ratio(second, best).interval if second else None
        return Answer(
            model=model,
            criterion="energy",
            best=best.cell,
            figure=best.energy_per_image_j,
            energy_source=best.energy_source,
            runner_up=second.cell if second else None,
            margin=margin,
            clear=bool(margin and margin.excludes(1.0)),
            latency_p50_s=best.latency_p50_s,
            saved=_saved(best, rows),
        )
    why = f"energies are not alike: {unlike}" if with_energy else "there is no energy"
    ordered = sorted(
        (row for row in rows if row.throughput),
        key=lambda r: -r.throughput.centre if r.throughput else 0.0,
    )
    if not ordered:
        return Answer(model=model, criterion="throughput", why_not_energy=why)
    best, second = ordered[0], ordered[1] if len(ordered) > 1 else None
    margin = None
    if second:
        margin = ratio(second.series["throughput"].by_block, best.series["throughput"].by_block)
    return Answer(
        model=model,
        criterion="throughput",
        best=best.cell,
        figure=best.throughput,
        runner_up=second.cell if second else None,
        margin=margin,
        clear=bool(margin and margin.excludes(1.0)),
        why_not_energy=why,
        latency_p50_s=best.latency_p50_s,
    )


def _saved(best: CellRow, rows: Sequence[CellRow]) -> Interval | None:
    alone = replace(best.cell, batch_size=1)
    first = next((row for row in rows if row.cell == alone), None)
    if first is None or first is best:
        return None
    return energy_ratio(best, first).interval

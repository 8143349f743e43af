"""Machines side by side: whether they differ, whether that depends on the choice, what is saved."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

from greenbatch.analysis.dataset.training_variables import cell_dims
from greenbatch.analysis.statistics.intervals import Interval, ratio_of_runs
from greenbatch.analysis.statistics.linear_models import Term, anova
from greenbatch.analysis.training.dataset.contexts import Context, contexts
from greenbatch.analysis.training.findings.correctness import (
    CorrectnessRow,
    GroupTests,
    correctness_row,
    correctness_rows,
    group_tests,
)
from greenbatch.analysis.training.findings.judge import Metric, word_of
from greenbatch.errors import UsageError
from greenbatch.records.provenance import comparable

if TYPE_CHECKING:
    import xarray as xr

Centre = Literal["mean", "median"]
Figure = Literal["energy", "utilization"]
_SURE = 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """A choice on a machine."""

    machine: str
    row: CorrectnessRow

    def __str__(self) -> str:
        return f"{self.row.name} on {self.machine}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GreatestSaving:
    """The place that needs least energy per image seen against the one that needs most.

    Attributes:
        most, least: Which.
        saved: Share of the energy of ``most``; its interval does not allow for the two having
            been picked. Of medians there is no interval.
        lost: By how much ``least`` is less correct, as a difference of means; ``None`` where it is
            not known.
        places: Among how many they were picked.
    """

    most: Place
    least: Place
    saved: Interval
    lost: float | None
    places: int

    def sentence(self, metric: Metric) -> str:
        """Say what is saved, and at which loss."""
        text = (
            f"{self.least} needs {_percent(self.saved)} less energy per image seen than {self.most}"
        )
        if self.lost is None:
            return f"{text}."
        points = 100 * abs(self.lost)
        if points < 0.05:
            return f"{text}, with the same {word_of(metric)}."
        word = "less" if self.lost > 0 else "more"
        return f"{text}, with {points:.1f} points {word} {word_of(metric)}."


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinesCompared:
    """All choices on all machines, of one data set.

    Attributes:
        context: Data set.
        overall: The greatest saving over choices and machines; ``None`` where energies cannot be
            compared.
        within: The greatest saving within one machine.
        interaction: Of choice and machine, in an analysis of variance of the logarithm of the
            energy; ``None`` where it cannot be had.
        notes: Why something is missing, a sentence each.
    """

    context: Context
    overall: GreatestSaving | None
    within: GreatestSaving | None
    interaction: Term | None
    notes: tuple[str, ...]

    def sentences(self, metric: Metric) -> list[str]:
        """Say what the machines show."""
        found = [*self.notes]
        if self.overall:
            count = self.overall.places
            found.append(
                f"The greatest saving over choices and machines ({count} in all): "
                f"{self.overall.sentence(metric)}"
            )
        elsewhere = self.overall and self.overall.most.machine != self.overall.least.machine
        if self.within and elsewhere:
            found.append(f"Within one machine: {self.within.sentence(metric)}")
        if self.interaction:
            share, p = self.interaction.eta_squared, self.interaction.test.p
            found.append(
                "How much a machine saves depends on the choice: their interaction has "
                f"{100 * share:.1f} % of the variation of the logarithm of the energy."
                if p < _SURE
                else "It is not shown that what a machine saves depends on the choice."
            )
        return found


def environments(
    dataset: "xr.Dataset", figure: Figure = "energy", *, welch: bool = False
) -> list[tuple[Context, GroupTests]]:
    """Compare the machines of merged runs, each choice by itself.

    Args:
        dataset: As `greenbatch.analysis.training.merge_training` gives it.
        figure: ``energy`` per image seen, or the ``utilization`` of the GPU.
        welch: Test means beside ranks.

    Raises:
        UsageError: The runs are not merged along ``machine``.
    """
    _require_machines(dataset)
    found = []
    for context, part in contexts(dataset, apart=("machine",)):
        groups, sources = {}, set()
        for machine in part["machine"].values.tolist():
            row = correctness_row(str(machine), {}, part.sel(machine=machine, drop=True))
            if values := getattr(row, figure):
                groups[row.name] = [*values.values()]
                sources.add(row.source)
        if figure == "energy" and not comparable(sources):
            note = "Energy is estimated on one machine and measured on another: not compared."
            tests = GroupTests(
                figure="energy", shapiro=(), levene=None, kruskal=None, dunn=(), notes=(note,)
            )
        else:
            tests = group_tests(figure, groups, welch=welch)
        found.append((context, tests))
    return found


def machines_compared(
    dataset: "xr.Dataset", metric: Metric = "accuracy", centre: Centre = "mean"
) -> list[MachinesCompared]:
    """Set every choice on every machine against every other by energy per image seen.

    Args:
        dataset: As `greenbatch.analysis.training.merge_training` gives it.
        metric: By which correctness is judged.
        centre: Of the repetitions: their geometric mean, or their median as in del Rey et al.

    Returns:
        One for each data set.

    Raises:
        UsageError: The runs are not merged along ``machine``.

    Source:
        del Rey et al., SEAA 2023 (arXiv 2307.05520), for the greatest saving over all pairs of
        architecture and environment.
    """
    _require_machines(dataset)
    apart = ("machine", *(dim for dim in cell_dims(dataset) if dim != "data"))
    return [_compared(*each, metric, centre) for each in contexts(dataset, apart)]


def _require_machines(dataset: "xr.Dataset") -> None:
    if "machine" not in dataset.dims:
        raise UsageError("there is one machine; merge runs of several to compare them")


def _compared(
    context: Context, part: "xr.Dataset", metric: Metric, centre: Centre
) -> MachinesCompared:
    places = [
        Place(str(machine), row)
        for machine in part["machine"].values.tolist()
        for row in correctness_rows(part.sel(machine=machine, drop=True))
        if row.energy
    ]
    if not comparable(place.row.source for place in places):
        note = "Energy is estimated in one place and measured in another: no saving is given."
        return MachinesCompared(
            context=context, overall=None, within=None, interaction=None, notes=(note,)
        )
    by_machine: dict[str, list[Place]] = {}
    for place in places:
        by_machine.setdefault(place.machine, []).append(place)
    savings = [_greatest(group, metric, centre) for group in by_machine.values()]
    notes: list[str] = []
    return MachinesCompared(
        context=context,
        overall=_greatest(places, metric, centre),
        within=max(
            (saving for saving in savings if saving), key=lambda s: s.saved.centre, default=None
        ),
        interaction=_interaction(places, notes),
        notes=tuple(notes),
    )


def _greatest(places: Sequence[Place], metric: Metric, centre: Centre) -> GreatestSaving | None:
    if len(places) < 2:
        return None
    ordered = sorted(places, key=lambda place: _centre(place, centre))
    least, most = ordered[0], ordered[-1]
    if centre == "median":
        saved = Interval(
            None, 1 - _centre(least, centre) / _centre(most, centre), None, len(least.row.energy)
        )
    else:
        over = ratio_of_runs(least.row.energy.values(), most.row.energy.values())
        if over is None:
            return None
        low, high = (None if end is None else 1 - end for end in (over.high, over.low))
        saved = Interval(low, 1 - over.centre, high, over.n, over.method)
    ends = [place.row.correctness(metric) for place in (most, least)]
    lost = ends[0].centre - ends[1].centre if ends[0] and ends[1] else None
    return GreatestSaving(most=most, least=least, saved=saved, lost=lost, places=len(places))


def _centre(place: Place, centre: Centre) -> float:
    values = place.row.energy.values()
    if centre == "median":
        return median(values)
    found = place.row.energy_j
    return math.nan if found is None else found.centre


def _interaction(places: Sequence[Place], notes: list[str]) -> Term | None:
    """Analyse the choices that every machine has; others say nothing of an interaction."""
    machines = {place.machine for place in places}
    on: dict[str, set[str]] = {}
    for place in places:
        on.setdefault(place.row.name, set()).add(place.machine)
    rows: list[Mapping[str, str | float]] = [
        {"energy": math.log(value), "choice": place.row.name, "machine": place.machine}
        for place in places
        if on[place.row.name] == machines
        for value in place.row.energy.values()
        if value > 0
    ]
    if len(machines) < 2 or len({row["choice"] for row in rows}) < 2:
        return None
    try:
        terms = anova(rows, "energy", ("choice", "machine"), typ=3)
    except UsageError as error:
        text = str(error)
        notes.append(f"{text[:1].upper()}{text[1:]}.")
        return None
    return next(term for term in terms if term.test.of == "choice x machine")


def _percent(share: Interval) -> str:
    text = f"{share.centre:.1%}".replace("%", "")
    if share.low is None or share.high is None:
        return f"{text} %"
    return f"{text} % ({100 * share.low:.1f} … {100 * share.high:.1f} %)"

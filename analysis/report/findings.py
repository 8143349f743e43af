"""What a run of inference shows: gathered once, for its report and for the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.flagged import mostly_disturbed
from greenbatch.analysis.dataset.raced import decisions_of
from greenbatch.analysis.findings.answers import Answer, answers
from greenbatch.analysis.findings.batch_effects import BatchEffect, batch_effects
from greenbatch.analysis.findings.caveat import Caveat
from greenbatch.analysis.findings.caveats import caveats
from greenbatch.analysis.findings.cells import CellRow, cell_rows
from greenbatch.analysis.findings.comparisons import (
    BestRow,
    ComparisonRow,
    best_rows,
    comparison_rows,
)
from greenbatch.analysis.findings.contention import spinning_caveats
from greenbatch.analysis.findings.decided import decided_sentences
from greenbatch.analysis.findings.fairness import Fairness, fairness
from greenbatch.analysis.findings.machines import KindMean
from greenbatch.analysis.findings.paired_networks import PairedNetworks, paired_networks
from greenbatch.analysis.findings.plausibility import EnergyWorth, energy_worths
from greenbatch.analysis.findings.serving import ServingPanel, serving_panels
from greenbatch.analysis.findings.startup import BreakEven, StartUp, break_evens, start_ups
from greenbatch.analysis.findings.timeline import Timeline, TimelineChoice, timeline
from greenbatch.analysis.findings.wording import one_or_count
from greenbatch.analysis.report.tables.tradeoffs import Turning, offline, pareto_statuses, turnings
from greenbatch.analysis.tradeoffs.accuracy_front import FrontCandidate, accuracy_front
from greenbatch.records import Cell, Journal

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, slots=True)
class Tradeoffs:
    """One quantity against another, over the cells of a run.

    Attributes:
        closed: The dataset's closed loop.
        pareto_status, net_pareto_status: Of each cell among its model's, by gross and by net
            energy.
        refused: Why a model has no front, a sentence each.
        turnings: Saturation point and knee of each curve of energy per image.
        candidates: Cells of all networks that have an accuracy.
        weighed: What those show, in sentences.
        timelines: Networks by year of publication: at each one's best cell, and where the reader
            chose.
        panels: Of servers, by model and traffic.
    """

    closed: "xr.Dataset"
    pareto_status: Mapping[Cell, str]
    refused: Sequence[str]
    net_pareto_status: Mapping[Cell, str]
    turnings: Sequence[Turning]
    candidates: Sequence[FrontCandidate]
    weighed: Sequence[str]
    timelines: Sequence[Timeline]
    panels: Sequence[ServingPanel]


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceFindings:
    """What one run, or one machine of a merged dataset, shows.

    Attributes:
        title: Of the run.
        cells: All of them.
        settings: The effective settings of each backend; of a dataset alone none is known.
        answers: Of the closed loop, as are ``worths``, ``starts``, ``comparisons`` and ``best``.
        worths: Its energy beside what is published, by class of device.
        batching: Tests of batch sizes and policies.
        paired: Tests of backends and precisions over networks.
        alone: Whether there is a dataset and no journal.
        decided: What a run with a budget decided that ``answers`` do not speak of, in sentences.
    """

    title: str
    cells: Sequence[CellRow]
    settings: Fairness
    caveats: Sequence[Caveat]
    answers: Sequence[Answer]
    worths: Sequence[EnergyWorth]
    starts: Sequence[StartUp]
    break_evens: Sequence[BreakEven]
    comparisons: Sequence[ComparisonRow]
    best: Sequence[BestRow]
    batching: Sequence[BatchEffect]
    paired: Sequence[PairedNetworks]
    tradeoffs: Tradeoffs
    alone: bool
    decided: Sequence[str] = ()

    @property
    def loop(self) -> list[CellRow]:
        """The cells of the closed loop."""
        return [row for row in self.cells if not row.cell.is_server]

    @property
    def servers(self) -> list[CellRow]:
        """The cells of the server scenario."""
        return [row for row in self.cells if row.cell.is_server]

    @property
    def disturbed(self) -> str:
        """What stands above all results where most repetitions were disturbed; else empty."""
        disturbed = sum(row.flags.get("disturbed", 0) for row in self.cells)
        return mostly_disturbed(disturbed, sum(row.ok for row in self.cells))

    @property
    def summary(self) -> str:
        """The answer in one sentence."""
        return f"{self.disturbed} {summary_sentence(self.answers)}".strip()


@dataclass(frozen=True, slots=True)
class InferenceReport:
    """A report of inference that was written.

    Attributes:
        page: Path of ``index.html``.
        findings: By machine or run; those of a single run by its title.
        kinds: Of several machines: each cell over those of one kind.
    """

    page: Path
    findings: Mapping[str, InferenceFindings]
    kinds: Sequence[KindMean] = ()


def find(
    dataset: "xr.Dataset",
    journal: Journal | None,
    choice: TimelineChoice | None = None,
) -> InferenceFindings:
    """Analyse a run.

    Args:
        dataset: Of one run.
        journal: Of the run; ``None`` where there is the dataset alone.
        choice: At which batch and backend to show a second timeline.

    Raises:
        UsageError: The run has no cell of the batch size of ``choice``.
        UnknownNameError: The run has no cell of its backend.
    """
    cells = cell_rows(dataset)
    loop = [row for row in cells if not row.cell.is_server]
    settings = fairness(journal.repetitions if journal else (), (row.cell for row in cells))
    starts = start_ups(dataset, loop)
    decisions = decisions_of(dataset)
    answered = answers(loop, decisions)
    worths = energy_worths(dataset, loop, answered)
    more = spinning_caveats(journal.repetitions if journal else ())
    return InferenceFindings(
        title=str(dataset.attrs["title"]),
        cells=cells,
        settings=settings,
        caveats=caveats(dataset, cells, settings, worths, alone=journal is None, more=more),
        answers=answered,
        worths=worths,
        starts=starts,
        break_evens=break_evens(starts),
        comparisons=comparison_rows(loop),
        best=best_rows(loop),
        batching=batch_effects(cells),
        paired=paired_networks(loop),
        tradeoffs=_tradeoffs(dataset, cells, loop, choice),
        alone=journal is None,
        decided=decided_sentences(decisions),
    )


def _tradeoffs(
    dataset: "xr.Dataset",
    cells: Sequence[CellRow],
    loop: Sequence[CellRow],
    choice: TimelineChoice | None,
) -> Tradeoffs:
    closed = offline(dataset)
    net_pareto_status, _ = pareto_statuses(closed, net=True)
    return Tradeoffs(
        closed,
        *pareto_statuses(closed),
        net_pareto_status,
        turnings(closed),
        *accuracy_front(closed, loop),
        [timeline(dataset, cells), *([timeline(dataset, cells, choice)] if choice else [])],
        serving_panels(cells),
    )


def summary_sentence(answered: Sequence[Answer]) -> str:
    """Answer the run's question in one sentence, models with the same answer together.

    A second one names the models of which other cells do not differ significantly from the best.
    """
    if not any(answer.best for answer in answered):
        return "Nothing was measured."
    parts = []
    for criterion, words in (
        ("energy", "Least energy per image"),
        ("throughput", "Highest throughput"),
    ):
        groups: dict[str, list[str]] = {}
        sources = set()
        for answer in answered:
            if answer.best and answer.criterion == criterion:
                groups.setdefault(answer.best.how, []).append(answer.model)
                sources.add(answer.energy_source)
        if not groups:
            continue
        if criterion == "energy" and sources != {"measured"}:
            words += f" ({', '.join(sorted(sources))})"
        if len(groups) == 1 and len(answered) > 1:
            place, models = next(iter(groups.items()))
            every = "both models" if len(models) == 2 else f"all {len(models)} models"
            whom = every if len(models) == len(answered) else _listed(models)
            parts.append(f"{words}: {place}, for {whom}")
        else:
            places = (f"{place} for {_listed(models)}" for place, models in groups.items())
            parts.append(f"{words}: {'; '.join(places)}")
    return ". ".join([*parts, *_not_apart(answered)]) + "."


def _not_apart(answered: Sequence[Answer]) -> Iterator[str]:
    """Say for which models nothing significant sets the best cell apart from all others."""
    few = [answer for answer in answered if answer.margin and answer.margin.kind != "t"]
    if few:
        whom = "" if len(few) == len(answered) else f" for {_listed([a.model for a in few])}"
        yield f"There are too few repetitions to be sure{whom}"
    found = [answer for answer in answered if answer.alike and answer not in few]
    if len(answered) == 1 and found:
        whom = one_or_count([cell.how for cell in found[0].alike])
        yield f"There is no significant difference from {whom}"
    elif found:
        every = "every model" if len(found) == len(answered) else _listed([a.model for a in found])
        yield f"For {every}, other cells do not differ significantly from that"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]

"""The page of a run of inference, in chapters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.described import environment_of, study_of
from greenbatch.analysis.findings.answers import Answer
from greenbatch.analysis.findings.batch_effects import effect_sentences
from greenbatch.analysis.findings.caveats import window_s
from greenbatch.analysis.findings.serving_answers import serving_answers
from greenbatch.analysis.findings.wording import Table
from greenbatch.analysis.report.charts.charts import Style, styles
from greenbatch.analysis.report.charts.power_traces import PowerTrace
from greenbatch.analysis.report.findings import InferenceFindings
from greenbatch.analysis.report.page import Caveats, Cover, Method, Section, TableSection
from greenbatch.analysis.report.run_facts import (
    artifacts_table,
    design_facts,
    environment_groups,
    machine_line,
)
from greenbatch.analysis.report.sections import (
    accuracy_sections,
    batch_sections,
    power_sections,
    timeline_sections,
)
from greenbatch.analysis.report.serving_sections import serving_sections
from greenbatch.analysis.report.table_sections import table_sections
from greenbatch.analysis.report.tables.published import published_sections
from greenbatch.analysis.report.tables.serving import side_by_side
from greenbatch.analysis.report.tables.tradeoffs import (
    Footprint,
    crossing_sentences,
    turning_sentences,
)

if TYPE_CHECKING:
    import xarray as xr

MOST_MODELS = 12
"""Of more, the page begins with the first one: a page of charts takes its time to draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The first chapter.

    Attributes:
        summary: In one sentence; empty where only servers were measured.
        servers: What a budget decided, then a sentence for each model and traffic.
        side_by_side: Instead of those sentences, where they would be too many.
        by_model: A card each.
        worths: What the joules are worth, a text for each class of device.
    """

    summary: str
    servers: Sequence[str]
    side_by_side: Table | None
    by_model: Sequence[Answer]
    worths: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The charts and what chooses among them.

    Attributes:
        styles: Of all backends.
        variants: Of the backends that the charts show, which are the first of ``styles``.
        models: That may be chosen.
        first_alone: Whether the page begins with the first model alone.
        net: Whether net energy may be chosen.
    """

    sections: Sequence[Section]
    styles: Sequence[Style]
    variants: Sequence[Style]
    models: Sequence[str]
    first_alone: bool
    net: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InferencePage:
    """Everything that the page and the Markdown report show.

    Attributes:
        alone: Whether there is a dataset and no journal.
    """

    cover: Cover
    answers: Answers
    caveats: Caveats
    figures: Figures
    tables: Sequence[TableSection]
    method: Method
    alone: bool


def inference_page(
    dataset: "xr.Dataset",
    found: InferenceFindings,
    traces: Sequence[PowerTrace] = (),
    footprint: Footprint | None = None,
) -> InferencePage:
    """Write a run's findings as a page.

    Args:
        dataset: Of one run.
        found: Its findings.
        traces: Of the run.
        footprint: What the reader wants to know of a million images.
    """
    study = study_of(dataset)
    environment = environment_of(dataset)
    served = serving_answers(found.cells)
    table = side_by_side(served)
    names = (dataset[coordinate].values.tolist() for coordinate in ("backend", "runtime"))
    runtimes = dict(zip(*names, strict=True))
    return InferencePage(
        cover=Cover(
            title=dataset.attrs["title"],
            source=dataset.attrs["source"],
            machine=machine_line(environment),
            measured=sum(row.ok for row in found.cells),
            planned=sum(row.planned for row in found.cells),
        ),
        answers=Answers(
            summary=found.summary if _has_loop(found) else found.disturbed,
            servers=[*found.decided, *(one.sentence for one in served if not table)],
            side_by_side=table,
            by_model=found.answers,
            worths=[worth.sentence for worth in found.worths],
        ),
        caveats=Caveats.of(found.caveats),
        figures=_figures(dataset, found, traces),
        tables=[
            *published_sections(study.name, found.cells, runtimes),
            *table_sections(found, footprint),
            TableSection(artifacts_table(study)),
        ],
        method=Method(
            paragraphs=_method(window_s(study, environment)),
            design=design_facts(study),
            environment=environment_groups(environment),
        ),
        alone=found.alone,
    )


def _has_loop(found: InferenceFindings) -> bool:
    """Whether the closed loop is shown: everywhere but in a run of servers alone."""
    return bool(found.loop) or not found.cells


def _figures(
    dataset: "xr.Dataset", found: InferenceFindings, traces: Sequence[PowerTrace]
) -> Figures:
    loop, every, tradeoffs = found.loop, [*found.loop, *found.servers], found.tradeoffs
    looks = styles(every)
    names = [style.name for style in looks]
    shown = every if tradeoffs.panels else loop
    models = list(dict.fromkeys(row.cell.model for row in shown))
    sections: list[Section] = []
    if _has_loop(found):
        turns = turning_sentences(found.answers, tradeoffs.turnings)
        turns += crossing_sentences(tradeoffs.closed, tradeoffs.turnings)
        turns += effect_sentences(found.batching, server=False, figure="energy")
        delays = effect_sentences(found.batching, server=False, figure="latency_p50")
        sections += batch_sections(loop, found.caveats, tradeoffs, turns, delays)
    sections += serving_sections(tradeoffs.panels, names, found.batching)
    sections += accuracy_sections(
        tradeoffs.candidates, tradeoffs.weighed, [style.name for style in styles(loop)]
    )
    sections += timeline_sections(tradeoffs.timelines)
    sections += power_sections(traces, every, alone=found.alone)
    years = {
        str(model): str(int(year))
        for model, year in zip(dataset["model"].values, dataset["year"].values, strict=True)
        if year == year
    }
    return Figures(
        sections=[_dated(section, years) for section in sections],
        styles=looks,
        variants=styles(shown),
        models=models,
        first_alone=len(models) > MOST_MODELS,
        net=any(section.net and section.charts for section in sections),
    )


def _dated(section: Section, years: Mapping[str, str]) -> Section:
    """Note beside each model's charts the year of its publication."""
    if not section.key:
        return section
    charts = [replace(c, note=c.note or years.get(c.title, "")) for c in section.charts]
    return replace(section, charts=charts)


def _method(window_s: float | None) -> list[str]:
    window = f", with a window of at least {window_s:g} s" if window_s else ""
    how = (
        "Every repetition of a cell ran in a fresh process, in shuffled order within each block"
        f"{window} after a warm-up until latencies were steady. Energy and latency come from the "
        "same iterations of that window. Net energy is gross energy less idle power (process "
        "alive, model loaded) times duration."
    )
    return [how, _INTERVALS]


_INTERVALS = (
    "Intervals are over repetitions, never over the iterations inside one: Student's t at 95 % on "
    "logarithms (on plain figures where one is not positive, as net energy may be), the range "
    "where there are two repetitions, nothing where there is one. Flagged repetitions are "
    "included. A sum over energy domains that lacks one of them is missing, not partial. Cells "
    "that were not measured in the same blocks are ranked by means adjusted for blocks. Claims of "
    "the best cell, of fronts, savings, break-even and knees are corrected for the number of "
    "cells: at most 5 % of runs of equal cells have a false claim of each kind."
)

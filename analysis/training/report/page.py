"""The page of a run of trainings, in chapters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.described import environment_of, training_study_of
from greenbatch.analysis.dataset.training_variables import is_search
from greenbatch.analysis.report.charts.charts import Style
from greenbatch.analysis.report.page import Caveats, Cover, Method, Section, TableSection
from greenbatch.analysis.report.run_facts import design_facts, environment_groups, machine_line
from greenbatch.analysis.training.report.charts import styles
from greenbatch.analysis.training.report.findings import Card, TrainingFindings
from greenbatch.analysis.training.report.tables import settings_table, substitutions_table

if TYPE_CHECKING:
    import xarray as xr

_SETTINGS_NOTE = (
    "What the trainings ran with, as their processes reported it. ≠ marks what was not the same in "
    "all, with the number of trainings; it includes factors and the seed of each repetition."
)


_WINDOW = (
    "Every training ran in a fresh process. Before its first epoch, steps on a copy of the network "
    "and of its optimiser warmed the machine up; they are in no figure. Then one window reached "
    "from the first epoch's begin to the last one's end, and in it each epoch has three parts "
    "without a gap: its pass over the training images, its pass over the validation images, and "
    "its checkpoint."
)
_UNIT = (
    "Energy per image seen is the energy of the whole window over the images seen in training and "
    "validation, each as often as it was seen (del Rey et al., 2023). Net energy is gross energy "
    "less idle power (network and data loaded) times duration. A training that was interrupted is "
    "the sum of its epochs; what a session did behind its last checkpoint is counted once, apart, "
    "and at the least, for what came between the last reading and the end is not known."
)
_INTERVALS = (
    "Intervals are over repetitions, never over the epochs inside one: Student's t at 95 %, on "
    "logarithms for energies and times and on plain figures for shares; the range where there are "
    "two repetitions, nothing where there is one. A sum over energy domains that lacks one of them "
    "is missing, not partial."
)
_TURNS = (
    "A repetition is one whole search of every strategy with its own seed. Within it the "
    "strategies take turns, trial by trial in an order that is shuffled anew for every turn, so "
    "that a drift of the machine meets all of them. A search is charged with all its trials, with "
    "those that failed and with what was lost."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The first chapter: the answer in one sentence, what goes with it, and cards."""

    summary: str
    sentences: Sequence[str]
    cards: Sequence[Card]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The charts and what chooses among them.

    Attributes:
        styles: Of what is compared.
        compared: What that is.
        logarithmic: Whether a chart has an axis of energy, which may be logarithmic.
    """

    sections: Sequence[Section]
    styles: Sequence[Style]
    compared: str
    logarithmic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPage:
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


def training_page(dataset: "xr.Dataset", found: TrainingFindings) -> TrainingPage:
    """Write the findings of trainings as a page.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` gives it.
        found: Its findings.
    """
    study = training_study_of(dataset)
    environment = environment_of(dataset)
    searched, shown, journal = is_search(dataset), found.shown, found.journal
    settings = settings_table(journal.trainings if journal else ())
    charts = [chart for section in shown.sections for chart in section.charts]
    return TrainingPage(
        cover=Cover(
            title=dataset.attrs["title"],
            source=dataset.attrs["source"],
            machine=machine_line(environment),
            measured=sum(row.ok for row in found.rows),
            planned=sum(row.planned for row in found.rows),
        ),
        answers=Answers(summary=shown.summary, sentences=shown.sentences, cards=shown.answers),
        caveats=Caveats.of(found.caveats),
        figures=Figures(
            sections=shown.sections,
            styles=styles(found.names),
            compared="Strategies" if searched else "Trainings",
            logarithmic=any(
                chart.facts["kind"] != "bands" or chart.facts["y"]["unit"] == "J"
                for chart in charts
            ),
        ),
        tables=[
            section
            for section in (
                *shown.tables,
                TableSection(settings, _SETTINGS_NOTE),
                TableSection(substitutions_table(study)),
            )
            if section.table.rows
        ],
        method=Method(
            paragraphs=[_WINDOW, _UNIT, _INTERVALS, *([_TURNS] if searched else [])],
            design=design_facts(study),
            environment=environment_groups(environment),
        ),
        alone=journal is None,
    )

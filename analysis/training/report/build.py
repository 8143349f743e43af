"""The report of a training run: one HTML file that works offline, Markdown, tables, figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.analysis.dataset.described import environment_of, training_study_of
from greenbatch.analysis.dataset.merging import separate
from greenbatch.analysis.dataset.training_variables import is_search
from greenbatch.analysis.findings.caveats import Severity
from greenbatch.analysis.findings.wording import Table
from greenbatch.analysis.report.charts.palette import THEMES
from greenbatch.analysis.report.render import render, scripts, write_latex, written_into
from greenbatch.analysis.report.run_facts import design_facts, environment_groups, machine_line
from greenbatch.analysis.training.dataset.store import open_training, open_training_with_files
from greenbatch.analysis.training.findings.caveats import training_caveats
from greenbatch.analysis.training.findings.rows import TrainingRow, training_rows
from greenbatch.analysis.training.report.charts import drawn, styles
from greenbatch.analysis.training.report.figures import write_training_figures
from greenbatch.analysis.training.report.machines import MACHINES_NOTE, machines_table
from greenbatch.analysis.training.report.plain_findings import plain_findings
from greenbatch.analysis.training.report.search_findings import search_findings
from greenbatch.analysis.training.report.tables import (
    settings_table,
    substitutions_table,
    table_csv,
    trainings_csv,
    trials_csv,
)
from greenbatch.files import remove_old_drafts, write_atomically
from greenbatch.records import Journal

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.training.report.findings import Findings

FOLDER = "report"
TABLES = (
    "trainings",
    "trials",
    "searches",
    "best-trials",
    "anova",
    "pairs",
    "tests",
    "settings",
    "substitutions",
)
"""Every table that a report of trainings may have; it replaces and deletes files of these names."""


def write_training_report(run: Path) -> Path:
    """Compile a training run and write its report.

    Args:
        run: The run directory; ``report/`` in it is written anew, ``dataset.nc``
            where it is out of date. Or a dataset file alone, as one that was merged:
            ``NAME-report/`` beside it is written, without what only the journal tells; of several
            machines a report each, and a page that sets them side by side.

    Returns:
        Path of ``index.html``.

    Raises:
        RunError: The run cannot be read or written to, or is none of trainings.
    """
    if run.is_dir():
        dataset, files = open_training_with_files(run)
        remove_old_drafts(run)
        return _written(run / FOLDER, dataset, files.journal, "../dataset.nc")
    dataset = open_training(run)
    folder = run.with_name(f"{run.stem}-report")
    if "machine" not in dataset.dims:
        return _written(folder, dataset, None, f"../{run.name}")
    parts = separate(dataset)
    names = [f"machine-{number}" for number in range(1, 1 + len(parts))]
    with written_into(folder):
        pages = zip(names, parts.values(), strict=True)
        told = [_written(folder / name, part, None, f"../../{run.name}") for name, part in pages]
        facts = {
            "title": dataset.attrs["title"],
            "source": dataset.attrs["source"],
            "themes": THEMES,
            "along": "machine",
            "eyebrow": "greenbatch · energy and correctness of training",
            "closing": "Machines are compared by energy per image seen, choice by choice.",
            "tables": [(machines_table(dataset, parts), MACHINES_NOTE)],
            "parts": [
                (
                    label,
                    f"{name}/{page.name}",
                    machine_line(environment_of(part)),
                    page_facts(part, training_rows(part), None)["lead"],
                )
                for (label, part), name, page in zip(parts.items(), names, told, strict=True)
            ],
        }
        write_atomically(folder / "index.html", render("overview.html.j2", facts))
    return folder / "index.html"


def training_answers(run: Path) -> dict[str, list[str]]:
    """Return the sentences that a report begins with, for each machine; by a title or a machine.

    Args:
        run: The run directory, or a dataset file.

    Raises:
        RunError: The run cannot be read, or is none of trainings.
    """
    found = {}
    for label, part in separate(open_training(run)).items():
        page = page_facts(part, training_rows(part), None)
        found[label] = [page["lead"], *page["sentences"]]
    return found


def _written(folder: Path, dataset: "xr.Dataset", journal: Journal | None, data_file: str) -> Path:
    rows = training_rows(dataset)
    page = page_facts(dataset, rows, journal) | {"data_file": data_file}
    with written_into(folder, "tables", "figures"):
        _write_tables(folder / "tables", [table for table, _ in page["tables"]])
        name, text = (
            ("trials", trials_csv(dataset))
            if is_search(dataset)
            else ("trainings", trainings_csv(rows))
        )
        write_atomically(folder / "tables" / f"{name}.csv", text)
        figures = write_training_figures(page["sections"], page["styles"], folder / "figures")
        page["figure_files"] = [f"figures/{path.name}" for path in figures if path.suffix == ".svg"]
        write_atomically(folder / "report.md", render("training.md.j2", page))
        write_atomically(folder / "index.html", render("training.html.j2", page | scripts(page)))
    return folder / "index.html"


def page_facts(
    dataset: "xr.Dataset", rows: Sequence[TrainingRow], journal: Journal | None
) -> dict[str, Any]:
    """Gather what the templates show; no formatting beyond finished text.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` gives it.
        rows: Its cells or trials.
        journal: ``None`` where the dataset is all there is.
    """
    study, environment = training_study_of(dataset), environment_of(dataset)
    found = training_caveats(dataset, rows)
    why = next((caveat.sentence for caveat in found if caveat.code == "energy-missing"), "")
    searched = is_search(dataset)
    names = (
        [str(name) for name in dataset["strategy"].values]
        if searched
        else list(dict.fromkeys(row.label for row in drawn(rows)))
    )
    gather = search_findings if searched else plain_findings
    told: Findings = gather(dataset, rows, names, why)
    tables = [
        *told.tables,
        (settings_table(journal.trainings if journal else ()), _SETTINGS_NOTE),
        (substitutions_table(study), ""),
    ]
    return {
        "title": dataset.attrs["title"],
        "source": dataset.attrs["source"],
        "machine": machine_line(environment),
        "lead": told.lead,
        "sentences": told.sentences,
        "answers": told.answers,
        "serious": [caveat for caveat in found if caveat.severity is Severity.SERIOUS],
        "caveats": [caveat for caveat in found if caveat.severity is not Severity.SERIOUS],
        "sections": told.sections,
        "themes": THEMES,
        "styles": styles(names),
        "compared": "Strategies" if searched else "Trainings",
        "logarithmic": any(
            chart.facts["kind"] != "bands" or chart.facts["y"]["unit"] == "J"
            for section in told.sections
            for chart in section.charts
        ),
        "tables": [(table, note) for table, note in tables if table.rows],
        "alone": journal is None,
        "method": [_WINDOW, _UNIT, _INTERVALS, *([_TURNS] if searched else [])],
        "design": design_facts(study),
        "environment": environment_groups(environment),
        "measured": sum(row.ok for row in rows),
        "planned": sum(row.planned for row in rows),
    }


_SETTINGS_NOTE = (
    "What the trainings ran with, as their processes told it. ≠ marks what was not the same in "
    "all, with the number of trainings; factors are among it, and the seed of each repetition."
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


def _write_tables(folder: Path, tables: Sequence[Table]) -> None:
    for name in TABLES:  # none of an earlier report
        for ending in ("csv", "tex"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
    write_latex(folder, tables)
    for table in tables:
        write_atomically(folder / f"{table.name}.csv", table_csv(table))

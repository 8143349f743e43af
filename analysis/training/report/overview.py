"""The page that sets the machines of merged runs side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.described import environment_of
from greenbatch.analysis.dataset.training_variables import is_search
from greenbatch.analysis.report.page import Overview, Part, TableSection
from greenbatch.analysis.report.render import render, scripts
from greenbatch.analysis.report.run_facts import machine_line
from greenbatch.analysis.training.findings.judge import Judge
from greenbatch.analysis.training.report.charts import styles
from greenbatch.analysis.training.report.figures import write_training_figures
from greenbatch.analysis.training.report.findings import TrainingFindings
from greenbatch.analysis.training.report.machine_charts import machine_sections
from greenbatch.analysis.training.report.machines import (
    MACHINES_NOTE,
    MEANS_NOTE,
    PAIRS_NOTE,
    UTILIZATION_NOTE,
    machine_pairs_table,
    machine_sentences,
    machine_utilization_table,
    machines_table,
)
from greenbatch.analysis.training.report.table_files import write_tables
from greenbatch.files import write_atomically

if TYPE_CHECKING:
    import xarray as xr


def machines_page(
    dataset: "xr.Dataset",
    parts: "Mapping[str, xr.Dataset]",
    found: Mapping[str, TrainingFindings],
    names: Mapping[str, str],
    judge: Judge,
) -> Overview:
    """Compare machines, and lead to the report of each.

    Args:
        dataset: As `greenbatch.analysis.training.merge_training` gives it.
        parts: The same by machine.
        found: What each of them shows.
        names: Folder of each one's report.
        judge: By what, and how exactly, correctness is judged.
    """
    rows = {label: one.rows for label, one in found.items()}
    tables = [
        TableSection(machines_table(dataset, parts), MACHINES_NOTE),
        TableSection(
            machine_pairs_table(dataset, welch=judge.welch),
            PAIRS_NOTE + (MEANS_NOTE if judge.welch else ""),
        ),
        TableSection(machine_utilization_table(dataset, parts), UTILIZATION_NOTE),
    ]
    return Overview(
        title=dataset.attrs["title"],
        source=dataset.attrs["source"],
        eyebrow="greenbatch · energy and correctness of training",
        along="machine",
        parts=[
            Part(
                label,
                f"{names[label]}/index.html",
                machine_line(environment_of(part)),
                found[label].shown.summary,
            )
            for label, part in parts.items()
        ],
        sentences=machine_sentences(dataset, judge.metric),
        sections=[] if is_search(dataset) else machine_sections(rows, judge.metric),
        styles=styles([*parts]),
        tables=[section for section in tables if section.table.rows],
        closing="Machines are compared by energy per image seen, choice by choice.",
    )


def write_machines(folder: Path, page: Overview) -> None:
    """Write the page with its figures and tables.

    Args:
        folder: Where to, with ``tables`` and ``figures`` in it.
        page: As `machines_page` gives it.
    """
    write_tables(folder / "tables", [section.table for section in page.tables])
    write_training_figures(page.sections, page.styles, folder / "figures")
    text = render("overview.html.j2", page=page, script=scripts(page.sections, page.styles))
    write_atomically(folder / "index.html", text)

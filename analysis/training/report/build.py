"""The report of a training run: one HTML file that works offline, Markdown, tables, figures."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.described import training_study_of
from greenbatch.analysis.dataset.flagged import mostly_disturbed
from greenbatch.analysis.dataset.merging import separate
from greenbatch.analysis.dataset.training_variables import is_search
from greenbatch.analysis.published.studies import published_studies
from greenbatch.analysis.report.page import Files
from greenbatch.analysis.report.render import render, scripts, written_into
from greenbatch.analysis.report.tables.tradeoffs import Footprint
from greenbatch.analysis.training.dataset.store import open_training_with_files
from greenbatch.analysis.training.findings.caveats import training_caveats
from greenbatch.analysis.training.findings.judge import BY_ACCURACY, Judge
from greenbatch.analysis.training.findings.rows import training_rows
from greenbatch.analysis.training.report.charts import drawn
from greenbatch.analysis.training.report.figures import write_training_figures
from greenbatch.analysis.training.report.findings import TrainingFindings, TrainingReport
from greenbatch.analysis.training.report.footprint_table import footprint_sections
from greenbatch.analysis.training.report.overview import machines_page, write_machines
from greenbatch.analysis.training.report.page import training_page
from greenbatch.analysis.training.report.plain_findings import plain_findings
from greenbatch.analysis.training.report.search_findings import search_findings
from greenbatch.analysis.training.report.table_files import write_tables
from greenbatch.analysis.training.report.tables import trainings_csv, trials_csv
from greenbatch.errors import UsageError
from greenbatch.files import remove_old_drafts, write_atomically
from greenbatch.records import Journal

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "report"
NO_FOOTPRINT = Footprint()


def report_of_run(
    run: Path, footprint: Footprint = NO_FOOTPRINT, judge: Judge = BY_ACCURACY
) -> tuple[Path, TrainingFindings]:
    """Compile a run of trainings and write its report, see `greenbatch.analysis.write_report`."""
    dataset, files = open_training_with_files(run)
    remove_old_drafts(run)
    found = find(dataset, files.journal, footprint, judge)
    return _write(run / FOLDER, dataset, found, "../dataset.nc"), found


def report_of_file(
    path: Path,
    dataset: "xr.Dataset",
    footprint: Footprint = NO_FOOTPRINT,
    judge: Judge = BY_ACCURACY,
) -> TrainingReport:
    """Write the report of a dataset file beside it.

    Args:
        path: The file.
        dataset: It holds.
        footprint: What the reader wants to know of a training or search.
        judge: By what, and how exactly, correctness is judged.
    """
    folder = path.with_name(f"{path.stem}-report")
    parts = separate(dataset)
    found = {label: find(part, None, footprint, judge) for label, part in parts.items()}
    if "machine" not in dataset.dims:
        (alone,) = found.values()
        return TrainingReport(_write(folder, dataset, alone, f"../{path.name}"), found)
    names = {label: f"machine-{number}" for number, label in enumerate(parts, start=1)}
    page = machines_page(dataset, parts, found, names, judge)
    with written_into(folder, "tables", "figures"):
        for label, part in parts.items():
            _write(folder / names[label], part, found[label], f"../../{path.name}")
        write_machines(folder, page)
    return TrainingReport(folder / "index.html", found)


def find(
    dataset: "xr.Dataset",
    journal: Journal | None,
    footprint: Footprint = NO_FOOTPRINT,
    judge: Judge = BY_ACCURACY,
) -> TrainingFindings:
    """Analyse a run of trainings.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` gives it.
        journal: ``None`` where the dataset is all there is.
        footprint: What the reader wants to know of a training or search.
        judge: By what, and how exactly, correctness is judged; a search is judged by its objective.

    Raises:
        UsageError: It is given for a search.
    """
    rows = training_rows(dataset)
    caveats = training_caveats(dataset, rows)
    why = next((caveat.sentence for caveat in caveats if caveat.code == "energy-missing"), "")
    if is_search(dataset):
        if replace(judge, welch=False) != BY_ACCURACY:
            raise UsageError(
                "the run is a search, which is judged by its objective and within; leave metric "
                "and within out"
            )
        names = [str(name) for name in dataset["strategy"].values]
        shown = search_findings(dataset, rows, names, why, welch=judge.welch)
    else:
        names = list(dict.fromkeys(row.label for row in drawn(rows)))
        shown = plain_findings(dataset, rows, names, why, judge)
    published = published_studies().get(training_study_of(dataset).name or "")
    more = footprint_sections(rows, shown.searches, footprint, published)
    flagged = sum(row.flags.get("disturbed", 0) for row in rows)
    disturbed = mostly_disturbed(flagged, sum(row.statuses.get("ok", 0) for row in rows))
    summary = f"{disturbed} {shown.summary}".strip()
    shown = replace(shown, summary=summary, tables=[*shown.tables, *more])
    title = str(dataset.attrs["title"])
    return TrainingFindings(title, rows, names, caveats, shown, journal)


def _write(folder: Path, dataset: "xr.Dataset", found: TrainingFindings, data_file: str) -> Path:
    page = training_page(dataset, found)
    sections, looks = page.figures.sections, page.figures.styles
    with written_into(folder, "tables", "figures"):
        write_tables(folder / "tables", [section.table for section in page.tables])
        name, text = (
            ("trials", trials_csv(dataset))
            if is_search(dataset)
            else ("trainings", trainings_csv(found.rows))
        )
        write_atomically(folder / "tables" / f"{name}.csv", text)
        paths = write_training_figures(sections, looks, folder / "figures")
        files = Files(
            data=data_file,
            figures=[f"figures/{path.name}" for path in paths if path.suffix == ".svg"],
        )
        text = render("training.md.j2", page=page, files=files)
        write_atomically(folder / "report.md", text)
        script = scripts(sections, looks)
        text = render("training.html.j2", page=page, files=files, script=script)
        write_atomically(folder / "index.html", text)
    return folder / "index.html"

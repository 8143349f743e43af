"""The report: one HTML file that works offline, the same as Markdown, tables and figures."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.compatibility import distinct
from greenbatch.analysis.dataset.described import environment_of
from greenbatch.analysis.dataset.merging import separate
from greenbatch.analysis.dataset.store import open_with_files
from greenbatch.analysis.dataset.tidy import tidy
from greenbatch.analysis.findings.machines import means_by_kind
from greenbatch.analysis.findings.timeline import TimelineChoice
from greenbatch.analysis.report.charts.power_traces import PowerTrace, power_traces
from greenbatch.analysis.report.figures.figures import remove_figures, write_figures
from greenbatch.analysis.report.findings import InferenceFindings, InferenceReport, find
from greenbatch.analysis.report.inference_page import inference_page
from greenbatch.analysis.report.page import Files, Overview, Part, TableSection
from greenbatch.analysis.report.render import render, scripts, write_latex, written_into
from greenbatch.analysis.report.run_facts import machine_line
from greenbatch.analysis.report.tables.batching import batching_csv
from greenbatch.analysis.report.tables.csv_files import best_csv, cells_csv, comparison_csv
from greenbatch.analysis.report.tables.machines import KINDS_NOTE, kinds_table
from greenbatch.analysis.report.tables.paired import paired_csv
from greenbatch.analysis.report.tables.tradeoffs import Footprint
from greenbatch.files import draft, remove_old_drafts, write_atomically

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "report"


def report_of_run(
    run: Path,
    footprint: Footprint | None = None,
    choice: TimelineChoice | None = None,
) -> tuple[Path, InferenceFindings]:
    """Compile a run of inference and write its report, see `greenbatch.analysis.write_report`."""
    dataset, files = open_with_files(run)
    remove_old_drafts(run)
    found = find(dataset, files.journal, choice)
    traces = power_traces(run, files.journal.repetitions)
    return _write(run / FOLDER, dataset, found, footprint, "../dataset.nc", traces), found


def report_of_file(
    path: Path,
    dataset: "xr.Dataset",
    footprint: Footprint,
    choice: TimelineChoice | None = None,
    *,
    figures: bool = False,
) -> InferenceReport:
    """Write the report of a dataset file beside it.

    Args:
        path: The file.
        dataset: It holds.
        footprint: What the reader wants to know of a million images.
        choice: At which batch and backend to show a second timeline.
        figures: Write the figures on paper of each machine or run too; they take most of the time.
    """
    folder = path.with_name(f"{path.stem}-report")
    parts = separate(dataset)
    found = {label: find(part, None, choice) for label, part in parts.items()}
    if dataset.attrs.get("merged_along") not in ("machine", "run"):
        (alone,) = found.values()
        return InferenceReport(_write(folder, dataset, alone, footprint, f"../{path.name}"), found)
    names = dict(zip(parts, distinct([_folder_name(label) for label in parts]), strict=True))
    along = dataset.attrs["merged_along"]
    lines = {label: machine_line(environment_of(part)) for label, part in parts.items()}
    kinds = means_by_kind(dataset, lines) if along == "machine" else []
    with written_into(folder):
        for label, part in parts.items():
            file = f"../../{path.name}"
            _write(folder / names[label], part, found[label], footprint, file, figures=figures)
        overview = Overview(
            title=dataset.attrs["title"],
            source=dataset.attrs["source"],
            eyebrow="greenbatch · energy and latency of inference",
            along=along,
            parts=[
                Part(
                    label,
                    f"{names[label]}/index.html",
                    lines[label],
                    found[label].summary,
                )
                for label in parts
            ],
            tables=[TableSection(kinds_table(kinds), KINDS_NOTE)] if kinds else [],
            closing=f"Cells of several {along}s are not comparable, so no table holds them "
            "together; 'gb compare' compares two runs."
            + ("" if figures else " 'gb report --figures' writes figures for print too."),
        )
        text = render("overview.html.j2", page=overview, script=scripts((), ()))
        write_atomically(folder / "index.html", text)
    return InferenceReport(folder / "index.html", found, kinds)


def _folder_name(label: str) -> str:
    return re.sub(r"[^\w.-]+", "-", label).strip(".-") or "part"


def _write(
    folder: Path,
    dataset: "xr.Dataset",
    found: InferenceFindings,
    footprint: Footprint | None,
    data_file: str,
    traces: Sequence[PowerTrace] = (),
    *,
    figures: bool = True,
) -> Path:
    page = inference_page(dataset, found, traces, footprint)
    with written_into(folder, "tables", *(["figures"] if figures else [])):
        for name, text in (
            ("cells", cells_csv(found.cells)),
            ("comparison", comparison_csv(found.comparisons)),
            ("best", best_csv(found.best)),
            ("batching", batching_csv(found.batching)),
            ("paired", paired_csv(found.paired)),
        ):
            write_atomically(folder / "tables" / f"{name}.csv", text)
        write_latex(folder / "tables", [section.table for section in page.tables])
        drawn: list[Path] = []
        if figures:
            drawn = write_figures(
                found.cells,
                folder / "figures",
                found.tradeoffs.pareto_status,
                found.tradeoffs.timelines,
                found.tradeoffs.candidates,
            )
        else:
            remove_figures(folder / "figures")
        files = Files(
            data=data_file,
            figures=[f"figures/{path.name}" for path in drawn if path.suffix == ".svg"],
            parquet=_write_parquet(dataset, folder / "tables" / "repetitions.parquet"),
        )
        text = render("report.md.j2", page=page, files=files)
        write_atomically(folder / "report.md", text)
        script = scripts(page.figures.sections, page.figures.styles)
        text = render("report.html.j2", page=page, files=files, script=script)
        write_atomically(folder / "index.html", text)
    return folder / "index.html"


def _write_parquet(dataset: "xr.Dataset", path: Path) -> bool:
    """Write every repetition as parquet where pyarrow is installed; say whether it is."""
    from importlib.util import find_spec

    path.unlink(missing_ok=True)
    if find_spec("pyarrow") is None:
        return False
    with draft(path) as unfinished:
        tidy(dataset).to_parquet(unfinished, engine="pyarrow", index=False)
    return True

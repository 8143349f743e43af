"""The report: one HTML file that works offline, the same as Markdown, tables and figures."""

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.analysis.answers import Answer, answers
from greenbatch.analysis.caveats import Caveat, Severity, caveats, window_s
from greenbatch.analysis.charts import Chart, energy_charts, latency_charts, tradeoff_charts
from greenbatch.analysis.comparisons import best_rows, comparison_rows
from greenbatch.analysis.csv_tables import best_csv, cells_csv, comparison_csv
from greenbatch.analysis.dataset import open_run
from greenbatch.analysis.detail_tables import beside_ratios, fairness_table, outputs_table
from greenbatch.analysis.fairness import factor_name, fairness
from greenbatch.analysis.figures import write_figures
from greenbatch.analysis.one_off import break_evens, start_ups
from greenbatch.analysis.palette import colours, markers
from greenbatch.analysis.run_files import read_run
from greenbatch.analysis.serving_tables import serving_lead, serving_table
from greenbatch.analysis.start_tables import starts_table
from greenbatch.analysis.surroundings import (
    artifacts_table,
    design_facts,
    environment_groups,
    machine_line,
)
from greenbatch.analysis.tables import CellRow, cell_rows
from greenbatch.analysis.text_tables import best_table, cells_table, comparison_table
from greenbatch.errors import RunError
from greenbatch.records import FACTORS, Journal

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "report"


@dataclass(frozen=True, slots=True)
class Section:
    """Charts of one quantity, or why there are none."""

    name: str
    title: str
    text: str
    charts: Sequence[Chart]
    absent: str
    second_line: bool = False
    estimated: bool = False


def write_report(run: Path) -> Path:
    """Compile a run and write its report.

    Args:
        run: The run directory; ``report/`` in it is written anew, ``dataset.nc``
            where it is out of date.

    Returns:
        Path of ``report/index.html``.

    Raises:
        RunError: The run cannot be read or written to.
    """
    folder = run / FOLDER
    dataset = open_run(run)
    with warnings.catch_warnings(action="ignore"):  # a torn line is a caveat of the page
        journal = read_run(run).journal
    try:
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        every = cell_rows(dataset)
        rows = [row for row in every if not row.cell.is_server]
        compared, best = comparison_rows(rows), best_rows(rows)
        for name, text in (
            ("cells", cells_csv(every)),
            ("comparison", comparison_csv(compared)),
            ("best", best_csv(best)),
        ):
            _write(folder / "tables" / f"{name}.csv", text)
        figures = write_figures(rows, folder / "figures")
        page = page_facts(dataset, every, journal)
        page["figure_files"] = [f"figures/{path.name}" for path in figures if path.suffix == ".svg"]
        _write(folder / "report.md", _render("report.md.j2", page))
        _write(folder / "index.html", _render("report.html.j2", page | _scripts(page["sections"])))
    except OSError as error:
        raise RunError(
            f"cannot write {folder}: {(error.strerror or 'unknown cause').lower()}; "
            "make the run's directory writable or copy the run"
        ) from error
    return folder / "index.html"


def page_facts(dataset: "xr.Dataset", every: Sequence[CellRow], journal: Journal) -> dict[str, Any]:
    """Gather what the templates show; no formatting beyond finished text."""
    rows = [row for row in every if not row.cell.is_server]
    study = json.loads(dataset.attrs["study"])
    environment = json.loads(dataset.attrs["environment"])
    in_force = fairness(journal.repetitions, (row.cell for row in every))
    found = caveats(dataset, every, in_force)
    answered = answers(rows)
    variants = list(dict.fromkeys(row.cell.variant for row in rows))
    starts = start_ups(dataset, rows)
    compared = comparison_rows(rows)
    settings, mismatched = beside_ratios(compared, in_force)
    years = zip(dataset["model"].values, dataset["year"].values, strict=True)
    return {
        "title": dataset.attrs["title"],
        "source": dataset.attrs["source"],
        "provenance": dataset.attrs["energy_provenance"],
        "machine": machine_line(environment),
        "lead": lead(answered) if rows or not every else "",
        "answers": answered,
        "years": {str(model): int(year) for model, year in years if year == year},
        "serious": [caveat for caveat in found if caveat.severity is Severity.SERIOUS],
        "caveats": [caveat for caveat in found if caveat.severity is not Severity.SERIOUS],
        "sections": _sections(rows, found) if rows or not every else [],
        "variants": [(name, colours(variants)[name], markers(variants)[name]) for name in variants],
        "comparison": comparison_table(compared, settings),
        "mismatched": mismatched,
        "fairness": fairness_table(in_force),
        "unrecorded": [factor_name(f) for f in FACTORS if f not in in_force.recorded],
        "starts": starts_table(starts, break_evens(starts)),
        "outputs": outputs_table(rows),
        "serving": serving_table(every),
        "serving_lead": serving_lead(every),
        "best": best_table(best_rows(rows)),
        "cells": cells_table(rows),
        "environment": environment_groups(environment),
        "design": design_facts(study),
        "artifacts": artifacts_table(study),
        "measured": sum(row.ok for row in every),
        "planned": sum(row.planned for row in every),
        "window_s": window_s(study, environment),
    }


def lead(answered: Sequence[Answer]) -> str:
    """Answer the run's question in one sentence, models with the same answer together."""
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
                best = answer.best
                place = best.how
                groups.setdefault(place, []).append(answer.model)
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
    return ". ".join(parts) + "."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _sections(rows: Sequence[CellRow], found: Sequence[Caveat]) -> list[Section]:
    missing = [caveat.sentence for caveat in found if caveat.code == "energy-missing"]
    why = missing[0] if missing else "No cell has energy per image."
    estimated = any(row.energy_source in ("estimated", "mixed") for row in rows)
    mark = " Estimates are dashed and hollow." if estimated else ""
    return [
        Section(
            "energy",
            "Energy per image" + (" (estimated)" if estimated else ""),
            "Gross energy in the window over the images in it, against batch size; both axes are "
            f"logarithmic, lower is better.{mark}",
            energy_charts(rows),
            why,
            estimated=estimated,
        ),
        Section(
            "latency",
            "Latency",
            "Time from submitting a batch to its result, against batch size; both axes are "
            "logarithmic, lower is better.",
            latency_charts(rows),
            "Nothing was measured.",
            second_line=True,
        ),
        Section(
            "tradeoff",
            "Energy against latency" + (" (energy estimated)" if estimated else ""),
            f"Each point is a batch size. Low and left is better.{mark}",
            tradeoff_charts(rows),
            why,
            estimated=estimated,
        ),
    ]


def _scripts(sections: Sequence[Section]) -> dict[str, str]:
    from plotly.offline import get_plotlyjs

    figures = {chart.name: chart.figure for section in sections for chart in section.charts}
    # Inside a script element only '<' can end it or begin a comment; JSON may spell it so.
    text = json.dumps(figures, allow_nan=False).replace("<", "\\u003c")
    return {"plotly_js": get_plotlyjs() if figures else "", "figures_json": text}


def _render(template: str, facts: dict[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("greenbatch.analysis"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(facts)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
